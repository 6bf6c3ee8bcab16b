"""Windows: exact where theory says exact, refused where they are too short, aliasing beaten by jitter."""

import math
import random
from itertools import islice
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from power.base import Domain
from power.integrate import (
    Cut,
    cut,
    energy_j,
    jittered_periods,
    jittered_waits_ns,
    longest_gaps_s,
    refusal,
    shortest_window_s,
    trapezoid,
    why_not_covered,
)
from power.series import Series

SECOND = 1_000_000_000


def series_of(kind: str, points: list[tuple[float, float]], **domain: float) -> Series:
    series = Series(Domain("rail", "energy" if kind == "energy" else "power", "", **domain))  # type: ignore[arg-type]
    for t_s, value in points:
        series.add(round(t_s * SECOND), value)
    return series


def ns(t_s: float) -> int:
    return round(t_s * SECOND)


def test_the_trapezoid_is_exact_for_a_ramp_with_edges_between_samples() -> None:
    series = series_of("power", [(t, 2.0 + 3.0 * t) for t in (0.0, 0.9, 2.1, 3.0, 4.4)])
    window = cut(series, ns(0.5), ns(4.0))
    assert window.t_s[0] == 0.0
    assert window.duration_s == 3.5
    assert energy_j(window) == pytest.approx(2.0 * 3.5 + 1.5 * (16.0 - 0.25))


def test_converted_counters_would_misstate_steps_and_differences_do_not() -> None:
    # 10 W for 2 s, then 50 W for 3 s: 170 J; trapezoids over powers made from a counter gave 150 elsewhere.
    points = [(0.0, 0.0), (1.0, 10.0), (2.0, 20.0), (3.0, 70.0), (4.0, 120.0), (5.0, 170.0)]
    series = series_of("energy", points, max_power_w=100.0)
    assert energy_j(cut(series, 0, ns(5))) == pytest.approx(170.0)


def test_edges_on_samples_and_windows_between_two_samples() -> None:
    series = series_of("power", [(0.0, 1.0), (1.0, 3.0), (2.0, 3.0)])
    assert energy_j(cut(series, 0, ns(2))) == pytest.approx(5.0)
    assert energy_j(cut(series, ns(0.25), ns(0.75))) == pytest.approx(1.0)
    assert cut(series, ns(0.25), ns(0.75)).inside == 0


@given(
    st.lists(st.tuples(st.floats(0.01, 2.0), st.floats(0.0, 500.0)), min_size=4, max_size=40),
    st.floats(0.05, 0.95),
)
def test_adjacent_windows_add_up(steps: list[tuple[float, float]], place: float) -> None:
    t_s, points = 0.0, [(0.0, 1.0)]
    for step, value in steps:
        t_s += step
        points.append((t_s, value))
    series = series_of("power", points)
    end_ns = series.t_ns[-1]
    middle_ns = max(1, min(end_ns - 1, round(end_ns * place)))
    whole = energy_j(cut(series, 0, end_ns))
    parts = energy_j(cut(series, 0, middle_ns)) + energy_j(cut(series, middle_ns, end_ns))
    assert parts == pytest.approx(whole, rel=1e-9, abs=1e-6)
    assert whole == pytest.approx(trapezoid([t for t, _ in points], [p for _, p in points]), rel=1e-6)


def test_a_window_that_samples_do_not_bracket_is_named() -> None:
    series = series_of("power", [(1.0, 1.0), (2.0, 1.0)])
    assert "0.500 s after the window began" in str(why_not_covered(series, ns(0.5), ns(1.5)))
    assert "0.500 s before the window ended" in str(why_not_covered(series, ns(1.5), ns(2.5)))
    assert "empty" in str(why_not_covered(series, ns(1.5), ns(1.5)))
    assert "no sample" in str(why_not_covered(series_of("power", []), 0, 1))
    assert why_not_covered(series, ns(1), ns(2)) is None


def test_too_short_a_window_says_how_long_would_do() -> None:
    series = series_of("power", [(i * 0.1, 5.0) for i in range(60)])
    refused = refusal(cut(series, ns(0.05), ns(5.05)))
    assert refused is not None
    assert refused[1] == pytest.approx(10.0)
    assert "10 s would do" in refused[0]


def marked(seed: int, period_s: float, duration_s: float) -> Cut:
    """A window between two marks, each of which makes the meter read at once, among jittered polls."""
    begin_s = 1.0 + random.Random(seed).uniform(0.0, period_s)
    end_s = begin_s + duration_s
    marks_s, polls_s, t_s = [begin_s + 1e-4, end_s + 1e-4], [0.0], 0.0
    for wait_s in jittered_periods(period_s, seed):
        t_s += wait_s
        polls_s.append(t_s)
        if t_s > end_s + 1.0:
            break
    series = series_of("power", [(t, 5.0) for t in sorted([*polls_s, *marks_s])])
    return cut(series, ns(begin_s), ns(end_s))


@given(
    seed=st.integers(0, 2**20),
    period_s=st.floats(0.01, 0.1),
    step_s=st.floats(0.001, 0.5),
    periods=st.floats(1.0, 30.0),
)
def test_the_length_proposed_to_a_window_too_short_does(
    seed: int, period_s: float, step_s: float, periods: float
) -> None:
    steps = math.ceil(periods * period_s / step_s)
    refused = refusal(marked(seed, period_s, steps * step_s), poll_s=period_s)
    if refused is not None:
        assert refused[1] is not None
        more = math.ceil(1.1 * steps * refused[1] / (steps * step_s))  # as the harness proposes
        assert refusal(marked(seed + 1, period_s, more * step_s), poll_s=period_s) is None


def test_a_hundred_periods_are_enough() -> None:
    series = series_of("power", [(i * 0.1, 5.0) for i in range(120)])
    assert refusal(cut(series, ns(0.05), ns(10.05))) is None


def test_a_slow_meter_polled_fast_is_still_slow() -> None:
    # 21 fresh values a second, polled 100 times: the meter's own period counts.
    series = series_of("power", [(i * 0.01, 5.0) for i in range(400)], update_s=1 / 21)
    refused = refusal(cut(series, ns(0.005), ns(3.005)))
    assert refused is not None
    assert refused[1] == pytest.approx(100 / 21)


def test_a_counter_needs_a_hundred_of_its_updates_not_of_the_polls() -> None:
    points = [(i * 0.05, i * 0.5) for i in range(20)]
    series = series_of("energy", points, update_s=1e-3)
    assert refusal(cut(series, ns(0.12), ns(0.42))) is None
    # Too short, it is told what would do even where no reading fell inside.
    for end_s in (0.19, 0.14):
        refused = refusal(cut(series, ns(0.12), ns(end_s)))
        assert refused is not None
        assert refused[0].endswith("is too short for this meter: 0.1 s would do")
        assert refused[1] == pytest.approx(0.1)


def test_a_counter_that_was_not_read_in_a_window_long_enough_is_refused() -> None:
    series = series_of("energy", [(float(i), float(i)) for i in range(4)], update_s=1e-3)
    refused = refusal(cut(series, ns(1.2), ns(1.8)))
    assert refused == ("no reading of the counter fell inside the window", None)


def test_a_coarse_counter_needs_a_hundred_of_its_steps() -> None:
    # A register in mWh steps by 3.6 J.
    series = series_of("energy", [(float(i), 3.6 * (i // 2)) for i in range(60)], resolution_j=3.6)
    refused = refusal(cut(series, ns(0.5), ns(50.5)))
    assert refused is not None
    assert "steps of 3.6 J" in refused[0]
    assert refused[1] == pytest.approx(200.0, rel=0.05)
    # Too short for its updates as well: both must do.
    slow = series_of(
        "energy", [(float(i), 3.6 * (i // 2)) for i in range(60)], update_s=1.0, resolution_j=3.6
    )
    refused = refusal(cut(slow, ns(0.5), ns(50.5)))
    assert refused is not None
    assert "is too short for this meter: 200 s would do" in refused[0]
    assert refused[1] == pytest.approx(200.0, rel=0.05)


def test_a_counter_that_stands_still_is_not_zero_joules() -> None:
    series = series_of("energy", [(float(i), 7.0) for i in range(9)], update_s=1e-3)
    assert refusal(cut(series, ns(0.5), ns(5.5))) == ("the counter did not move in the window", None)


def test_a_power_of_zero_throughout_is_refused() -> None:
    series = series_of("power", [(i * 0.01, 0.0) for i in range(300)])
    assert "0 W throughout" in str(refusal(cut(series, ns(0.005), ns(2.5))))


def test_holes_beyond_five_percent_are_refused() -> None:
    points = [(i * 0.01, 5.0) for i in range(600) if not 200 <= i < 260]
    series = series_of("power", points)
    window = cut(series, ns(0.005), ns(5.5))
    assert longest_gaps_s(window)[0] == pytest.approx(0.61)
    assert "samples are missing for 0.6 s of" in str(refusal(window))
    few = series_of("power", [(i * 0.01, 5.0) for i in range(600) if not 200 <= i < 210])
    assert refusal(cut(few, ns(0.005), ns(5.5))) is None


def test_shortest_window_before_anything_is_known() -> None:
    assert shortest_window_s(Domain("usb", "power", ""), 0.01) == pytest.approx(1.0)
    assert shortest_window_s(Domain("usb", "power", "", update_s=0.5), 0.01) == pytest.approx(50.0)
    assert shortest_window_s(Domain("pkg", "energy", "", update_s=1e-3), 0.05) == pytest.approx(0.1)


def test_jitter_is_seeded_bounded_and_right_on_average() -> None:
    waits = list(islice(jittered_periods(0.02, 7), 5000))
    assert waits == list(islice(jittered_periods(0.02, 7), 5000))
    assert waits != list(islice(jittered_periods(0.02, 8), 5000))
    assert min(waits) >= 0.01
    assert max(waits) <= 0.03
    assert fmean(waits) == pytest.approx(0.02, rel=0.01)


def test_waits_made_in_pieces_are_the_periods_of_the_same_seed() -> None:
    generator = random.Random(7)
    waits_ns = [wait for count in (1, 0, 100, 399) for wait in jittered_waits_ns(0.02, generator, count)]
    assert waits_ns == pytest.approx(
        [1e9 * wait_s for wait_s in islice(jittered_periods(0.02, 7), 500)], abs=1
    )


def aliased(jitter: bool, seed: int) -> float:
    """Relative error over 60 s at 10 Hz of a load of 5 and 15 W that changes every 50 ms."""
    phase_s = random.Random(seed).uniform(0.0, 0.1)
    waits = jittered_periods(0.1, seed) if jitter else iter(lambda: 0.1, None)
    points, t_s = [], 0.0
    for wait in waits:
        points.append((t_s, 15.0 if (t_s + phase_s) % 0.1 < 0.05 else 5.0))
        t_s += wait
        if t_s > 61.0:
            break
    return abs(energy_j(cut(series_of("power", points), ns(0.5), ns(60.5))) / 600.0 - 1.0)


def test_jittered_polls_do_not_alias_with_a_periodic_load() -> None:
    fixed = fmean(aliased(False, seed) for seed in range(40))
    jittered = fmean(aliased(True, seed) for seed in range(40))
    assert fixed > 0.3  # every sample meets the same half of the period
    assert jittered < 0.03
