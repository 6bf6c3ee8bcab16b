"""`--accelerator`: what may be asked, what is there, and what holds a trial on one to its ceiling.

The parent never imports torch: a process of its own says what a device is, or what is missing, before any trial.
"""

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import msgspec

from harness.errors import UsageError
from harness.workers import worker_environment
from results.format import size
from results.schema import PROCESSOR, Accelerator
from workloads.registry import ACCELERATOR

if TYPE_CHECKING:
    from harness.run_options import Options

_NAMES = re.compile(r"cpu|cuda(:\d+)?")
# Prints what the device of a name is, or `missing`. Only the torch engine has accelerators.
_PROBE = "workloads.engines.torch.cuda"
_PROBE_S = 120.0


class AllocatorLimit:
    """The ceiling of a trial on an accelerator: the engine's allocator there refuses what is above it."""

    mechanism = "torch.cuda.set_per_process_memory_fraction"
    poll_s: float | None = None
    of_the_host = False

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes

    def launch_settings(self) -> dict[str, Any]:
        """Nothing: the worker's job tells its engine."""
        return {}

    def exceeded(self, pid: int) -> bool:
        """Never: what is above the limit is not handed out."""
        return False

    def was_hit(self) -> bool:
        """Never known here: the worker says so."""
        return False

    def close(self) -> None:
        """Nothing was made."""


def check(options: "Options") -> None:
    """Raise UsageError for a name that is none, and for options that are about the host alone."""
    name = options.accelerator
    if not _NAMES.fullmatch(name):
        raise UsageError(
            f"--accelerator {name}: it may be cpu, cuda, or cuda:N for the device of that number"
        )
    if name == PROCESSOR:
        return
    if options.engine not in (None, "torch"):
        raise UsageError(
            f"--accelerator {name}: engine {options.engine} trains on the processor; leave --engine out, "
            "or take --engine torch"
        )
    for option, given, why in (
        ("--emulate", options.emulate, "no such device has one"),
        ("--mechanism", options.mechanism != "auto", "there a ceiling is kept by torch's allocator"),
    ):
        if given:
            raise UsageError(f"--accelerator {name} and {option} exclude each other: {why}")


def asked(options: "Options") -> list[str]:
    """Return what an engine must have for these options, by the name that `Engine.lacks` knows."""
    return [] if options.accelerator == PROCESSOR else [ACCELERATOR]


def find(options: "Options") -> Accelerator | None:
    """Return the accelerator asked for, None for the processor.

    Raises UsageError where it is not there, saying what is missing, or where a ceiling is above what it has.
    """
    name = options.accelerator
    if name == PROCESSOR:
        return None
    found = probe(name)
    if options.ceiling_bytes is not None and options.ceiling_bytes > found.total_bytes:
        raise UsageError(
            f"--ceiling {size(options.ceiling_bytes)}: {found.name} has {size(found.total_bytes)}; take less"
        )
    return found


def probe(name: str) -> Accelerator:
    """Return what torch says of the device of that name; raises UsageError with what is missing."""
    command = [sys.executable, "-P", "-m", _PROBE, name]
    try:
        done = subprocess.run(
            command,
            env=worker_environment(threads=1, allocator="stock"),
            capture_output=True,
            text=True,
            timeout=_PROBE_S,
        )
    except subprocess.TimeoutExpired:
        raise UsageError(
            f"--accelerator {name}: torch did not say within {_PROBE_S:g} s whether it is there; see `nvidia-smi`"
        ) from None
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except json.JSONDecodeError:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise UsageError(f"--accelerator {name}: torch cannot be asked for it: {last}") from None
    if "missing" in answer:
        raise UsageError(f"--accelerator {name}: {answer['missing']}; or leave --accelerator out")
    return msgspec.convert(answer, Accelerator)
