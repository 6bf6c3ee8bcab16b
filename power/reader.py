"""The thread that reads one meter, and what it notes: samples, failures, its own cost."""

import os
import select
import threading
import time
from dataclasses import dataclass, field

from power.base import Meter, now_ns
from power.errors import PowerError
from power.integrate import jittered_periods
from power.series import Series

#: A meter that failed is opened again after this long, doubling up to the maximum, in s.
_RETRY_S, _RETRY_MAX_S = 0.1, 2.0


@dataclass(frozen=True, slots=True)
class Overhead:
    """What reading a meter cost: CPU time of its thread, over the wall time it ran, for so many reads."""

    meter: str
    cpu_s: float
    wall_s: float
    reads: int
    failures: int

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

    def run(self) -> None:
        """Read until told to stop (the thread's body).

        Polls are due at absolute times, so that what a read and a late wake-up take is not added to every
        period; after a stall one poll is made up for, not all that were missed.
        """
        retry_s, due_ns = _RETRY_S, now_ns()
        waits_s = jittered_periods(self.period_s, self.seed)
        while not self.stopping:
            if not self._read_once():
                self.waker.sleep(retry_s)
                retry_s, due_ns = min(2 * retry_s, _RETRY_MAX_S), now_ns()
                continue
            retry_s = _RETRY_S
            if self.meter.streams:
                continue
            at_ns = now_ns()
            if at_ns >= due_ns:  # else woken early, by a mark
                due_ns = max(due_ns + round(next(waits_s) * 1e9), at_ns)
            self.waker.sleep((due_ns - at_ns) * 1e-9)
        if not self.meter.streams:
            self._read_once()  # so that a window which ends with the recording is bracketed
        self.final_cpu_s = time.thread_time()

    def cpu_s(self) -> float:
        """CPU time of the reader thread until now, by its own clock, asked from outside."""
        if self.final_cpu_s is not None:
            return self.final_cpu_s
        if self.thread is None or self.thread.ident is None or not self.thread.is_alive():
            return 0.0
        return time.clock_gettime(time.pthread_getcpuclockid(self.thread.ident))

    def _read_once(self) -> bool:
        try:
            if self.failures and self.failures[-1].end_ns is None:
                self.meter.close()
                self.meter.open()
            samples = self.meter.read()
        except PowerError as error:
            self._note_failure(str(error))
            return False
        except Exception as error:
            # A fault of a driver or of ours must cost this meter's energy only, never the run.
            self._note_failure(f"{type(error).__name__}: {error}")
            return False
        self.reads += 1
        for sample in samples:
            series = self.series.get(sample.domain)
            if series is not None:
                series.add(sample.t_ns, sample.value)
        if self.failures and self.failures[-1].end_ns is None:
            self.failures[-1].end_ns = now_ns()
        return True

    def _note_failure(self, reason: str) -> None:
        if not self.failures or self.failures[-1].end_ns is not None:
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
