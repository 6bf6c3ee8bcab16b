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
class Ratio:
    """The ratio of paired values, its interval, and how both were had.

    `method` is `ranks` (median of the pairs' ratios, order statistics; six pairs or more), `t` (geometric
    mean, Student's t on the logarithms; two to five pairs) or `single` (one pair: no interval).
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
    """Return the relative half range (max - min) / 2 / median; 0 for a single value.

    Raises:
        ValueError: No values, or a median of 0.
    """
    middle = statistics.median(values)
    if middle == 0:
        raise ValueError("the spread around a median of 0 has no relative measure")
    return (max(values) - min(values)) / 2.0 / abs(middle)


def paired_ratio(before: Sequence[float], after: Sequence[float]) -> Ratio:
    """Return after ÷ before, pair by pair, with its 95 % interval.

    Args:
        before: Positive values, one a pair, in running order.
        after: Positive values of the same pairs.

    Raises:
        ValueError: No pairs, unequal lengths, or a value that is not positive and finite.
    """
    if not before or len(before) != len(after):
        raise ValueError(f"{len(before)} and {len(after)} values make no pairs")
    if not all(math.isfinite(value) and value > 0 for value in (*before, *after)):
        raise ValueError("a ratio needs positive, finite values")
    ratios = [b / a for a, b in zip(before, after, strict=True)]
    n = len(ratios)
    if n == 1:
        return Ratio(ratios[0], None, 1, "single")
    if n in range(2, 6):
        return _t_ratio(ratios)
    return Ratio(statistics.median(ratios), median_interval(ratios), n, "ranks")


def _t_ratio(ratios: list[float]) -> Ratio:
    """Return the geometric mean of two to five ratios with Student's interval on their logarithms."""
    logs = [math.log(ratio) for ratio in ratios]
    centre = statistics.fmean(logs)
    half = _T_975[len(logs) - 1] * statistics.stdev(logs) / math.sqrt(len(logs))
    interval = (math.exp(centre - half), math.exp(centre + half))
    return Ratio(math.exp(centre), interval, len(logs), "t")
