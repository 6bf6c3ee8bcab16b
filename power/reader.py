"""The thread that reads one meter, and what it notes: samples, failures, its own cost.

A stream is read as fast as it delivers, a polled meter at jittered times: one whose values stand in files by the native
sampler, in batches of up to ten seconds, where it was built, any other (or without it) by a Python loop.
"""

import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from power.base import Meter, Sample, Setting, now_ns
from power.errors import PowerError
from power.integrate import jittered_periods
from power.native import sampler
from power.sampled import SampledMeter
from power.series import Block, Series
from power.sysfs import SysfsMeter

ReaderKind = Literal["native", "python"]

#: A meter that failed is opened again after this long, doubling up to the maximum, in s.
_RETRY_S, _RETRY_MAX_S = 0.1, 2.0


@dataclass(frozen=True, slots=True)
class Overhead:
    """What reading a meter cost: CPU time of its thread, over the wall time it ran, for so many reads; and who read."""

    meter: str
    cpu_s: float
    wall_s: float
    reads: int
    failures: int
    reader: ReaderKind

    @property
    def share(self) -> float:
        """Part of one core spent reading."""
        return self.cpu_s / self.wall_s if self.wall_s > 0.0 else 0.0


@dataclass(slots=True)
class Failure:
    """A stretch in which the meter could not be read; `end_ns` is None while it lasts."""

    start_ns: int
    reason: str
    end_ns: int | None = None


class Waker:
    """A sleep that can be cut short, at half the cost of `threading.Event.wait`, paid by every poll.

    A sleep of at most `UNBROKEN_S` is not cut short: it ends soon enough by itself, and the plain sleep costs a third
    less CPU time.
    """

    UNBROKEN_S = 0.015

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)

    def sleep(self, wait_s: float) -> None:
        """Sleep for `wait_s`, or until woken."""
        if wait_s <= self.UNBROKEN_S:
            if wait_s > 0.0:
                time.sleep(wait_s)
            return
        if self._poll.poll(wait_s * 1000.0):
            os.eventfd_read(self._fd)

    def wake(self) -> None:
        """End the present sleep, or the next one."""
        os.eventfd_write(self._fd, 1)

    def close(self) -> None:
        """Give the file back; nobody sleeps any more."""
        os.close(self._fd)


@dataclass(slots=True)
class Reader:
    """One meter, its thread and everything the thread has noted; written by that thread alone."""

    meter: Meter
    label: str
    period_s: float
    seed: int
    series: dict[str, Series] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    reads: int = 0
    final_cpu_s: float | None = None
    start_ns: int = 0
    end_ns: int | None = None
    waker: Waker = field(default_factory=Waker)
    stopping: bool = False
    thread: threading.Thread | None = None
    sampled: SampledMeter | None = None
    _waits_s: Iterator[float] = field(init=False)
    _due_ns: int = 0
    _told: dict[str, Setting] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._waits_s = jittered_periods(self.period_s, self.seed)
        if isinstance(self.meter, SysfsMeter) and sampler.missing() is None:
            self.sampled = SampledMeter(self.meter, self.period_s, self.seed)

    @property
    def kind(self) -> ReaderKind:
        """Who reads the meter: the native sampler, or a loop in Python."""
        return "native" if self.sampled else "python"

    def run(self) -> None:
        """Read until told to stop (the thread's body)."""
        retry_s, self._due_ns = _RETRY_S, now_ns()
        while not self.stopping:
            if self._succeeds(self._batch if self.sampled else self._read):
                retry_s = _RETRY_S
                if not self.sampled and not self.meter.streams:
                    self._wait()
            else:
                self.waker.sleep(retry_s)
                retry_s, self._due_ns = min(2 * retry_s, _RETRY_MAX_S), now_ns()
        if not self.meter.streams:
            self._succeeds(self._read)  # so that a window which ends with the recording is bracketed
        if self.sampled:
            self.sampled.close()
        self.final_cpu_s = time.thread_time()

    def settings(self) -> dict[str, Setting]:
        """Return what the meter is set to; what it said last where it cannot say now, as after it was unplugged."""
        with suppress(Exception):  # a fault of a driver must not cost the run
            self._told = self.meter.settings()
        return self._told

    def wake(self) -> None:
        """Have a polled meter read now; from any thread."""
        self.waker.wake()
        if self.sampled:
            self.sampled.wake()

    def _wait(self) -> None:
        """Sleep until the next poll is due.

        Polls are due at absolute times, so that what a read and a late wake-up take is not added to every
        period; after a stall one poll is made up for, not all that were missed.
        """
        at_ns = now_ns()
        if at_ns >= self._due_ns:  # else woken early, by a mark
            self._due_ns = max(self._due_ns + round(next(self._waits_s) * 1e9), at_ns)
        self.waker.sleep((self._due_ns - at_ns) * 1e-9)

    def cpu_s(self) -> float:
        """CPU time of the reader thread until now, by its own clock, asked from outside."""
        if self.final_cpu_s is not None:
            return self.final_cpu_s
        if self.thread is None or self.thread.ident is None or not self.thread.is_alive():
            return 0.0
        return time.clock_gettime(time.pthread_getcpuclockid(self.thread.ident))

    def _succeeds(self, read: Callable[[], None]) -> bool:
        """Read, a meter that has failed opened again before; note a failure."""
        try:
            if self._failing():
                self._reopen()
            read()
        except PowerError as error:
            self._note_failure(str(error))
            return False
        except Exception as error:
            # A fault of a driver or of ours must cost this meter's energy only, never the run.
            self._note_failure(f"{type(error).__name__}: {error}")
            return False
        return True

    def _failing(self) -> bool:
        return bool(self.failures) and self.failures[-1].end_ns is None

    def _reopen(self) -> None:
        if self.sampled:
            self.sampled.close()
        self.meter.close()
        self.meter.open()

    def _read(self) -> None:
        samples = self.meter.read()
        self._note(samples, now_ns())

    def _batch(self) -> None:
        if self.sampled:
            for blocks in self.sampled.batch():
                self._note_blocks(blocks)

    def _note(self, samples: list[Sample], at_ns: int) -> None:
        """Keep the samples of a read that succeeded at `at_ns`."""
        self.reads += 1
        for sample in samples:
            series = self.series.get(sample.domain)
            if series is not None:
                series.add(sample.t_ns, sample.value)
        self._succeeded(at_ns)

    def _note_blocks(self, blocks: list[Block]) -> None:
        """Keep the samples of some rounds, a block a domain."""
        for block in blocks:
            series = self.series.get(block.domain)
            if series is not None:
                series.extend(block.t_ns, block.values)
        self.reads += len(blocks[-1].t_ns)
        self._succeeded(blocks[-1].t_ns[0])

    def _succeeded(self, at_ns: int) -> None:
        """End the stretch of failures, if there is one."""
        if self._failing():
            self.failures[-1].end_ns = at_ns

    def _note_failure(self, reason: str) -> None:
        if not self._failing():
            self.failures.append(Failure(now_ns(), reason))

    def failure_in(self, t0_ns: int, t1_ns: int) -> str | None:
        """Return the reason of the first failure that touches the window."""
        for failure in self.failures:
            if failure.start_ns < t1_ns and (failure.end_ns is None or failure.end_ns > t0_ns):
                return failure.reason
        return None

    def alive(self) -> bool:
        """Whether the thread still reads."""
        return self.thread is not None and self.thread.is_alive()

    def behind(self, t_ns: int) -> bool:
        """Whether some domain has no sample at or after `t_ns` yet."""
        return any(not len(s) or s.t_ns[len(s) - 1] < t_ns for s in self.series.values())
