"""Records meters while something else runs; run by the parent process, never by what is measured.

One thread a meter (`power/reader.py`): a polled meter is read at jittered times, a stream as fast as it delivers.
The threads sleep between reads, and what their own work costs in CPU time is measured with the thread's own clock and
reported. A meter that fails in the middle takes nothing else with it: the failure is kept, the meter is tried
again, and the windows it spoiled are unavailable with the reason.
"""

import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from power.base import Meter, Setting, now_ns, outermost, wrap_poll_s
from power.errors import MeterUnavailableError
from power.integrate import MIN_IDLE_PERIODS, MIN_PERIODS, shortest_window_s
from power.reader import Overhead, Reader
from power.series import Series
from power.window import IdleWindows, Window, WindowEnergy, measure_all, unavailable

#: How long a sample is waited for that must come soon, in polling periods: a meter's first, a window's closing one.
_WAIT_PERIODS = 5
#: Readers that only keep a counter from wrapping unseen still read this often, in s.
_SPARSE_MAX_S = 30.0
_IDLE_MARGIN = 1.2


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
        self._readers: list[Reader] = []

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
        self._readers = [self._start(meter, index) for index, meter in enumerate(self._meters)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self, meter: Meter, index: int) -> Reader:
        reader = Reader(meter, self._label(meter), self._period_of(meter), self._seed * 1009 + index)
        reader.series = {domain.name: Series(domain) for domain in meter.domains}
        reader.settings()  # while the meter is there for certain
        reader.start_ns = now_ns()
        if meter.absence is None:
            reader.thread = threading.Thread(target=reader.run, name=f"meter-{meter.name}", daemon=True)
            reader.thread.start()
        return reader

    def _label(self, meter: Meter) -> str:
        """Return the meter's name; of two with one name, what tells them apart as well."""
        names = [other.name for other in self._meters]
        return meter.name if names.count(meter.name) == 1 else f"{meter.name}:{meter.argument}"

    def _period_of(self, meter: Meter) -> float:
        if self._sparse and all(domain.kind == "energy" for domain in meter.domains):
            limits = [limit for d in meter.domains if (limit := wrap_poll_s(d)) is not None]
            return min([*limits, _SPARSE_MAX_S]) / 1.5  # the longest jittered wait is one and a half
        return meter.period_s if self._period_s is None else self._period_s

    def mark(self) -> None:
        """Have every polled meter read now: called when an edge is reported, it sharpens that edge."""
        for reader in self._readers:
            if reader.end_ns is None:
                reader.wake()

    def stop(self) -> None:
        """End the recording and close the meters; `energy` still answers afterwards."""
        running = [reader for reader in self._readers if reader.end_ns is None]
        for reader in running:
            reader.stopping = True
            reader.wake()
        for reader in running:
            if reader.thread is not None:
                reader.thread.join(timeout=10.0)
            reader.end_ns = now_ns()
            reader.meter.close()
            if not reader.alive():
                reader.waker.close()

    def energy(
        self, t0_ns: int, t1_ns: int, idle: IdleWindows | None = None, *, wait_s: float | None = None
    ) -> list[WindowEnergy]:
        """Return the energy of the window from `t0_ns` to `t1_ns`, one row a domain of every meter.

        `idle` is the pair of idle windows (before, after), each (t0_ns, t1_ns) or None. While recording,
        this waits for the sample that closes the window (at most `wait_s`; by default a few periods).
        """
        return self.energies([(t0_ns, t1_ns)], idle, wait_s=wait_s)[0]

    def energies(
        self, windows: Sequence[Window], idle: IdleWindows | None = None, *, wait_s: float | None = None
    ) -> list[list[WindowEnergy]]:
        """Return the same of some windows above one idle level, which is found once: the rows of each."""
        found: list[list[WindowEnergy]] = [[] for _ in windows]
        ends_ns = [window[1] for window in (*windows, *(idle or ())) if window is not None]
        for reader in self._readers:
            self._await(reader, max(ends_ns, default=0), wait_s)
            for series in reader.series.values():
                rows = self._rows(reader, series, windows, idle or (None, None))
                for rows_of_window, row in zip(found, rows, strict=True):
                    rows_of_window.append(row)
        return found

    def await_first(self) -> None:
        """Wait until every domain has a sample: no window that begins before it is covered.

        At most a few periods of the slowest meter, so that one that delivers nothing holds up no run.
        """
        begun = time.monotonic()
        for reader in self._readers:
            deadline = begun + _patience_s(reader)
            while reader.behind(reader.start_ns) and reader.alive() and time.monotonic() < deadline:
                time.sleep(0.005)

    def _await(self, reader: Reader, t_ns: int, wait_s: float | None) -> None:
        deadline = time.monotonic() + (_patience_s(reader) if wait_s is None else wait_s)
        while reader.behind(t_ns) and reader.alive() and time.monotonic() < deadline:
            reader.wake()
            time.sleep(0.005)
            if reader.failure_in(t_ns, t_ns + 1) is not None:
                return

    def _rows(
        self, reader: Reader, series: Series, windows: Sequence[Window], idle: IdleWindows
    ) -> list[WindowEnergy]:
        meter = reader.meter
        if meter.absence is not None:
            return [unavailable(reader.label, series, meter.absence) for _ in windows]
        poll_s = 0.0 if meter.streams else reader.period_s
        rows = measure_all(
            series, windows, idle, meter=reader.label, provenance=meter.provenance, poll_s=poll_s
        )
        return [self._explained(reader, series, *each) for each in zip(windows, rows, strict=True)]

    @staticmethod
    def _explained(reader: Reader, series: Series, window: Window, row: WindowEnergy) -> WindowEnergy:
        """Return the row; where nothing was measured because the meter failed, with that."""
        failure = reader.failure_in(*window)
        if row.gross_j is not None or failure is None:
            return row
        return unavailable(reader.label, series, f"the meter failed: {failure} ({row.reason})")

    def series(self, meter: str, domain: str) -> Series:
        """Return what was recorded of one domain; raises `KeyError` where there is none of that name."""
        for reader in self._readers:
            if reader.label == meter and domain in reader.series:
                return reader.series[domain]
        raise KeyError(f"no domain '{domain}' of a meter '{meter}' was recorded")

    def all_series(self) -> list[tuple[Meter, list[Series]]]:
        """Return everything recorded, by meter, in the order given."""
        return [(reader.meter, list(reader.series.values())) for reader in self._readers]

    def settings(self) -> dict[str, dict[str, Setting]]:
        """Return what each meter is set to, by the name that stands in its rows."""
        return {reader.label: reader.settings() for reader in self._readers}

    def shortest_window_s(self) -> float:
        """Return how long a window must at least be so that every meter here measures it, in s.

        What is contained in another domain does not count: a plug's own register, renewed once a minute, would ask
        for hours. A tenth more than the rule asks for, because polls come a little later than they are due.
        """
        return 1.1 * self._shortest_s(MIN_PERIODS)

    def shortest_idle_s(self) -> float:
        """Return how long an idle window must at least be so that every meter here has an idle level, in s.

        As `shortest_window_s`, with a fifth more: of fewer polls, one that is late is a larger part.
        """
        return _IDLE_MARGIN * self._shortest_s(MIN_IDLE_PERIODS)

    def shortest_idle_of_s(self, meter: str, domain: str) -> float:
        """Return the same for one domain, be it contained in another or not; 0 where nothing of it is recorded."""
        needs_s = [
            shortest_window_s(reader.series[domain].domain, reader.period_s, MIN_IDLE_PERIODS)
            for reader in self._readers
            if reader.label == meter and domain in reader.series
        ]
        return _IDLE_MARGIN * max(needs_s, default=0.0)

    def _shortest_s(self, periods: int) -> float:
        """Return the longest of so many periods of any outermost domain, in s."""
        needs_s = [
            shortest_window_s(domain, reader.period_s, periods)
            for reader in self._readers
            if reader.meter.absence is None
            for domain in outermost(reader.meter.domains)
        ]
        return max(needs_s, default=0.0)

    def overhead(self) -> list[Overhead]:
        """Return what reading each meter has cost until now."""
        return [
            Overhead(
                reader.label,
                reader.cpu_s(),
                ((reader.end_ns or now_ns()) - reader.start_ns) * 1e-9,
                reader.reads,
                len(reader.failures),
                reader.kind,
            )
            for reader in self._readers
            if reader.meter.absence is None
        ]


def _patience_s(reader: Reader) -> float:
    """Return how long to wait for a meter's next sample, in s."""
    return max(1.0, _WAIT_PERIODS * reader.meter.period_s)
