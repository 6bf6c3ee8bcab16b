"""Finding the host's time in a trace of another clock: a pattern of load, played and found again.

A meter without a logic input records by its own clock. Before and after the measurement the host plays a
pattern of idle and burst at instants it knows; the pattern is found in the trace by cross-correlation. One
pattern gives the offset of the two clocks, two give their rates as well.

The pattern is the Barker code of length 7 (+ + + - - + -): shifted against itself it correlates with at most
1/7, so its place is unambiguous. The trace is correlated through its integral: the sum over a stretch of
any two instants is exact for a power that is linear between samples, at any sampling rate and however
uneven.
"""

import hashlib
import os
import threading
import time
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, groupby, pairwise
from math import sqrt

from power.base import now_ns
from power.errors import SynchronisationError
from power.series import Series

BARKER_7 = (1, 1, 1, -1, -1, 1, -1)
#: Below this correlation a place is not the pattern; a perfect, noiseless one has 1.
MIN_CORRELATION = 0.6
#: The second best place, a chip or more away, must be this much worse.
MIN_LEAD = 0.15
#: Two clocks that differ by more than this are not two clocks: one pattern was mistaken.
_MAX_DRIFT = 0.01


@dataclass(frozen=True, slots=True)
class Pattern:
    """A code of bursts (+1) and idle (-1), each chip `chip_s` long, with idle before and after it."""

    code: tuple[int, ...] = BARKER_7
    chip_s: float = 0.4
    guard_s: float = 1.0

    @property
    def duration_s(self) -> float:
        """Length of the code, without its guards, in s."""
        return len(self.code) * self.chip_s

    def stretches(self) -> list[tuple[float, float, int]]:
        """Return (start, end, level) from the code's begin in s; guards included, at level -1."""
        chips = [(-self.guard_s, -1), *((i * self.chip_s, level) for i, level in enumerate(self.code))]
        edges = [*chips, (self.duration_s, -1)]
        ends = [*(start for start, _ in edges[1:]), self.duration_s + self.guard_s]
        return [(start, end, level) for (start, level), end in zip(edges, ends, strict=True)]

    def bursts(self) -> list[tuple[float, float]]:
        """Return the stretches of load as (start, end) from the code's begin, neighbours joined, in s."""
        joined = groupby(self.stretches(), key=lambda stretch: stretch[2])
        groups = [list(group) for level, group in joined if level > 0]
        return [(group[0][0], group[-1][1]) for group in groups]


@dataclass(frozen=True, slots=True)
class Match:
    """Where a pattern was found: the code begins at `t_ns` of the trace's clock."""

    t_ns: int
    correlation: float
    runner_up: float


@dataclass(frozen=True, slots=True)
class ClockMap:
    """Times of a trace as times of the host: host = `host_ns` + (t - `trace_ns`) · `rate`."""

    trace_ns: int
    host_ns: int
    rate: float = 1.0

    def to_host_ns(self, t_ns: int) -> int:
        """Return the host's time of an instant of the trace."""
        return self.host_ns + round((t_ns - self.trace_ns) * self.rate)

    def applied(self, series: Series) -> Series:
        """Return the series with the host's times, ready to be measured."""
        moved = Series(series.domain, rejected=series.rejected)
        moved.values = series.values[:]
        moved.t_ns = type(series.t_ns)("q", (self.to_host_ns(t_ns) for t_ns in series.t_ns))
        moved.resets = [(self.to_host_ns(a), self.to_host_ns(b)) for a, b in series.resets]
        return moved


def clock_map(matches: list[tuple[Match, int]]) -> ClockMap:
    """Return the map from one or two (match in the trace, host time of the same code's begin).

    Raises `SynchronisationError` for none, or for rates that differ by more than 1 %.
    """
    if not matches:
        raise SynchronisationError("no pattern was found: the two clocks cannot be joined")
    (first, first_ns), (last, last_ns) = matches[0], matches[-1]
    if first is last:
        return ClockMap(first.t_ns, first_ns)
    rate = (last_ns - first_ns) / (last.t_ns - first.t_ns)
    if abs(rate - 1.0) > _MAX_DRIFT:
        raise SynchronisationError(f"the clocks differ by {abs(rate - 1.0):.1%}: one pattern was mistaken")
    return ClockMap(first.t_ns, first_ns, rate)


def find(
    series: Series, pattern: Pattern, *, after_ns: int | None = None, before_ns: int | None = None
) -> Match:
    """Return where the pattern is in a trace of power (or of a counter), within the given times of its clock.

    Raises `SynchronisationError` where the trace is too short, the pattern is not there, or two places look
    alike.
    """
    trace = _Trace(series)
    low_s = trace.t_s[0] if after_ns is None else max(trace.t_s[0], (after_ns - trace.start_ns) * 1e-9)
    high_s = trace.t_s[-1] if before_ns is None else min(trace.t_s[-1], (before_ns - trace.start_ns) * 1e-9)
    low_s, high_s = low_s + pattern.guard_s, high_s - pattern.duration_s - pattern.guard_s
    if high_s <= low_s:
        raise SynchronisationError("the trace is shorter than the pattern")
    step_s = pattern.chip_s / 16
    coarse = [low_s + i * step_s for i in range(int((high_s - low_s) / step_s) + 1)]
    scores = [_correlation(trace, pattern, at_s) for at_s in coarse]
    best = max(range(len(coarse)), key=scores.__getitem__)
    far = [s for at_s, s in zip(coarse, scores, strict=True) if abs(at_s - coarse[best]) >= pattern.chip_s]
    runner_up = max(far, default=-1.0)
    at_s, correlation = _refined(trace, pattern, coarse[best], step_s)
    if correlation < MIN_CORRELATION:
        raise SynchronisationError(f"the pattern is not in the trace (best correlation {correlation:.2f})")
    if correlation - runner_up < MIN_LEAD:
        raise SynchronisationError(f"two places look alike ({correlation:.2f} and {runner_up:.2f})")
    return Match(trace.start_ns + round(at_s * 1e9), correlation, runner_up)


def find_two(series: Series, pattern: Pattern, apart_s: float) -> tuple[Match, Match]:
    """Return where the pattern is twice in a trace whose clock may run up to 1 % wrong: `apart_s` by the host's clock.

    Raises `SynchronisationError` where there are not two such places, or two pairs of them look alike.
    """
    trace = _Trace(series)
    step_s = pattern.chip_s / 16
    low_s, high_s = trace.t_s[0] + pattern.guard_s, trace.t_s[-1] - pattern.duration_s - pattern.guard_s
    at_s = [low_s + i * step_s for i in range(int((high_s - low_s) / step_s) + 1)]
    scores = [_correlation(trace, pattern, at) for at in at_s]
    peaks = [
        _refined(trace, pattern, at, step_s)
        for i, (at, score) in enumerate(zip(at_s, scores, strict=True))
        if score > MIN_CORRELATION / 2 and score == max(scores[max(0, i - 8) : i + 9])
    ]
    slack_s = _MAX_DRIFT * apart_s + pattern.chip_s / 2
    pairs = sorted(
        (
            (min(first[1], second[1]), first, second)
            for first in peaks
            for second in peaks
            if abs(second[0] - first[0] - apart_s) <= slack_s
        ),
        reverse=True,
    )
    if not pairs or pairs[0][0] < MIN_CORRELATION:
        best = f"best correlation {pairs[0][0]:.2f}" if pairs else "nothing like it"
        raise SynchronisationError(f"the pattern is not in the trace twice, {apart_s:.1f} s apart ({best})")
    runner_up = pairs[1][0] if len(pairs) > 1 else -1.0
    if pairs[0][0] - runner_up < MIN_LEAD:
        raise SynchronisationError(f"two pairs of places look alike ({pairs[0][0]:.2f} and {runner_up:.2f})")
    first, second = (
        Match(trace.start_ns + round(at * 1e9), correlation, runner_up) for at, correlation in pairs[0][1:]
    )
    return first, second


class _Trace:
    """A series with its integral and the integral of its square, to be asked for any stretch."""

    def __init__(self, series: Series) -> None:
        if len(series) < 3:
            raise SynchronisationError("the trace holds fewer than three samples")
        self.start_ns = series.t_ns[0]
        self.t_s = [(t_ns - self.start_ns) * 1e-9 for t_ns in series.t_ns]
        power_w = list(series.values)
        if series.domain.kind == "energy":
            rates = [
                (f - e) / (b - a)
                for (a, b), (e, f) in zip(pairwise(self.t_s), pairwise(power_w), strict=True)
            ]
            self.t_s = [(a + b) / 2 for a, b in pairwise(self.t_s)]
            power_w = rates
        mean_w = sum(power_w) / len(power_w)
        self._power_w = [power - mean_w for power in power_w]
        self._sum = self._integral(self._power_w)
        self._squares = self._integral([power * power for power in self._power_w])

    def _integral(self, values: list[float]) -> list[float]:
        parts = zip(pairwise(self.t_s), pairwise(values), strict=True)
        return [0.0, *accumulate((b - a) * (p + q) / 2 for (a, b), (p, q) in parts)]

    def sums(self, at_s: float) -> tuple[float, float]:
        """Return ∫P and ∫P² from the start to an instant inside the trace."""
        i = min(max(bisect_right(self.t_s, at_s), 1), len(self.t_s) - 1) - 1
        span_s = self.t_s[i + 1] - self.t_s[i]
        part_s = at_s - self.t_s[i]
        p = self._power_w[i]
        q = p + (self._power_w[i + 1] - p) * part_s / span_s
        return self._sum[i] + part_s * (p + q) / 2, self._squares[i] + part_s * (p * p + q * q) / 2


@cache
def _weights(pattern: Pattern) -> tuple[tuple[float, ...], tuple[float, ...], float, float]:
    """Return what every place has in common: edges, signs less their mean, the whole length (s), the signs' spread."""
    stretches = pattern.stretches()
    span_s = stretches[-1][1] - stretches[0][0]
    level = sum((end - start) * sign for start, end, sign in stretches) / span_s
    edges_s = (*(start for start, _, _ in stretches), stretches[-1][1])
    return edges_s, tuple(sign - level for _, _, sign in stretches), span_s, (1.0 - level * level) * span_s


def _correlation(trace: _Trace, pattern: Pattern, at_s: float) -> float:
    """Pearson's correlation of the trace with the pattern whose code begins at `at_s`."""
    edges_s, weights, span_s, signs = _weights(pattern)
    sums = [trace.sums(at_s + edge_s) for edge_s in edges_s]
    total, squares = sums[-1][0] - sums[0][0], sums[-1][1] - sums[0][1]
    product = sum((b[0] - a[0]) * weight for (a, b), weight in zip(pairwise(sums), weights, strict=True))
    spread = (squares - total * total / span_s) * signs
    return product / sqrt(spread) if spread > 0.0 else 0.0


def _refined(trace: _Trace, pattern: Pattern, around_s: float, step_s: float) -> tuple[float, float]:
    """Return the best place near `around_s` and its correlation (golden-section search)."""
    low_s, high_s = around_s - step_s, around_s + step_s
    ratio = (sqrt(5.0) - 1.0) / 2.0
    for _ in range(30):
        left_s, right_s = high_s - ratio * (high_s - low_s), low_s + ratio * (high_s - low_s)
        if _correlation(trace, pattern, left_s) < _correlation(trace, pattern, right_s):
            low_s = left_s
        else:
            high_s = right_s
    at_s = (low_s + high_s) / 2
    return at_s, _correlation(trace, pattern, at_s)


def play(
    pattern: Pattern,
    *,
    threads: int | None = None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], int] = now_ns,
) -> int:
    """Play the pattern as load on every core and return the host's time (ns) at which its code began."""
    sleep(pattern.guard_s)
    begin_ns = clock()
    for start_s, end_s in pattern.bursts():
        sleep(max(0.0, start_s - (clock() - begin_ns) * 1e-9))
        until_ns = begin_ns + round(end_s * 1e9)
        workers = [
            threading.Thread(target=_burn, args=(until_ns, clock))
            for _ in range(threads or os.cpu_count() or 1)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    sleep(max(0.0, pattern.duration_s + pattern.guard_s - (clock() - begin_ns) * 1e-9))
    return begin_ns


def _burn(until_ns: int, clock: Callable[[], int]) -> None:
    """Keep a core busy until `until_ns`; hashing large blocks lets the other threads run."""
    block = bytes(1 << 16)
    while clock() < until_ns:
        hashlib.sha256(block).digest()
