"""What works on this machine and what does not, with the command that mends it. Nothing is changed by asking."""

import os
import re
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import msgspec

from harness import ceilings, devices, host, others, throttling, trigger
from harness.memory import EMULATED, emulated, read_residency
from power import registry as meters
from power.base import Probe
from power.native import sampler
from results.format import counted
from results.noise import disturbed
from results.schema import Host
from workloads.engines.native import program
from workloads.registry import ENGINES

_CGROUP_HINT = (
    "add cgroup_enable=memory to the kernel's command line (/boot/firmware/cmdline.txt on a Raspberry Pi)"
)

#: How a hint begins that is a line for a shell.
_COMMANDS = ("sudo ", "pip ", "apt ", "echo ")
#: What a user has to replace by his own before he runs a line.
_PLACEHOLDER = re.compile(r"AA:BB:CC:DD:EE:FF|192\.168\.1\.20|\b(?:FILE|SERIAL|hidrawN)\b|\.\.\.")
_PLACE = re.compile(r"--meter ([^\s)]+)")


class Finding(msgspec.Struct, kw_only=True):
    """One thing that was looked at: usable, or why not and what mends it."""

    name: str
    usable: bool
    reason: str | None = None
    hint: str | None = None
    domains: list[str] = msgspec.field(default_factory=list)


class Machine(msgspec.Struct, kw_only=True):
    """The machine, and whether it is quiet enough to measure on."""

    host: Host
    device: str | None
    quiet: bool
    notes: list[str]


class Examination(msgspec.Struct, kw_only=True):
    """The document of `harness doctor --json`."""

    schema: str = "harness.doctor"
    schema_version: int = 1
    machine: Machine
    engines: list[Finding]
    workers: list[Finding]
    samplers: list[Finding]
    meters: list[Finding]
    pins: list[Finding]
    limits: list[Finding]


def examine() -> Examination:
    """Look at everything once."""
    return Examination(
        machine=_machine(),
        engines=[_engine(name) for name in ENGINES],
        workers=[_program()],
        samplers=[_sampler()],
        meters=[_meter(probe) for probe in meters.probe_all()],
        pins=[_trigger_pin()],
        limits=list(_limits()),
    )


def commands(examination: Examination) -> list[str]:
    """Return what would mend what is not usable, as lines for a shell, for `doctor --fix`, which prints and runs none.

    A hint that mends nothing when it is run is a comment that names what it is for: advice (plug it in), an option to
    measure with (--meter tc66:/dev/ttyACM0), a command that holds a placeholder.
    """
    findings = chain.from_iterable(kinds(examination).values())
    lines = [_line(finding.name, finding.hint) for finding in findings if not finding.usable and finding.hint]
    return list(dict.fromkeys(lines))


class Summary(NamedTuple):
    """An examination for one screen: `places` are what `--meter` takes of a meter that must be named with its place."""

    works: dict[str, list[Finding]]
    mendable: list[Finding]
    places: list[str]
    absent: list[str]


def kinds(examination: Examination) -> dict[str, list[Finding]]:
    """Return the findings by kind, in the order in which they are shown."""
    names = ("engines", "workers", "samplers", "meters", "pins", "limits")
    return {name: getattr(examination, name) for name in names}


def summary(examination: Examination) -> Summary:
    """Return what works, what a command mends, and by name alone the meters and pins that this machine has not.

    What else does not work (an engine, a limit) is always told in full: a machine either has it or lacks something.
    """
    found = kinds(examination)
    failing = [(kind, each) for kind, findings in found.items() for each in findings if not each.usable]
    elsewhere = [
        each for kind, each in failing if kind in ("meters", "pins") and not _is_command(each.hint or "")
    ]
    places = {each.name: _PLACE.search(each.hint or "") for each in elsewhere}
    return Summary(
        works={kind: [each for each in findings if each.usable] for kind, findings in found.items()},
        mendable=[each for _, each in failing if each not in elsewhere],
        places=[place[1] for place in places.values() if place],
        absent=[name for name, place in places.items() if not place],
    )


def _is_command(hint: str) -> bool:
    """Tell whether a hint is a line for a shell as it stands."""
    command, _, _ = hint.partition(" (")
    return command.startswith(_COMMANDS) and not _PLACEHOLDER.search(command)


def _line(name: str, hint: str) -> str:
    command, remark, rest = hint.partition(" (")
    if not _is_command(hint):
        return f"# {name}: {hint}"
    return f"{command}  # {rest.removesuffix(')')}" if remark else command


def _machine() -> Machine:
    bits = throttling.word()
    described = host.describe(("edge-harness", "torch", "numpy"), throttling_known=bits is not None)
    found = devices.detect()
    notes = []
    use = others.look()
    if use and disturbed(use):
        taken = use.others_s / use.duration_s
        notes.append(
            f"busy: others take {taken:.1f} of {counted(use.cores, 'processor')}; wait, or stop what else runs"
        )
    if described.governor not in (None, "performance"):
        notes.append(
            f"governor '{described.governor}': times will vary; try: sudo cpupower frequency-set -g performance"
        )
    notes += [f"{cause} now" for cause in throttling.causes(bits or 0)]
    return Machine(host=described, device=found.model if found else None, quiet=not notes, notes=notes)


def _engine(name: str) -> Finding:
    return _usable_or(name, ENGINES[name].missing())


def _usable_or(name: str, missing: str | None) -> Finding:
    reason, _, hint = (missing or "").partition("; try: ")
    return Finding(name=name, usable=missing is None, reason=reason or None, hint=hint or None)


def _program() -> Finding:
    """Look at harness-train, which `run --worker program` starts in place of a Python worker."""
    return _usable_or(program.NAME, program.missing())


def _sampler() -> Finding:
    """Look at what reads sysfs meters without Python in between; Python reads them where it is not there."""
    return _usable_or("native", sampler.missing())


def _meter(probe: Probe) -> Finding:
    return Finding(
        name=probe.name,
        usable=probe.usable,
        reason=probe.reason,
        hint=probe.hint,
        domains=[domain.name for domain in probe.domains],
    )


def _trigger_pin() -> Finding:
    """Look at what drives the pin of `run --trigger-pin`; none is driven."""
    return _usable_or("trigger pin", trigger.missing())


def _limits() -> Iterator[Finding]:
    groups = dict(ceilings.memory_groups())
    if "cgroup-v2" in groups and not ceilings.has_memory_controller(groups["cgroup-v2"]):
        del groups["cgroup-v2"]
    for mechanism in ("cgroup-v2", "cgroup-v1"):
        yield _group(mechanism, groups)
    yield Finding(name="watchdog", usable=True, reason="looks at the kernel's peak every 2 ms")
    yield _peak_reset()


def _group(mechanism: str, groups: Mapping[str, Path]) -> Finding:
    """Look at one mechanism; `groups` are those of the mechanisms that have the kernel's memory controller."""
    if not groups:
        reason = "the kernel's memory controller is off"
        return Finding(name=mechanism, usable=False, reason=reason, hint=_CGROUP_HINT)
    folder = groups.get(mechanism)
    if folder is None:
        owner = next(iter(groups))
        return Finding(name=mechanism, usable=False, reason=f"the memory controller is {owner}'s here")
    if mechanism == "cgroup-v2" and not ceilings.delegates_memory(folder):
        hint = (
            "run as root: echo +memory > cgroup.subtree_control in the group above, or use systemd-run --user"
        )
        return Finding(
            name=mechanism, usable=False, reason="the memory controller is not delegated", hint=hint
        )
    if not os.access(folder, os.W_OK):
        return Finding(
            name=mechanism, usable=False, reason="this user may not create groups", hint="run as root"
        )
    return Finding(name=mechanism, usable=True)


def _peak_reset() -> Finding:
    name = "peak per phase"
    if emulated():
        return Finding(name=name, usable=False, reason=EMULATED)
    if read_residency() is not None and os.access("/proc/self/clear_refs", os.W_OK):
        return Finding(name=name, usable=True)
    return Finding(
        name=name, usable=False, reason="/proc/self/clear_refs cannot be written (Linux 4.0 and newer)"
    )
