"""From samples to the energy of a window: edges interpolated, and windows too short refused.

A window is two instants of the worker (CLOCK_MONOTONIC, ns); samples fall where they fall. A power is
integrated by the trapezoid over the real timestamps, a counter is subtracted; at both edges the curve (power
or energy) is interpolated between the samples on either side, so both sides must exist.
"""

import random
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from operator import add, mul, ne, sub

from power.base import Domain, wrap_s
from power.series import Series, may_wrap_unseen

#: A window must hold this many sample periods (or updates of a counter) to be measured.
MIN_PERIODS = 100
#: The idle level is an average, not the result: fewer samples only widen its own, reported, uncertainty.
MIN_IDLE_PERIODS = 20
#: A counter must move by this many of its own steps (3.6 J for a register in mWh).
MIN_STEPS = 100
#: A hole between samples longer than this many mean periods is a gap; the jitter alone reaches 1.5.
GAP_PERIODS = 4.0
#: More of a window than this without samples is not measured.
MAX_GAP_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Cut:
    """The part of a series that covers a window.

    `first` is the last sample at or before the window, `last` the first one at or after its end. `t_s`
    (from the start of the window) and `values` begin and end with the interpolated edges.
    """

    series: Series
    t0_ns: int
    t1_ns: int
    first: int
    last: int
    t_s: list[float]
    values: list[float]

    @property
    def duration_s(self) -> float:
        """Length of the window, in s."""
        return self.t_s[-1]

    @property
    def inside(self) -> int:
        """Number of samples strictly between the edges' outer neighbours."""
        return self.last - self.first - 1

    @property
    def fresh(self) -> int:
        """Number of samples inside that differ from the one before: what the meter really renewed."""
        values = self.series.values[self.first : self.last]
        return sum(map(ne, values, values[1:]))

    def steps_s(self) -> list[float]:
        """Return the times between samples, from `first` to `last`, in s."""
        t_ns = self.series.t_ns[self.first : self.last + 1]
        return [(after - before) * 1e-9 for before, after in pairwise(t_ns)]


def jittered_periods(period_s: float, seed: int) -> Iterator[float]:
    """Yield the waits between polls, in s: uniform in half to one and a half periods, from a seed.

    A fixed rate aliases with a periodic load: at 10 Hz the error was 1.8 % and did not fall with time.
    Random times turn that error into noise, which does.
    """
    generator = random.Random(seed)
    while True:
        yield period_s * generator.uniform(0.5, 1.5)


def jittered_waits_ns(period_s: float, generator: random.Random, count: int) -> "array[int]":
    """Return as many such waits in ns, at a third of the cost: thousands are made at a time."""
    draw, half_ns, period_ns = generator.random, 0.5e9 * period_s, 1e9 * period_s
    return array("q", [round(half_ns + period_ns * draw()) for _ in range(count)])


def interpolate(series: Series, at_ns: int, index: int) -> float:
    """Return the value at `at_ns` on the line from sample `index` to the next one."""
    t0, t1 = series.t_ns[index], series.t_ns[index + 1]
    v0, v1 = series.values[index], series.values[index + 1]
    return v0 + (v1 - v0) * ((at_ns - t0) / (t1 - t0))


def why_not_covered(series: Series, t0_ns: int, t1_ns: int) -> str | None:
    """Return why the series says nothing about the window, or None where it brackets it."""
    if t1_ns <= t0_ns:
        return "the window is empty: its end is not after its start"
    count = len(series)
    if count == 0:
        return "the meter delivered no sample"
    if series.t_ns[0] > t0_ns:
        return f"the first sample came {(series.t_ns[0] - t0_ns) * 1e-9:.3f} s after the window began"
    if series.t_ns[count - 1] < t1_ns:
        late_s = (t1_ns - series.t_ns[count - 1]) * 1e-9
        return f"the last sample came {late_s:.3f} s before the window ended"
    lost = [(end - start) * 1e-9 for start, end in series.resets if start < t1_ns and end > t0_ns]
    return _why_lost(series.domain, lost) if lost else None


def _why_lost(domain: Domain, lost_s: list[float]) -> str:
    """Return why a counter lost its place in times of these lengths."""
    longest_s, limit_s = max(lost_s), wrap_s(domain)
    if limit_s is None or not may_wrap_unseen(longest_s, domain):
        return "the counter started again in the window (the meter was restarted or disconnected)"
    text = f"the counter was not read for {longest_s:.3g} s and may have wrapped more than once"
    return f"{text}: a reading every {limit_s:.3g} s would do"


def cut(series: Series, t0_ns: int, t1_ns: int) -> Cut:
    """Cut the window out of a series that covers it (see `why_not_covered`)."""
    count = len(series)
    first = bisect_right(series.t_ns, t0_ns, 0, count) - 1
    last = bisect_left(series.t_ns, t1_ns, 0, count)
    t_s = [0.0, *[(t - t0_ns) * 1e-9 for t in series.t_ns[first + 1 : last]], (t1_ns - t0_ns) * 1e-9]
    start, end = interpolate(series, t0_ns, first), interpolate(series, t1_ns, last - 1)
    return Cut(series, t0_ns, t1_ns, first, last, t_s, [start, *series.values[first + 1 : last], end])


def trapezoid(t_s: list[float], power_w: list[float]) -> float:
    """Return ∫ P dt over the given instants, in J: exact for a power that is linear between them."""
    if len(t_s) != len(power_w):
        raise ValueError("one power for each instant")
    return 0.5 * float(sum(map(mul, map(sub, t_s[1:], t_s), map(add, power_w[1:], power_w))))


def energy_j(window: Cut) -> float:
    """Return the gross energy of a window, in J."""
    if window.series.domain.kind == "energy":
        return window.values[-1] - window.values[0]
    return trapezoid(window.t_s, window.values)


def achieved_period_s(window: Cut) -> float:
    """Return the mean time between new values in the window, in s: the poll's, or the meter's if slower."""
    own_s = window.series.domain.update_s
    if window.series.domain.kind == "energy":
        return own_s
    return max(own_s, window.duration_s / max(1, window.inside))


def shortest_window_s(domain: Domain, poll_s: float, periods: int = MIN_PERIODS) -> float:
    """Return how long a window must at least be for this domain, in s, before anything was measured.

    For a power the sample period counts (the poll's or the meter's own, whichever is longer); for a counter
    only its own update, because the polls merely place the edges.
    """
    if domain.kind == "energy":
        return periods * domain.update_s
    return periods * max(domain.update_s, poll_s)


def refusal(window: Cut, periods: int = MIN_PERIODS, poll_s: float = 0.0) -> tuple[str, float | None] | None:
    """Return why this window is too short or too holed for its meter, and the length in s that would do.

    None: it may be measured. Asked before any energy is shown: at least `periods` sample periods (for a
    counter, its updates, and `MIN_STEPS` of its steps), and no more than 5 % in gaps. `poll_s` is the mean time
    between polls that was asked for, where it is known: the length proposed is never less than what it needs, because
    the few samples of a short window may be close to each other, and a mark at its begin adds one.
    """
    duration_s, domain = window.duration_s, window.series.domain
    needed_s = periods * achieved_period_s(window)
    coarse = _too_coarse(window) if domain.kind == "energy" else None
    # One period less: jittered samples of a window of exactly `periods` may come out one short.
    if duration_s < needed_s * (1 - 1 / periods):
        for_steps_s = (coarse and coarse[1]) or 0.0
        needed_s = max(needed_s, shortest_window_s(domain, poll_s, periods), for_steps_s)
        text = f"the window of {duration_s:.3g} s is too short for this meter: {needed_s:.3g} s would do"
        return text, needed_s
    if domain.kind == "energy":
        return coarse
    gap_s = longest_gaps_s(window)[1]
    if gap_s > MAX_GAP_SHARE * duration_s:
        return f"samples are missing for {gap_s:.3g} s of {duration_s:.3g} s", None
    if not any(window.values):
        return "the meter read 0 W throughout (nothing connected, or below what it can see)", None
    return None


def longest_gaps_s(window: Cut) -> tuple[float, float]:
    """Return the longest time between two samples and the sum of all gaps beyond the usual, in s."""
    steps_s = sorted(window.steps_s())
    usual_s = max(window.series.domain.update_s, steps_s[len(steps_s) // 2])
    return steps_s[-1], sum(step - usual_s for step in steps_s if step > GAP_PERIODS * usual_s)


def _too_coarse(window: Cut) -> tuple[str, float | None] | None:
    if window.inside < 1:
        return "no reading of the counter fell inside the window", None
    moved_j, step_j = energy_j(window), window.series.domain.resolution_j
    if moved_j <= 0.0:
        return "the counter did not move in the window", None
    if moved_j < MIN_STEPS * step_j:
        needed_s = MIN_STEPS * step_j / moved_j * window.duration_s
        text = f"the counter moved by {moved_j:.3g} J in steps of {step_j:.3g} J: {needed_s:.3g} s would do"
        return text, needed_s
    return None
