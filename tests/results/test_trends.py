import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.trends import change_points, pettitt, sparkline


def noisy(levels: list[tuple[float, int]], noise: float = 0.01, seed: int = 1) -> list[float]:
    rng = random.Random(seed)
    return [level * (1 + rng.gauss(0, noise)) for level, n in levels for _ in range(n)]


def test_a_step_is_found_where_it_is() -> None:
    assert change_points(noisy([(100, 10), (110, 10)])) == [10]
    assert change_points(noisy([(100, 4), (110, 4)], noise=0.001)) == [4]


def test_several_steps() -> None:
    found = change_points(noisy([(100, 15), (120, 15), (90, 15)]))
    assert found == [15, 30]


def test_noise_alone_seldom_makes_a_change() -> None:
    alarms = sum(bool(change_points(noisy([(100, 20)], seed=seed))) for seed in range(200))
    assert alarms <= 8, "1 % of 200 series, with room for chance"


def test_one_outlier_is_no_change() -> None:
    alarms = 0
    for seed in range(100):
        values = noisy([(100, 20)], seed=seed)
        values[10] = 1000.0
        alarms += bool(change_points(values))
    assert alarms <= 5


def test_a_long_series_takes_no_time() -> None:
    values = noisy([(100, 3000), (101, 3000)])
    (at,) = change_points(values)
    assert 2990 <= at <= 3010


def test_a_small_change_is_left_out() -> None:
    values = [100.0] * 10 + [100.5] * 10
    assert change_points(values) == [10]
    assert change_points(values, margin=0.01) == []


@pytest.mark.parametrize("values", [[], [1.0], [1.0] * 7, [1.0] * 30, [0.0] * 20])
def test_short_and_flat_series(values: list[float]) -> None:
    assert change_points(values) == []


def test_pettitt_agrees_with_its_definition() -> None:
    values = noisy([(1, 7), (2, 9)], noise=0.5, seed=5)
    n = len(values)
    sign = [[(a > b) - (a < b) for b in values] for a in values]
    statistic = {t: abs(sum(sign[i][j] for i in range(t) for j in range(t, n))) for t in range(4, n - 3)}
    at, best = pettitt(values)
    assert best == max(statistic.values())
    assert statistic[at] == best


def test_sparkline() -> None:
    assert sparkline([0.0, 1.0, 2.0, 7.0]) == "▁▂▃█"
    assert sparkline([5.0, 5.0]) == "▄▄"
    assert sparkline([]) == ""
    assert sparkline([float(i) for i in range(100)], width=8) == "▁▂▃▄▅▆▇█"


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=60), st.integers(1, 30))
def test_sparkline_never_exceeds_its_width(values: list[float], width: int) -> None:
    assert len(sparkline(values, width)) == min(width, len(values))
