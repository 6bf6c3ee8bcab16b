"""Change points and sparklines of a series: where a metric moved, and what it looks like in one line."""

import itertools
import math
import random
import statistics
from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"
MIN_SEGMENT = 4
"""Values on either side of a change point: with fewer, chance alone is never below 5 %."""
_PERMUTATIONS = 999
_SIGNIFICANCE = 0.01
_LONG = 100


def sparkline(values: Sequence[float], width: int = 20) -> str:
    """Return one character a value, or a bin of values where there are more than `width` (their median).

    The lowest value is the lowest block; a flat series is drawn in the middle.
    """
    if not values:
        return ""
    bins = min(width, len(values))
    edges = [index * len(values) // bins for index in range(bins + 1)]
    heights = [statistics.median(values[a:b]) for a, b in itertools.pairwise(edges)]
    low, span = min(heights), max(heights) - min(heights)
    if span <= 1e-12 * max(abs(low), abs(low + span)):
        return BLOCKS[3] * bins
    return "".join(BLOCKS[round((height - low) / span * (len(BLOCKS) - 1))] for height in heights)


def change_points(values: Sequence[float], margin: float = 0.0) -> list[int]:
    """Return the indices at which a new level begins, in order.

    Binary segmentation with Pettitt's rank statistic (Applied Statistics 28, 1979), its significance by a
    seeded permutation test: no distribution is assumed, and one outlier is no change. A change of the
    median by less than `margin` (relative) is left out, however sure it is.
    """
    return sorted(_segment(list(values), 0, margin, random.Random(0)))


def pettitt(values: Sequence[float]) -> tuple[int, float]:
    """Return the split (length of the first part) with the largest |U| of Pettitt, and that |U|."""
    return _largest(_midranks(values))


def _largest(ranks: Sequence[float]) -> tuple[int, float]:
    """Return Pettitt's split and |U| from the ranks in order: U(t) = 2·Σ ranks − t·(n + 1)."""
    n, total, best, at = len(ranks), 0.0, -1.0, 0
    for t in range(1, n):
        total += ranks[t - 1]
        statistic = abs(2 * total - t * (n + 1))
        if statistic > best and MIN_SEGMENT <= t <= n - MIN_SEGMENT:
            best, at = statistic, t
    return at, best


def _segment(values: list[float], offset: int, margin: float, rng: random.Random) -> list[int]:
    """Return the change points of one stretch, and of the two on either side of its change."""
    if len(values) < 2 * MIN_SEGMENT:
        return []
    at, statistic = pettitt(values)
    before, after = statistics.median(values[:at]), statistics.median(values[at:])
    if abs(after - before) <= margin * abs(before) or not _is_significant(values, statistic, rng):
        return []
    left = _segment(values[:at], offset, margin, rng)
    return [*left, offset + at, *_segment(values[at:], offset + at, margin, rng)]


def _is_significant(values: Sequence[float], statistic: float, rng: random.Random) -> bool:
    """Tell whether at most 1 % of all orders of the values would reach the statistic.

    The shortest series (4 and 4) can reach 2 in 70 orders only, so below 12 values 5 % are allowed. Long
    series have Pettitt's own approximation, which no longer errs there and takes no time.
    """
    n = len(values)
    if n > _LONG:
        return 2 * math.exp(-6 * statistic**2 / (n**3 + n**2)) <= _SIGNIFICANCE
    allowed = _SIGNIFICANCE if n >= 3 * MIN_SEGMENT else 0.05
    shuffled, reached = _midranks(values), 1
    for _ in range(_PERMUTATIONS):
        rng.shuffle(shuffled)
        reached += _largest(shuffled)[1] >= statistic
        if reached > allowed * (_PERMUTATIONS + 1):
            return False
    return True


def _midranks(values: Sequence[float]) -> list[float]:
    """Return the ranks from 1; equal values share the mean of theirs."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end + 1 < len(order) and values[order[end + 1]] == values[order[start]]:
            end += 1
        for position in range(start, end + 1):
            ranks[order[position]] = (start + end) / 2 + 1
        start = end + 1
    return ranks
