"""The meters of a run: opened once, read in the parent, and cut to each trial's measured window."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from harness import captures, phase_energy, segments
from harness.energy_rows import row_of
from harness.messages import Repeated
from harness.traces import power_trace
from power import registry
from power.base import Meter
from power.errors import MeterUnavailableError
from power.recorder import Recorder
from power.window import Window, WindowEnergy
from results import schema
from results.errors import DocumentWriteError

#: A counter would do with less; the difference of two windows wants more of each.
_PHASE_WINDOW_S = 3.0
#: How long meters are read at idle on either side of a trial, in s, unless one of them needs more or it was asked for.
DEFAULT_IDLE_S = 10.0


class EnergyWatch:
    """Reads the chosen meters around every trial: idle before, the trial, idle after.

    With no meter named, this machine's own best one is taken, and where there is none the record says why. A meter
    that was named is used or the run fails: MeterUnavailableError with the command that mends it. The exception is one
    that is there and that this user may not read: memory and time are measured all the same, `warn` is told the command
    that mends it, and the record holds it in the energy's place.

    `idle_s` is how long to read at idle a side; None: `DEFAULT_IDLE_S`, and longer where a meter is too slow for it.
    With `captures_dir`, what each meter read is written there at the end, and `captured` is told where.
    """

    def __init__(
        self,
        names: Sequence[str],
        idle_s: float | None,
        idling: Callable[[float], None],
        warn: Callable[[str], None] = lambda text: None,
        *,
        idle_anyway: bool = False,
        captures_dir: Path | None = None,
        captured: Callable[[Path], None] = lambda path: None,
    ) -> None:
        self._asked_idle_s, self._idling, self._warn = idle_s, idling, warn
        self._idle_s = idle_s or 0.0  # what it comes to is known once the meters are open
        self._refused: dict[str, str] = {}
        self._idle_anyway = idle_anyway  # for a meter that records by itself
        self._captures_dir, self._captured = captures_dir, captured
        self._missing: str | None = None
        if not names:
            chosen = registry.automatic()
            names = [chosen] if chosen else []
            self._missing = None if chosen else why_no_meter()
        self._meters = [registry.make(name) for name in names]
        self._recorder: Recorder | None = None
        self._before: Window | None = None
        self._after: Window | None = None

    def __enter__(self) -> Self:
        self._meters = [meter for meter in self._meters if not self._is_refused(meter)]
        working = self._working()
        if working:
            self._recorder = Recorder(working)
            self._recorder.__enter__()
            self._await_first(self._recorder)
        elif self._captures_dir is not None:
            self._warn("no meter is read, so --captures keeps nothing")
        if self._asked_idle_s is None:
            self._idle_s = _long_enough_s(self._recorder.shortest_idle_s() if self._recorder else 0.0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._recorder is None:
            return
        self._recorder.stop()
        if self._captures_dir is not None:
            self._keep_captures(self._recorder, self._captures_dir, failing=kind is not None)

    def _keep_captures(self, recorder: Recorder, folder: Path, *, failing: bool) -> None:
        """Write the captures. Raises DocumentWriteError, which another error on its way says only."""
        try:
            for path in captures.write(folder, recorder.all_series()):
                self._captured(path)
        except DocumentWriteError as error:
            if not failing:
                raise
            self._warn(str(error))

    @staticmethod
    def _await_first(recorder: Recorder) -> None:
        """Wait for the meters' first samples, which the first idle window must follow."""
        try:
            recorder.await_first()
        except BaseException:  # Ctrl-C: nobody else would close the meters
            recorder.stop()
            raise

    def _is_refused(self, meter: Meter) -> bool:
        """Whether this user may not read the meter; any other trouble is for the recorder to raise."""
        try:
            meter.open()
        except MeterUnavailableError as error:
            if not error.refused:
                for other in self._meters:
                    other.close()
                raise
            self._refused[meter.name] = f"{error.reason}; try: {error.hint}" if error.hint else error.reason
            self._warn(f"{error}; its energy will be missing")
            return True
        return False

    def before_trial(self) -> None:
        """Read the meters while nothing runs."""
        self._before = self._idle()

    def after_trial(
        self, window: Mapping[str, int], steps: int, pauses: Sequence[Window] = ()
    ) -> list[schema.Energy]:
        """Return the energy of the measured window, without its pauses, by meter and domain.

        Rows without a value say why.
        """
        self._after = self._idle()
        rows = self._unread()
        if self._recorder is None:
            return rows
        span = _measured_span(window)
        if span is None or steps == 0:
            reason = "no step was measured" if span else "the trial ended before its measured window did"
            return rows + [schema.Energy.unavailable(meter.name, "all", reason) for meter in self._working()]
        measured = segments.energy(self._recorder, span, pauses, (self._before, self._after))
        measured = [self._advised(self._recorder, each) for each in measured]
        costs = {each.meter: each for each in self._recorder.overhead()}
        duration_s = (span[1] - span[0]) * 1e-9
        told = self._recorder.settings()
        return rows + [
            row_of(each, steps, duration_s, costs.get(each.meter), told.get(each.meter)) for each in measured
        ]

    def phase_window_s(self) -> float:
        """Return how long repetitions of one phase must last for the slowest meter here, in s; 0 without a meter."""
        return max(_PHASE_WINDOW_S, self._recorder.shortest_window_s()) if self._recorder else 0.0

    def by_phase(self, repeated: Sequence[Repeated], failure: str | None) -> list[schema.PhaseEnergy]:
        """Return the energy by phase of the trial that `after_trial` was called for, above the same idle level.

        `failure` is why the trial did not end well, None where it did. A meter that saw nothing says why.
        """
        recorder, idle = self._recorder, (self._before, self._after)
        rows: list[schema.PhaseEnergy] = []
        if recorder is not None and repeated:
            spans = [(each.begin_ns, each.end_ns) for each in repeated]
            measured = zip(repeated, recorder.energies(spans, idle), strict=True)
            windows = [(each, [self._advised(recorder, row) for row in found]) for each, found in measured]
            rows += phase_energy.by_phase(windows, failure)
        elif recorder is not None:
            reason = failure or "no step was measured, so none was repeated"
            rows += [
                row for meter in self._working() for row in phase_energy.without(meter.name, "all", reason)
            ]
        return rows + [
            row
            for absent in self._unread()
            for row in phase_energy.without(absent.meter, absent.domain, absent.reason or "unknown")
        ]

    def windows(self, window: Mapping[str, int], pauses: Sequence[Window] = ()) -> schema.Windows | None:
        """Return when the trial's windows were, or None where it ended before its measured one did."""
        measured = _measured_span(window)
        if measured is None:
            return None
        return schema.Windows(
            measured_ns=measured,
            idle_before_ns=self._before,
            idle_after_ns=self._after,
            evaluations_ns=list(pauses),
        )

    def traces(self, window: Mapping[str, int], zero_ns: int | None) -> list[schema.Trace]:
        """Return the power that every working meter read around the last trial, one series a domain.

        `zero_ns` is when the worker began; without it, or without a measured window, there is nothing to draw.
        """
        measured = _measured_span(window)
        if self._recorder is None or zero_ns is None or measured is None:
            return []
        named = {"idle": self._before, "measured": measured, "idle after": self._after}
        windows = {name: span for name, span in named.items() if span is not None}
        found = []
        for meter, all_series in self._recorder.all_series():
            alone = [each.name for each in self._meters].count(meter.name) == 1
            label = meter.name if alone else f"{meter.name}:{meter.argument}"
            for series in all_series:
                trace = power_trace(series, label, zero_ns, windows)
                if trace is not None:
                    found.append(msgspec.structs.replace(trace, provenance=meter.provenance))
        return found

    def mark(self) -> None:
        """Read every polled meter now: at an edge of the measured window or of an idle one."""
        if self._recorder:
            self._recorder.mark()

    def _advised(self, recorder: Recorder, row: WindowEnergy) -> WindowEnergy:
        """Return the row; where the idle windows were shorter than its meter needs, with the option that mends it."""
        if row.gross_j is None or row.reason is None:
            return row
        enough_s = _long_enough_s(recorder.shortest_idle_of_s(row.meter, row.domain))
        if self._idle_s >= enough_s:
            return row
        return replace(row, reason=f"{row.reason}; try: --idle {enough_s:g}")

    def _unread(self) -> list[schema.Energy]:
        """Return a row for each meter that is not read, which says why."""
        rows = [self._absent(meter) for meter in self._meters if meter.absence is not None]
        rows += [schema.Energy.unavailable(name, "all", reason) for name, reason in self._refused.items()]
        return rows + ([schema.Energy.unavailable("none", "none", self._missing)] if self._missing else [])

    def _working(self) -> list[Meter]:
        return [meter for meter in self._meters if meter.absence is None]

    def _idle(self) -> Window | None:
        if (self._recorder is None and not self._idle_anyway) or self._idle_s <= 0:
            return None
        self._idling(self._idle_s)
        # Between two polls a counter's energy is taken for even: without a reading at each edge, some of the work's
        # beside it would be idle energy.
        begin = time.monotonic_ns()
        self.mark()
        time.sleep(self._idle_s)
        end = time.monotonic_ns()
        self.mark()
        return begin, end

    @staticmethod
    def _absent(meter: Meter) -> schema.Energy:
        return schema.Energy.unavailable(meter.name, "none", meter.absence or "this meter measures nothing")


def _long_enough_s(needed_s: float) -> float:
    """Return how long to read at idle for a meter that needs so much, in s: whole seconds beyond the usual."""
    return max(DEFAULT_IDLE_S, float(math.ceil(needed_s)))


def _measured_span(window: Mapping[str, int]) -> Window | None:
    """Return begin and end (ns) of the measured window; None where the trial ended before it did."""
    return (window["begin"], window["end"]) if {"begin", "end"} <= window.keys() else None


def why_no_meter() -> str:
    """Return one line: which of this machine's own meters came nearest, and where to read more."""
    probes = [registry.probe(name) for name in registry.names() if registry.make(name).automatic]
    near = [probe for probe in probes if probe.hint]
    said = "; ".join(f"{probe.name}: {probe.reason}" for probe in near[:1])
    return f"no usable meter{f' ({said})' if said else ''}; `harness doctor` lists what would do"
