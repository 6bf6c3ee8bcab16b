"""What others took of the processors: the whole machine's busy time less our own, before and within the window.

The load average cannot tell: it decays over a minute, so the trial before raises it. Here the time in which some
processor was not idle is counted (`/proc/stat`, see proc_stat(5)), what a hypervisor stole included, and the processor
time of this program and its worker is taken off. Idle time is what the kernel knows best of that file: it adds it up in
nanoseconds (kernel/time/tick-sched.c), while user and system time are sampled at each tick.
"""

import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from harness.messages import AnyMessage, WindowEdge
from results.noise import disturbed
from results.schema import ProcessorUse, Validity

_STAT = Path("/proc/stat")
LOOK_S = 0.2
"""How long is looked before a trial where no meter is read at idle: 20 ticks of the kernel's accounts."""
_CLOCKS = 2
"""Idle and waiting for a disk are cut to whole ticks apart."""


class Reading(NamedTuple):
    """The accounts at one moment, in seconds since some fixed point; `idle_s` is the sum over all processors."""

    t_s: float
    processors: int
    idle_s: float
    stolen_s: float
    own_s: float


class OthersWatch:
    """Reads the accounts around one trial: while nothing of ours runs, and at the edges of the measured window."""

    def __init__(self, look_s: float = LOOK_S) -> None:
        self._look_s = look_s
        self._before: ProcessorUse | None = None
        self._edges: dict[str, Reading] = {}
        self._reason: str | None = None

    @contextmanager
    def idle(self) -> Iterator[None]:
        """Watch while nothing of ours runs: what the caller does within (reading meters), and at least the look."""
        begun = self._read()
        yield
        if begun is None or self._look_s <= 0:
            return
        time.sleep(max(0.0, begun.t_s + self._look_s - time.monotonic()))
        ended = self._read()
        self._before = between(begun, ended) if ended else None

    def hear(self, message: AnyMessage, pid: int) -> None:
        """Read at the edges of the window that the worker `pid` reports."""
        if isinstance(message, WindowEdge) and message.event in ("begin", "end"):
            reading = self._read(pid)
            if reading:
                self._edges[message.event] = reading

    def judge(self, validity: Validity) -> Validity:
        """Return the same with what others took of the processors, and the note that it was too much."""
        said = (("before the trial", self._before), ("in the measured window", self._window()))
        busy = [f"others kept the processors busy {when}" for when, use in said if use and disturbed(use)]
        validity = msgspec.structs.replace(
            validity, others_before=said[0][1], others_window=said[1][1], notes=busy + validity.notes
        )
        validity.others_reason = self._why(validity)
        return validity

    def _window(self) -> ProcessorUse | None:
        if len(self._edges) < 2:
            return None
        use = between(self._edges["begin"], self._edges["end"])
        if use.duration_s * use.cores < 5 * use.resolution_s:
            self._reason = (
                f"the measured window of {use.duration_s:.3f} s is too short for the kernel's accounts, "
                f"which are sharp to {use.resolution_s:.2f} s"
            )
            return None
        return use

    def _why(self, validity: Validity) -> str | None:
        """Return why a stretch has no figures; None where both have."""
        if validity.others_before and validity.others_window:
            return None
        if self._reason:
            return self._reason
        if validity.others_before is None and self._look_s <= 0:
            return "no look before the trial was asked for"
        return "the trial ended before its measured window did"

    def _read(self, worker: int | None = None) -> Reading | None:
        try:
            return read(worker)
        except (OSError, ValueError, IndexError) as error:
            self._reason = f"the processors' accounts cannot be read: {error}"
            return None


def look(seconds: float = LOOK_S) -> ProcessorUse | None:
    """Return what others take of the processors just now; None where the kernel does not say."""
    watch = OthersWatch(seconds)
    with watch.idle():
        pass
    return watch.judge(Validity(throttled=None, load=None)).others_before


def between(begin: Reading, end: Reading) -> ProcessorUse:
    """Return the use between two readings; less than nothing is the rounding of the kernel's accounts."""
    duration_s = end.t_s - begin.t_s
    own_s = end.own_s - begin.own_s
    busy_s = end.processors * duration_s - (end.idle_s - begin.idle_s)
    return ProcessorUse(
        duration_s=round(duration_s, 6),
        cores=end.processors,
        own_s=round(own_s, 6),
        others_s=round(max(busy_s - own_s, 0.0), 6),
        stolen_s=round(max(end.stolen_s - begin.stolen_s, 0.0), 6),
        resolution_s=_CLOCKS / os.sysconf("SC_CLK_TCK"),
    )


def read(worker: int | None = None) -> Reading:
    """Read the accounts; `worker` is a running child whose time is ours too.

    Raises OSError where there is nothing to read (no such process, no /proc/stat), ValueError for another format.
    """
    text = _STAT.read_text()
    t_s, tick = time.monotonic(), os.sysconf("SC_CLK_TCK")
    lines = [line.split() for line in text.splitlines() if line.startswith("cpu")]
    if not lines or len(lines[0]) < 9:
        raise ValueError(f"{_STAT} does not tell idle from stolen time")
    # cpu user nice system idle iowait irq softirq steal ...: the first line is the sum over all processors.
    idle, waiting, stolen = (int(lines[0][place]) / tick for place in (4, 5, 8))
    return Reading(t_s, len(lines) - 1, idle + waiting, stolen, _own_s(worker))


def _own_s(worker: int | None) -> float:
    """Return the processor time of this process, of its children that have ended, and of the one that runs."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    own = time.process_time() + ended.ru_utime + ended.ru_stime
    if worker is not None:
        # The clock of another process, as clock_getcpuclockid(3) makes its number: all its threads, in nanoseconds.
        own += time.clock_gettime((~worker << 3) | 2)
    return own
