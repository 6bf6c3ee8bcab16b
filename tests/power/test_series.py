"""Counters: a wrap is energy, a reset and a failed read are not."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from power.base import Domain
from power.series import Series, counter_step_j

SECOND = 1_000_000_000


def counter(wrap_j: float | None = 262_143.328850, max_power_w: float = 1000.0) -> Domain:
    return Domain("package-0", "energy", "", update_s=1e-3, wrap_j=wrap_j, max_power_w=max_power_w)


def test_a_wrap_adds_the_range() -> None:
    series = Series(counter(wrap_j=100.0, max_power_w=45.0))
    for t, raw in enumerate([95.0, 99.0, 3.0, 7.0]):
        series.add(t * SECOND, raw)
    assert list(series.values) == pytest.approx([0.0, 4.0, 8.0, 12.0])
    assert series.resets == []


def test_a_reset_is_not_taken_for_a_wrap() -> None:
    # A failed read taken for a wrap turned 40 J into 262,183 J elsewhere.
    series = Series(counter())
    series.add(0, 40.0)
    series.add(SECOND, 0.0)
    series.add(2 * SECOND, 5.0)
    assert list(series.values) == [0.0, 0.0, 5.0]
    assert series.resets == [(0, SECOND)]


def test_a_counter_without_a_range_cannot_go_back() -> None:
    assert counter_step_j(10.0, 9.0, 1.0, counter(wrap_j=None)) is None
    assert counter_step_j(10.0, 11.0, 1.0, counter(wrap_j=None)) == 1.0


def test_an_impossible_power_is_a_reset() -> None:
    assert counter_step_j(0.0, 5000.0, 1.0, counter(max_power_w=1000.0)) is None
    assert counter_step_j(0.0, 900.0, 1.0, counter(max_power_w=1000.0)) == 900.0


def test_a_hole_in_which_it_may_have_wrapped_twice_is_not_known() -> None:
    # 200 W for 2000 s are 400,002 J; the difference of the readings is 137,858 J, and plausible.
    range_j = 262_143.328850
    series, bulk = Series(counter()), Series(counter())
    readings = [(0.0, 0.0), (0.5, 100.0), (2000.5, 400_100.0), (2001.0, 400_200.0)]
    t_ns, values = [round(t * SECOND) for t, _ in readings], [j % range_j for _, j in readings]
    for at_ns, value in zip(t_ns, values, strict=True):
        series.add(at_ns, value)
    bulk.extend(t_ns, values)
    assert series.resets == bulk.resets == [(t_ns[1], t_ns[2])]
    assert list(series.values) == list(bulk.values) == pytest.approx([0.0, 100.0, 100.0, 200.0])


def test_a_long_hole_in_which_it_cannot_is_bridged() -> None:
    # 1000 W at most and 262,143 J: 262 s.
    assert counter_step_j(262_000.0, 51_856.67115, 260.0, counter()) == pytest.approx(52_000.0)
    assert counter_step_j(0.0, 52_000.0, 263.0, counter()) is None
    assert counter_step_j(0.0, 52_000.0, 1e6, counter(wrap_j=None)) == 52_000.0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_a_number_is_dropped_and_counted(bad: float) -> None:
    series = Series(Domain("usb", "power", ""))
    series.add(0, 5.0)
    series.add(SECOND, bad)
    series.add(SECOND, 6.0)
    series.add(SECOND, 7.0)  # not later than the one before
    assert list(series.values) == [5.0, 6.0]
    assert series.rejected == 2


@given(
    steps=st.lists(st.floats(0.0, 40.0), min_size=1, max_size=60),
    start=st.floats(0.0, 99.9),
    wrap=st.floats(100.0, 1e6),
)
def test_any_counter_unwraps_to_the_sum_of_its_steps(steps: list[float], start: float, wrap: float) -> None:
    series = Series(counter(wrap_j=wrap, max_power_w=45.0))
    total = start
    series.add(0, start % wrap)
    for i, step in enumerate(steps, start=1):
        total += step
        series.add(i * SECOND, total % wrap)
    assert series.values[-1] == pytest.approx(sum(steps), abs=1e-6 * wrap)
    assert series.resets == []


#: Times and values in blocks: mostly going on, sometimes odd (late, far, back, no number), so that both ways are taken.
READING = st.tuples(
    st.one_of(st.integers(1, SECOND), st.integers(-2, 2)),
    st.one_of(
        st.floats(0.0, 0.1),
        st.floats(0.0, 0.1),
        st.floats(-5.0, 200.0),
        st.sampled_from([math.nan, math.inf]),
    ),
)


@given(
    blocks=st.lists(st.lists(READING, max_size=8), max_size=6),
    domain=st.sampled_from(
        [Domain("usb", "power", ""), counter(wrap_j=300.0, max_power_w=45.0), counter(wrap_j=None)]
    ),
)
def test_a_block_is_appended_as_its_readings_would_be_one_by_one(
    blocks: list[list[tuple[int, float]]], domain: Domain
) -> None:
    bulk, oracle, t_ns, value = Series(domain), Series(domain), 0, 1.0
    for block in blocks:
        times, values = [], []
        for wait_ns, step in block:
            t_ns += wait_ns
            value = step if domain.kind == "power" or not math.isfinite(value + step) else value + step
            times.append(t_ns)
            values.append(value % domain.wrap_j if domain.wrap_j and math.isfinite(value) else value)
        bulk.extend(times, values)
        for at_ns, each in zip(times, values, strict=True):
            oracle.add(at_ns, each)
    assert list(bulk.t_ns) == list(oracle.t_ns)
    assert list(bulk.values) == list(oracle.values)
    assert (bulk.resets, bulk.rejected) == (oracle.resets, oracle.rejected)
    bulk.add(t_ns + SECOND, 2.5)
    oracle.add(t_ns + SECOND, 2.5)
    assert bulk.values[-1:] == oracle.values[-1:]


def test_a_block_that_is_not_odd_is_not_appended_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    series, added, real = Series(counter()), [], Series.add
    monkeypatch.setattr(
        Series, "add", lambda self, t_ns, value: added.append(t_ns) or real(self, t_ns, value)
    )
    series.extend(range(1000), [i * 1e-3 for i in range(1000)])
    assert len(series) == 1000
    assert added == [0]
