"""Traces of meters that record by themselves: a pattern played for them, and their energy brought into a document."""

from collections.abc import Callable
from math import hypot
from pathlib import Path
from typing import NamedTuple

import msgspec

from harness import segments
from harness.checkpoints import measured_steps
from harness.energy_rows import row_of
from harness.errors import UsageError
from harness.throttling import invalidated, why_invalid
from power.series import Series
from power.synchronise import ClockMap, Match, Pattern, clock_map, find, find_two, play
from power.trace_csv import read_trace
from power.window import WindowEnergy, measure_all
from results import schema

NO_GAIN_LIMIT = "no gain limit was given, so the meter's own error is not in the ±: --gain-limit"
#: Coverage factor for 95 % of a sum that one rectangular cause rules (`power.uncertainty`).
_PLACE_K = 1.65
#: Long enough for a meter of a few values a second.
PATTERN = Pattern(chip_s=1.0, guard_s=2.0)


def play_into(
    document: schema.Document,
    tell: Callable[[float], None],
) -> None:
    """Play the pattern on every core and note in the document when its code began."""
    pattern = PATTERN
    tell(pattern.duration_s + 2 * pattern.guard_s)
    if document.synchronisation is None:
        document.synchronisation = schema.Synchronisation(
            code=list(pattern.code), chip_s=pattern.chip_s, guard_s=pattern.guard_s, begins_ns=[]
        )
    document.synchronisation.begins_ns.append(play(pattern))


class Joined(NamedTuple):
    """How the two clocks were joined: the map, and the pattern's correlation at its worst place."""

    clocks: ClockMap
    correlation: float

    def __str__(self) -> str:
        drift_ppm = (1.0 / self.clocks.rate - 1.0) * 1e6
        return f"its clock is {drift_ppm:+.0f} ppm fast, correlation {self.correlation:.2f}"


def bring_in(document: schema.Document, path: Path, *, meter: str, gain_limit: float | None) -> Joined:
    """Cut a trace to every trial's windows and put its energy into the document, in place of this meter's earlier rows.

    `gain_limit` is the meter's relative error limit; None where nobody stated it: the rows say that it is not in their
    uncertainty. Raises UsageError for a document without a pattern, CaptureError for a file that is no trace,
    SynchronisationError where the pattern is not found in it for certain.
    """
    if document.synchronisation is None:
        raise UsageError("the run played no pattern to be found in a trace; try: harness run --synchronise")
    trace = read_trace(path, gain_limit=gain_limit or 0.0)
    joined = join(trace, document.synchronisation)
    moved = joined.clocks.applied(trace)
    for trial in document.trials:
        trial.energy = [row for row in trial.energy if row.meter not in (meter, "none")]
        row = _row(trial, moved, meter, f"cut from {path.name}: {joined}")
        row.settings = {"trace": path.name, "gain_limit": gain_limit}
        if gain_limit is None:
            _say_ungained(row)
        why = why_invalid(trial.validity)
        trial.energy.append(invalidated(row, why) if why else row)
    return joined


def join(trace: Series, played: schema.Synchronisation) -> Joined:
    """Find the pattern in the trace and return how its clock maps to the host's."""
    pattern = Pattern(tuple(played.code), played.chip_s, played.guard_s)
    matches: list[Match]
    if len(played.begins_ns) > 1:
        apart_s = (played.begins_ns[-1] - played.begins_ns[0]) * 1e-9
        matches = list(find_two(trace, pattern, apart_s))
    else:  # interrupted: the offset alone
        matches = [find(trace, pattern)]
    ends_ns = [played.begins_ns[0], played.begins_ns[-1]]
    clocks = clock_map(list(zip(matches, ends_ns, strict=False)))
    return Joined(clocks, min(match.correlation for match in matches))


def _row(trial: schema.Trial, trace: Series, meter: str, how: str) -> schema.Energy:
    windows = trial.windows
    if windows is None:
        return schema.Energy.unavailable(meter, "trace", "the trial ended before its measured window did")
    planned, warmup = (int(str(trial.settings[name])) for name in ("steps", "warmup"))
    resumed_at = trial.checkpoint.resumed_at_step if trial.checkpoint else None
    steps = measured_steps(planned, resumed_at=resumed_at, warmup=warmup)
    if steps == 0:
        return schema.Energy.unavailable(meter, "trace", "no step was measured")
    parts = _stretches(trace, windows, meter)
    measured = segments.total(parts)
    begin_ns, end_ns = windows.measured_ns
    row = row_of(measured, steps, (end_ns - begin_ns) * 1e-9)
    if measured.gross_j is None:
        return row
    reason = f"{how}; {row.reason}" if row.reason else how
    # The trace is moved as a whole: what one stretch loses by it another may lose too.
    place_j = sum(_place_j(part, trace) for part in parts)
    return msgspec.structs.replace(
        row,
        reason=reason,
        uncertainty_j=hypot(row.uncertainty_j or 0.0, place_j),
        gross_uncertainty_j=hypot(row.gross_uncertainty_j or 0.0, place_j),
        terms_j=row.terms_j | {"place_j": place_j / _PLACE_K} if row.terms_j else {},
    )


def _say_ungained(row: schema.Energy) -> None:
    """Note in a row that has an energy that the meter's own error is missing from its uncertainty, in place of a 0."""
    row.terms_j.pop("gain_j", None)
    if row.gross_j is not None:
        row.reason = f"{row.reason}; {NO_GAIN_LIMIT}"


def _stretches(trace: Series, windows: schema.Windows, meter: str) -> list[WindowEnergy]:
    """Measure the stretches of training between evaluations, each above the same idle level."""
    idle = (windows.idle_before_ns, windows.idle_after_ns)
    spans = segments.between(windows.measured_ns, windows.evaluations_ns)
    return measure_all(trace, spans, idle, meter=meter)


def _place_j(measured: WindowEnergy, trace: Series) -> float:
    """Return the 95 % part of the uncertainty that comes from where the pattern was found.

    Its place is known to half a sample (a rectangular cause, u = Ts/2/√3). A window that is moved loses at one edge
    what it gains at the other where the load goes on beyond both, and at worst, where one edge is that of the load, the
    power above idle for as long as it was moved.
    """
    above_w = (measured.net_j or 0.0) / (measured.duration_s or 1.0)
    return _PLACE_K * abs(above_w) * trace.domain.update_s / 2 / 3**0.5
