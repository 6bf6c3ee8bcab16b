"""What reading a meter costs the machine it measures: CPU time, and energy where the meter can tell.

The CPU time is that of the reader's own thread, by the kernel's clock for it. The energy is a difference of
two idle stretches of the same length, one polled and one read at its ends only; only a counter can be left
alone in between, so a meter of power has none to report (None, with the reason).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from power.base import Meter, now_ns
from power.reader import ReaderKind
from power.recorder import Recorder
from power.window import WindowEnergy, sum_gross_j


@dataclass(frozen=True, slots=True)
class OverheadReport:
    """Cost of polling one meter: `share` of one core, CPU seconds a read, and extra power in W; and who read."""

    meter: str
    reader: ReaderKind
    rate_hz: float
    share: float
    cpu_per_read_s: float
    extra_w: float | None
    extra_w_uncertainty: float | None
    reason: str | None


def measure_overhead(
    make_meter: Callable[[], Meter],
    seconds: float = 10.0,
    rate_hz: float | None = 100.0,
    seed: int = 0,
    *,
    power: bool = True,
) -> OverheadReport:
    """Poll a meter at `rate_hz` for `seconds` on an otherwise idle machine and return what that cost.

    Without `rate_hz` it is polled as often as in a run; a stream comes at its own rate whatever is asked for.
    Without `power`, the extra power, which takes as long again, is left out: a stand-in's would be no power at all.
    Raises `MeterUnavailableError` where the meter cannot be opened.
    """
    with Recorder([make_meter()], seed=seed, period_s=None if rate_hz is None else 1.0 / rate_hz) as recorder:
        polled = _window(recorder, seconds)
    (cost,) = recorder.overhead()
    extra_w, uncertainty_w, reason = (
        _extra_power(make_meter, polled, seconds, seed) if power else (None, None, "it was not asked for")
    )
    return OverheadReport(
        meter=cost.meter,
        reader=cost.reader,
        rate_hz=cost.reads / cost.wall_s,
        share=cost.share,
        cpu_per_read_s=cost.cpu_s / max(1, cost.reads),
        extra_w=extra_w,
        extra_w_uncertainty=uncertainty_w,
        reason=reason,
    )


@dataclass(frozen=True, slots=True)
class _Stretch:
    """An idle stretch as it really was: asked to last a second, it may have lasted a little longer."""

    rows: list[WindowEnergy]
    duration_s: float

    @property
    def power_w(self) -> float | None:
        energy_j = sum_gross_j(self.rows)
        return None if energy_j is None else energy_j / self.duration_s

    @property
    def random_w(self) -> float:
        """Standard uncertainty without the gain, which is the same in both stretches and leaves their difference."""
        names = ("resolution_j", "edges_j", "sampling_j")
        parts = [row.uncertainty_terms_j.get(name, 0.0) for row in self.rows for name in names]
        return float(sum(part * part for part in parts) ** 0.5) / self.duration_s


def _window(recorder: Recorder, seconds: float) -> _Stretch:
    """Record a stretch; each mark follows its edge, so that a counter read at marks alone has a reading inside."""
    give_up_s = time.monotonic() + 10.0
    while time.monotonic() < give_up_s and any(cost.reads == 0 for cost in recorder.overhead()):
        time.sleep(0.005)
    start_ns = now_ns()
    recorder.mark()
    time.sleep(seconds)
    end_ns = now_ns()
    recorder.mark()
    time.sleep(0.05)
    return _Stretch(recorder.energy(start_ns, end_ns), (end_ns - start_ns) * 1e-9)


def _extra_power(
    make_meter: Callable[[], Meter], polled: _Stretch, seconds: float, seed: int
) -> tuple[float | None, float | None, str | None]:
    """Return polled less unpolled power (W), its uncertainty, and why there is none."""
    with Recorder([make_meter()], seed=seed, sparse=True) as recorder:
        if any(series.domain.kind == "power" for _, every in recorder.all_series() for series in every):
            reason = "a meter of power cannot tell: it must be read to measure"
            return None, None, reason
        quiet = _window(recorder, seconds)
    if polled.power_w is None or quiet.power_w is None:
        missing = next(row.reason for row in (*polled.rows, *quiet.rows) if row.gross_j is None)
        return None, None, f"no energy was measured: {missing}"
    uncertainty_w = 1.96 * (polled.random_w**2 + quiet.random_w**2) ** 0.5
    return polled.power_w - quiet.power_w, uncertainty_w, None
