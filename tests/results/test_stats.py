import math
import statistics
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.stats import (
    estimate,
    half_width,
    median_interval,
    median_ranks,
    paired_difference,
    paired_ratio,
    spread,
)

positive = st.floats(min_value=1e-6, max_value=1e6)


@pytest.fixture(scope="module")
def scipy_stats() -> ModuleType:
    """Return the oracle. Every process of the tests collects this file: its second of imports is for those that ask."""
    from scipy import stats

    return stats


@pytest.mark.parametrize("n", [*range(1, 40), 60, 100, 999, 6000])
def test_ranks_are_the_exact_binomial_ones(n: int, scipy_stats: ModuleType) -> None:
    ranks = median_ranks(n)
    binomial = scipy_stats.binom(n, 0.5)
    if ranks is None:
        assert n < 6
        assert 1 - 2 * binomial.cdf(0) < 0.95
        return
    low, high = ranks
    assert high == n + 1 - low
    assert 1 - 2 * binomial.cdf(low - 1) >= 0.95, "covers too little"
    assert low == n // 2 or 1 - 2 * binomial.cdf(low) < 0.95, "a narrower pair would do"


def test_interval_agrees_with_scipys_quantile_test(scipy_stats: ModuleType) -> None:
    values = np.random.default_rng(1).lognormal(size=41)
    ours = median_interval(values.tolist())
    theirs = scipy_stats.quantile_test(values, q=0, p=0.5).confidence_interval(0.95)
    assert ours == pytest.approx((theirs.low, theirs.high))


def test_interval_covers_the_median_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(2000):
        interval = median_interval(rng.lognormal(size=15).tolist())
        assert interval is not None
        hits += interval[0] <= 1.0 <= interval[1]
    assert 0.95 <= hits / 2000 <= 0.98  # exact coverage at n = 15 is 0.9648


@pytest.mark.parametrize("n", range(6))
def test_too_few_values_have_no_interval(n: int) -> None:
    assert median_interval([1.0] * n) is None


@given(st.lists(positive, min_size=6, max_size=50))
def test_interval_encloses_the_median(values: list[float]) -> None:
    interval = median_interval(values)
    assert interval is not None
    assert min(values) <= interval[0] <= statistics.median(values) <= interval[1] <= max(values)


def test_estimate_leaves_out_what_is_not_finite() -> None:
    found = estimate([3.0, 1.0, math.nan, 2.0, math.inf])
    assert found is not None
    assert (found.median, found.ci95, found.n) == (2.0, None, 3)
    assert estimate([]) is None
    assert estimate([math.nan]) is None


def test_ratio_of_few_pairs_agrees_with_scipys_t_test(scipy_stats: ModuleType) -> None:
    before, after = [10.0, 11.0, 12.5, 10.5], [8.0, 8.5, 10.5, 8.0]
    found = paired_ratio(before, after)
    logs = np.log(np.array(after) / np.array(before))
    theirs = scipy_stats.ttest_1samp(logs, 0.0).confidence_interval(0.95)
    assert found.method == "t"
    assert found.value == pytest.approx(float(np.exp(logs.mean())))
    assert found.interval == pytest.approx((math.exp(theirs.low), math.exp(theirs.high)))


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_students_quantiles(n: int, scipy_stats: ModuleType) -> None:
    ratios = [1.0 + 0.1 * i for i in range(n)]
    found = paired_ratio([1.0] * n, ratios)
    theirs = scipy_stats.ttest_1samp(np.log(ratios), 0.0).confidence_interval(0.95)
    assert found.interval == pytest.approx((math.exp(theirs.low), math.exp(theirs.high)), rel=1e-12)


def test_ratio_of_many_pairs_is_the_median_of_ratios() -> None:
    before = [float(i) for i in range(1, 12)]
    after = [2.0 * i for i in range(1, 11)] + [1000.0]
    found = paired_ratio(before, after)
    assert (found.value, found.interval, found.n, found.method) == (
        pytest.approx(2.0),
        pytest.approx((2.0, 2.0)),
        11,
        "ranks",
    )


def test_one_pair_has_no_interval() -> None:
    found = paired_ratio([2.0], [3.0])
    assert (found.value, found.interval, found.method) == (pytest.approx(1.5), None, "single")


@given(st.lists(st.tuples(positive, positive), min_size=2, max_size=20))
def test_ratios_turn_round(pairs: list[tuple[float, float]]) -> None:
    before, after = [a for a, _ in pairs], [b for _, b in pairs]
    there, back = paired_ratio(before, after), paired_ratio(after, before)
    assert there.interval is not None
    assert back.interval is not None
    assert there.interval[0] == pytest.approx(1 / back.interval[1], rel=1e-6)
    assert there.interval[0] <= there.value * (1 + 1e-9)


@pytest.mark.parametrize(
    ("before", "after"), [([], []), ([1.0], [1.0, 2.0]), ([0.0], [1.0]), ([1.0], [math.nan]), ([-1.0], [1.0])]
)
def test_what_makes_no_ratio(before: list[float], after: list[float]) -> None:
    with pytest.raises(ValueError, match=r"pairs|positive"):
        paired_ratio(before, after)


def test_differences_agree_with_scipys_paired_t_test(scipy_stats: ModuleType) -> None:
    before, after = [0.96, 0.97, 0.965], [0.955, 0.96, 0.962]
    found = paired_difference(before, after)
    theirs = scipy_stats.ttest_rel(after, before).confidence_interval(0.95)
    assert found.interval == pytest.approx((theirs.low, theirs.high))
    assert found.value == pytest.approx(np.mean(after) - np.mean(before))
    with pytest.raises(ValueError, match="finite"):
        paired_difference([math.nan], [1.0])


def test_spread() -> None:
    assert spread([9.0, 10.0, 12.0]) == pytest.approx(0.15)
    assert spread([5.0]) == 0.0
    assert spread([0.0, 0.0]) == 0.0
    assert spread([0.0, 0.0, 0.5]) == math.inf
    with pytest.raises(ValueError, match="no median"):
        spread([])


def test_the_half_width_of_repeats_is_students_and_from_six_on_that_of_the_median(
    scipy_stats: ModuleType,
) -> None:
    few, many = [1.0, 2.0, 3.0, 2.5, 1.2], [1.0, 2.0, 3.0, 2.5, 1.2, 1.9]
    theirs = scipy_stats.ttest_1samp(few, 0.0).confidence_interval(0.95)
    assert half_width(few) == pytest.approx((theirs.high - theirs.low) / 2)
    assert half_width(many) == 1.0
    assert half_width([5.0]) is None
    assert half_width([]) is None
    assert half_width([5.0, 5.0]) == 0.0


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6, 9])
def test_the_median_is_within_the_half_width_as_often_as_it_says(n: int) -> None:
    draws = np.random.default_rng(n).normal(10.0, 1.0, (4000, n))
    covered = sum(abs(statistics.median(row) - 10.0) <= (half_width(row) or 0.0) for row in draws.tolist())
    assert covered / 4000 > 0.925  # 93.5 % at the least, of five
