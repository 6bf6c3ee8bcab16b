"""Medians, their intervals, and ratios: what little statistics the tables and gates need.

Standard library only: the base install has no scipy (the tests check these figures against it).
Medians and order statistics, because step times are skewed: one late step must not move the answer.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from results.schema import Estimate

# Two-sided 97.5 % points of Student's t for 1 to 4 degrees of freedom: 2 to 5 values, too few for ranks.
_T_975 = {1: 12.706204736174698, 2: 4.302652729749462, 3: 3.182446305283708, 4: 2.7764451051977934}


@dataclass(frozen=True)
class Paired:
    """The ratio or difference of paired values, its 95 % interval, and how both were had.

    `method` is `ranks` (median of the pairs', order statistics; six pairs or more), `t` (mean, Student's t;
    for ratios on their logarithms; two to five pairs) or `single` (one pair: no interval).
    """

    value: float
    interval: tuple[float, float] | None
    n: int
    method: Literal["ranks", "t", "single"]


def median_ranks(n: int, confidence: float = 0.95) -> tuple[int, int] | None:
    """Return the ranks (1 to n) of the order statistics that enclose the median, or None where n < 6.

    The narrowest symmetric pair (k, n + 1 - k) whose exact coverage, 1 - 2·P(Binomial(n, ½) < k), is at
    least `confidence` (David and Nagaraja, Order Statistics, section 7.1).
    """
    # In whole numbers, both sides times 2^n, so that n = 10,000 neither underflows nor takes long.
    allowed = int(Fraction((1.0 - confidence) / 2.0) * (1 << n))
    rank, ways, tail = 0, 1, 1
    while rank < n // 2 and tail <= allowed:
        ways = ways * (n - rank) // (rank + 1)
        tail += ways
        rank += 1
    return (rank, n + 1 - rank) if rank else None


def median_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float] | None:
    """Return the interval of the median by order statistics; None with too few values (n < 6 at 95 %)."""
    ranks = median_ranks(len(values), confidence)
    if ranks is None:
        return None
    ordered = sorted(values)
    return ordered[ranks[0] - 1], ordered[ranks[1] - 1]


def estimate(values: Sequence[float]) -> Estimate | None:
    """Return median, 95 % interval and count of finite values, for the result document; None without any."""
    finite = [float(value) for value in values if math.isfinite(value)]
    if not finite:
        return None
    return Estimate(median=statistics.median(finite), ci95=median_interval(finite), n=len(finite))


def spread(values: Sequence[float]) -> float:
    """Return the relative half range (max - min) / 2 / median: 0 where all are the same, also 0 itself.

    Around a median of 0 unequal values are infinitely far apart: no tolerance is wide enough for them.

    Raises:
        ValueError: No values.
    """
    middle, half = statistics.median(values), (max(values) - min(values)) / 2.0
    if half == 0.0:
        return 0.0
    return half / abs(middle) if middle else math.inf


def paired_ratio(before: Sequence[float], after: Sequence[float]) -> Paired:
    """Return after ÷ before, pair by pair, with its 95 % interval.

    Args:
        before: Positive values, one a pair, in running order.
        after: Positive values of the same pairs.

    Raises:
        ValueError: No pairs, unequal lengths, or a value that is not positive and finite.
    """
    _require_pairs(before, after)
    if not all(math.isfinite(value) and value > 0 for value in (*before, *after)):
        raise ValueError("a ratio needs positive, finite values")
    logs = _paired([math.log(b) - math.log(a) for a, b in zip(before, after, strict=True)])
    interval = None if logs.interval is None else (math.exp(logs.interval[0]), math.exp(logs.interval[1]))
    return Paired(math.exp(logs.value), interval, logs.n, logs.method)


def paired_difference(before: Sequence[float], after: Sequence[float]) -> Paired:
    """Return after − before, pair by pair, with its 95 % interval; errors as `paired_ratio`."""
    _require_pairs(before, after)
    if not all(map(math.isfinite, (*before, *after))):
        raise ValueError("a difference needs finite values")
    return _paired([b - a for a, b in zip(before, after, strict=True)])


def half_width(values: Sequence[float]) -> float | None:
    """Return half the width of the 95 % interval that repeats leave their median; None where there is one or none.

    From six values on that of the median by order statistics (`median_interval`). Two to five are too few for one, so
    it is Student's, t·s/√n: around the median of normal draws it covers 93.5 to 95 % (the tests simulate it), and it
    is what pairs of as few are judged by.
    """
    if len(values) < 2:
        return None
    interval = _paired(values).interval
    return None if interval is None else (interval[1] - interval[0]) / 2.0


def _require_pairs(before: Sequence[float], after: Sequence[float]) -> None:
    """Raise ValueError where two columns make no pairs."""
    if not before or len(before) != len(after):
        raise ValueError(f"{len(before)} and {len(after)} values make no pairs")


def _paired(values: Sequence[float]) -> Paired:
    """Return the centre of the pairs' values: by ranks where there are enough for that, else Student's t."""
    n = len(values)
    if n == 1:
        return Paired(values[0], None, 1, "single")
    if n - 1 not in _T_975:
        return Paired(statistics.median(values), median_interval(values), n, "ranks")
    centre = statistics.fmean(values)
    half = _T_975[n - 1] * statistics.stdev(values) / math.sqrt(n)
    return Paired(centre, (centre - half, centre + half), n, "t")
