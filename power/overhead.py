"""What reading a meter costs the machine it measures: CPU time, and energy where the meter can tell.

The CPU time is that of the reader's own thread, by the kernel's clock for it. The energy is a difference of
two idle stretches of the same length, one polled and one read at its ends only; only a counter can be left
alone in between, so a meter of power has none to report (None, with the reason).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from power.base import Meter, now_ns
from power.recorder import Recorder
from power.window import WindowEnergy, sum_gross_j


@dataclass(frozen=True, slots=True)
class OverheadReport:
    """Cost of polling one meter: `share` of one core, CPU seconds a read, and extra power in W."""

    meter: str
    rate_hz: float
    share: float
    cpu_per_read_s: float
    extra_w: float | None
    extra_w_uncertainty: float | None
    reason: str | None


def measure_overhead(
    make_meter: Callable[[], Meter], seconds: float = 10.0, rate_hz: float = 100.0, seed: int = 0
) -> OverheadReport:
    """Poll a meter at `rate_hz` for `seconds` on an otherwise idle machine and return what that cost.

    Raises `MeterUnavailableError` where the meter cannot be opened.
    """
    with Recorder([make_meter()], seed=seed, period_s=1.0 / rate_hz) as polled:
        rows = _window(polled, seconds)
    (cost,) = polled.overhead()
    extra_w, uncertainty_w, reason = _extra_power(make_meter, rows, seconds, seed)
    return OverheadReport(
        meter=cost.meter,
        rate_hz=cost.reads / cost.wall_s,
        share=cost.share,
        cpu_per_read_s=cost.cpu_s / max(1, cost.reads),
        extra_w=extra_w,
        extra_w_uncertainty=uncertainty_w,
        reason=reason,
    )


def _window(recorder: Recorder, seconds: float) -> list[WindowEnergy]:
    time.sleep(0.05)
    recorder.mark()
    start_ns = now_ns()
    time.sleep(seconds)
    end_ns = now_ns()
    recorder.mark()
    time.sleep(0.05)
    return recorder.energy(start_ns, end_ns)


def _extra_power(
    make_meter: Callable[[], Meter], polled: list[WindowEnergy], seconds: float, seed: int
) -> tuple[float | None, float | None, str | None]:
    """Return polled less unpolled power (W), its uncertainty, and why there is none."""
    with Recorder([make_meter()], seed=seed, sparse=True) as recorder:
        if any(
            series.domain.kind == "power" for _, all_series in recorder.all_series() for series in all_series
        ):
            return (
                None,
                None,
                "a meter of power cannot measure what it costs to be read: it must be read to measure",
            )
        quiet = _window(recorder, seconds)
    energies = [sum_gross_j(rows) for rows in (polled, quiet)]
    if energies[0] is None or energies[1] is None:
        missing = next(row.reason for row in (*polled, *quiet) if row.gross_j is None)
        return None, None, f"no energy was measured: {missing}"
    # The gain is the same in both and leaves their difference but for its own small part.
    random_j = [_random_j(rows) for rows in (polled, quiet)]
    uncertainty_w = 1.96 * (random_j[0] ** 2 + random_j[1] ** 2) ** 0.5 / seconds
    return (energies[0] - energies[1]) / seconds, uncertainty_w, None


def _random_j(rows: list[WindowEnergy]) -> float:
    parts = [row.uncertainty_terms_j.get(name, 0.0) for row in rows for name in ("edges_j", "sampling_j")]
    return float(sum(part * part for part in parts) ** 0.5)
