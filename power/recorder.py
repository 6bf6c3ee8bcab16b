"""Records meters while something else runs; run by the parent process, never by what is measured.

One thread a meter: a polled meter is read at jittered times, a stream as fast as it delivers. The threads
sleep between reads, and what their own work costs in CPU time is measured with the thread's own clock and
reported. A meter that fails in the middle takes nothing else with it: the failure is kept, the meter is tried
again, and the windows it spoiled are unavailable with the reason.
"""

import os
import select
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from power.base import Meter, now_ns, wrap_poll_s
from power.errors import MeterUnavailableError, PowerError
from power.integrate import jittered_periods, shortest_window_s
from power.series import Series
from power.window import IdleWindows, WindowEnergy, measure, unavailable

#: A meter that failed is opened again after this long, doubling up to the maximum, in s.
_RETRY_S, _RETRY_MAX_S = 0.1, 2.0
#: How long `energy` waits for the first sample after a window's end, in polling periods.
_WAIT_PERIODS = 5
#: Readers that only keep a counter from wrapping unseen still read this often, in s.
_SPARSE_MAX_S = 30.0


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
class _Failure:
    """A stretch in which the meter could not be read; `end_ns` is None while it lasts."""

    start_ns: int
    reason: str
    end_ns: int | None = None


class _Waker:
    """A sleep that can be cut short, at half the cost of `threading.Event.wait`, paid by every poll."""

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)

    def sleep(self, wait_s: float) -> None:
        """Sleep for `wait_s`, or until woken."""
        if self._poll.poll(wait_s * 1000.0):
            os.eventfd_read(self._fd)

    def wake(self) -> None:
        """End the present sleep, or the next one."""
        os.eventfd_write(self._fd, 1)

    def close(self) -> None:
        """Give the file back; nobody sleeps any more."""
        os.close(self._fd)


@dataclass(slots=True)
class _Track:
    """One meter, its thread and everything the thread has noted; written by that thread alone."""

    meter: Meter
    period_s: float
    seed: int
    series: dict[str, Series] = field(default_factory=dict)
    failures: list[_Failure] = field(default_factory=list)
    reads: int = 0
    final_cpu_s: float | None = None
    start_ns: int = 0
    end_ns: int | None = None
    waker: _Waker = field(default_factory=_Waker)
    stopping: bool = False
    thread: threading.Thread | None = None

    def run(self) -> None:
        """Read until told to stop (the thread's body)."""
        retry_s = _RETRY_S
        for wait_s in jittered_periods(self.period_s, self.seed):
            if self.stopping:
                break
            if self._read_once():
                retry_s = _RETRY_S
                if not self.meter.streams:
                    self.waker.sleep(wait_s)
            else:
                self.waker.sleep(retry_s)
                retry_s = min(2 * retry_s, _RETRY_MAX_S)
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
            self.failures.append(_Failure(now_ns(), reason))

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


class Recorder:
    """Records any number of meters between `__enter__` and `__exit__`, and answers for windows in between.

    Meters are opened on entry where they are not open yet, and closed on exit. `seed` fixes the jitter.
    `period_s` overrides every polled meter's own period. With `sparse`, a meter that only counts energy is
    read just often enough that no wrap is missed, and at each `mark`: nothing runs inside a window.

    Raises `MeterUnavailableError` on entry for a meter that cannot be opened (the others are closed again).
    """

    def __init__(
        self, meters: Sequence[Meter], *, seed: int = 0, period_s: float | None = None, sparse: bool = False
    ) -> None:
        self._meters = list(meters)
        self._seed, self._period_s, self._sparse = seed, period_s, sparse
        self._tracks: list[_Track] = []

    def __enter__(self) -> Self:
        opened: list[Meter] = []
        try:
            for meter in self._meters:
                opened.append(meter)
                meter.open()
        except MeterUnavailableError:
            for meter in opened:
                meter.close()
            raise
        self._tracks = [self._start(meter, index) for index, meter in enumerate(self._meters)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self, meter: Meter, index: int) -> _Track:
        track = _Track(meter, self._period_of(meter), self._seed * 1009 + index)
        track.series = {domain.name: Series(domain) for domain in meter.domains}
        track.start_ns = now_ns()
        if meter.absence is None:
            track.thread = threading.Thread(target=track.run, name=f"meter-{meter.name}", daemon=True)
            track.thread.start()
        return track

    def _period_of(self, meter: Meter) -> float:
        if self._sparse and all(domain.kind == "energy" for domain in meter.domains):
            limits = [limit for d in meter.domains if (limit := wrap_poll_s(d)) is not None]
            return min([*limits, _SPARSE_MAX_S]) / 1.5  # the longest jittered wait is one and a half
        return meter.period_s if self._period_s is None else self._period_s

    def mark(self) -> None:
        """Have every polled meter read now: called when an edge is reported, it sharpens that edge."""
        for track in self._tracks:
            if track.end_ns is None:
                track.waker.wake()

    def stop(self) -> None:
        """End the recording and close the meters; `energy` still answers afterwards."""
        running = [track for track in self._tracks if track.end_ns is None]
        for track in running:
            track.stopping = True
            track.waker.wake()
        for track in running:
            if track.thread is not None:
                track.thread.join(timeout=10.0)
            track.end_ns = now_ns()
            track.meter.close()
            if not track.alive():
                track.waker.close()

    def energy(
        self, t0_ns: int, t1_ns: int, idle: IdleWindows | None = None, *, wait_s: float | None = None
    ) -> list[WindowEnergy]:
        """Return the energy of the window from `t0_ns` to `t1_ns`, one row a domain of every meter.

        `idle` is the pair of idle windows (before, after), each (t0_ns, t1_ns) or None. While recording,
        this waits for the sample that closes the window (at most `wait_s`; by default a few periods).
        """
        rows: list[WindowEnergy] = []
        for track in self._tracks:
            self._await(track, t1_ns, wait_s)
            rows += [self._row(track, s, (t0_ns, t1_ns), idle or (None, None)) for s in track.series.values()]
        return rows

    def _await(self, track: _Track, t_ns: int, wait_s: float | None) -> None:
        limit_s = max(1.0, _WAIT_PERIODS * track.meter.period_s) if wait_s is None else wait_s
        deadline = time.monotonic() + limit_s
        while track.behind(t_ns) and track.alive() and time.monotonic() < deadline:
            track.waker.wake()
            time.sleep(0.005)
            if track.failure_in(t_ns, t_ns + 1) is not None:
                return

    def _row(self, track: _Track, series: Series, window: tuple[int, int], idle: IdleWindows) -> WindowEnergy:
        meter = track.meter
        if meter.absence is not None:
            return unavailable(meter.name, series, meter.absence)
        row = measure(series, window, idle, meter=meter.name, provenance=meter.provenance)
        failure = track.failure_in(*window)
        if row.gross_j is None and failure is not None:
            return unavailable(meter.name, series, f"the meter failed: {failure} ({row.reason})")
        return row

    def series(self, meter: str, domain: str) -> Series:
        """Return what was recorded of one domain; raises `KeyError` where there is none of that name."""
        for track in self._tracks:
            if track.meter.name == meter and domain in track.series:
                return track.series[domain]
        raise KeyError(f"no domain '{domain}' of a meter '{meter}' was recorded")

    def all_series(self) -> list[tuple[Meter, list[Series]]]:
        """Return everything recorded, by meter, in the order given."""
        return [(track.meter, list(track.series.values())) for track in self._tracks]

    def shortest_window_s(self) -> float:
        """Return how long a window must at least be so that no meter here refuses it, in s.

        A tenth more than the rule asks for, because polls come a little later than they are due.
        """
        needs_s = [
            shortest_window_s(domain, track.period_s)
            for track in self._tracks
            if track.meter.absence is None
            for domain in track.meter.domains
        ]
        return 1.1 * max(needs_s, default=0.0)

    def overhead(self) -> list[Overhead]:
        """Return what reading each meter has cost until now."""
        return [
            Overhead(
                track.meter.name,
                track.cpu_s(),
                ((track.end_ns or now_ns()) - track.start_ns) * 1e-9,
                track.reads,
                len(track.failures),
            )
            for track in self._tracks
            if track.meter.absence is None
        ]
