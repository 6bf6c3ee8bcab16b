"""The pattern is found where it was played, to a fraction of a sample; where it is not, that is said."""

import itertools
import random
import threading
import time
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from power.base import Domain
from power.errors import SynchronisationError
from power.integrate import jittered_periods
from power.series import Series
from power.synchronise import ClockMap, Match, Pattern, clock_map, find, play

SECOND = 1_000_000_000


@cache
def bursts(pattern: Pattern) -> list[tuple[float, float]]:
    return pattern.bursts()


def level(pattern: Pattern, t_s: float) -> float:
    return 9.0 if any(a <= t_s < b for a, b in bursts(pattern)) else 4.0


def trace(
    pattern: Pattern, begins_s: list[float], total_s: float, *, rate_hz: float, noise_w: float, seed: int,
    origin_ns: int = 0, skew: float = 1.0, counter: bool = False,
) -> Series:  # fmt: skip
    rng = random.Random(seed)
    series = Series(Domain("usb", "energy" if counter else "power", "", max_power_w=1e6))
    t_s, energy_j = 0.0, 0.0
    for wait_s in jittered_periods(1.0 / rate_hz, seed):
        power_w = max((level(pattern, t_s - begin) for begin in begins_s), default=4.0) + rng.gauss(
            0.0, noise_w
        )
        energy_j += wait_s * power_w
        series.add(origin_ns + round(t_s * skew * SECOND), energy_j if counter else power_w)
        t_s += wait_s
        if t_s > total_s:
            return series
    raise AssertionError


@settings(max_examples=25, deadline=None)
@given(st.floats(2.0, 14.0), st.integers(0, 10_000), st.sampled_from([20.0, 50.0, 100.0]))
def test_the_place_is_found_within_half_a_sample(begin_s: float, seed: int, rate_hz: float) -> None:
    pattern = Pattern()
    series = trace(pattern, [begin_s], 20.0, rate_hz=rate_hz, noise_w=1.0, seed=seed, origin_ns=77 * SECOND)
    match = find(series, pattern)
    assert match.t_ns == pytest.approx(77 * SECOND + begin_s * SECOND, abs=0.5 / rate_hz * SECOND)
    assert match.correlation > 0.8


def test_a_counter_serves_as_well() -> None:
    pattern = Pattern()
    series = trace(pattern, [5.0], 15.0, rate_hz=50.0, noise_w=0.1, seed=1, counter=True)
    assert find(series, pattern).t_ns == pytest.approx(5.0 * SECOND, abs=0.02 * SECOND)


def test_two_patterns_join_two_clocks() -> None:
    # The trace's clock began 1000 s later and runs 80 ppm fast; a window is then cut by the host's time.
    pattern = Pattern()
    series = trace(
        pattern, [3.0, 93.0], 100.0, rate_hz=50.0, noise_w=0.3, seed=2, origin_ns=5 * SECOND, skew=1.00008
    )  # fmt: skip
    middle_ns = 5 * SECOND + 50 * SECOND
    first = find(series, pattern, before_ns=middle_ns)
    second = find(series, pattern, after_ns=middle_ns)
    clocks = clock_map([(first, 1003 * SECOND), (second, 1093 * SECOND)])
    assert clocks.rate == pytest.approx(1 / 1.00008, abs=2e-4)
    moved = clocks.applied(series)
    assert moved.t_ns[0] == pytest.approx(1000 * SECOND, abs=0.02 * SECOND)
    assert list(moved.values) == list(series.values)


def test_one_pattern_gives_the_offset() -> None:
    assert clock_map([(Match(10, 1.0, 0.0), 110)]) == ClockMap(10, 110)
    assert ClockMap(10, 110).to_host_ns(30) == 130


def test_what_is_not_there_or_not_certain_is_refused() -> None:
    pattern = Pattern()
    noise = trace(pattern, [], 30.0, rate_hz=50.0, noise_w=1.0, seed=3)
    with pytest.raises(SynchronisationError, match="not in the trace"):
        find(noise, pattern)
    twice = trace(pattern, [3.0, 15.0], 25.0, rate_hz=50.0, noise_w=0.2, seed=4)
    with pytest.raises(SynchronisationError, match="look alike"):
        find(twice, pattern)
    with pytest.raises(SynchronisationError, match="shorter"):
        find(trace(pattern, [], 2.0, rate_hz=50.0, noise_w=1.0, seed=5), pattern)
    with pytest.raises(SynchronisationError, match="fewer than three"):
        find(Series(Domain("usb", "power", "")), pattern)
    flat = trace(pattern, [], 20.0, rate_hz=50.0, noise_w=0.0, seed=6)
    with pytest.raises(SynchronisationError, match="not in the trace"):
        find(flat, pattern)
    with pytest.raises(SynchronisationError, match="cannot be joined"):
        clock_map([])
    with pytest.raises(SynchronisationError, match="mistaken"):
        clock_map([(Match(0, 1.0, 0.0), 0), (Match(10 * SECOND, 1.0, 0.0), 12 * SECOND)])


def test_the_stretches_of_a_pattern() -> None:
    pattern = Pattern(chip_s=1.0, guard_s=2.0)
    assert pattern.bursts() == [(0.0, 3.0), (5.0, 6.0)]
    assert pattern.stretches()[0] == (-2.0, 0.0, -1)
    assert pattern.stretches()[-1] == (7.0, 9.0, -1)


def test_playing_loads_the_machine_in_the_bursts_only() -> None:
    # A clock of the process's own CPU time and of what was slept: no other program nor a late wake-up can move it.
    pattern = Pattern(chip_s=0.1, guard_s=0.2)
    slept_s: list[float] = []
    cpu_ns = time.process_time_ns()

    def clock() -> int:
        return time.process_time_ns() - cpu_ns + round(sum(slept_s) * 1e9)

    code_ns = play(pattern, threads=1, sleep=slept_s.append, clock=clock)
    loaded_s = (time.process_time_ns() - cpu_ns) * 1e-9
    # Guard, at once the burst of 0.3 s, the gap, the burst of 0.1 s, and the last 0.1 s with its guard.
    assert slept_s == pytest.approx([0.2, 0.0, 0.2, 0.3], abs=0.05)
    assert loaded_s == pytest.approx(0.4, abs=0.05)
    assert code_ns == pytest.approx(200_000_000, abs=50_000_000)


def test_playing_loads_every_core_at_once() -> None:
    together = threading.Barrier(3, timeout=60)
    seen = {threading.main_thread()}
    ticks = itertools.count()

    def clock() -> int:
        if threading.current_thread() not in seen:
            seen.add(threading.current_thread())
            together.wait()  # breaks, and fails the test, where fewer than three burn at a time
        return next(ticks) * 10_000_000

    play(Pattern(chip_s=0.1, guard_s=0.2), threads=3, sleep=lambda _: None, clock=clock)
    assert len(seen) == 1 + 2 * 3
    assert not together.broken
