"""The idle level, and how far it may be from the idle power inside windows, against random walks that were played."""

import random
from math import inf, sqrt
from statistics import fmean

import pytest

from power.base import Domain
from power.idle import Idle, Walk, idle_level, student_95
from power.integrate import Cut, cut, energy_j
from power.random_terms import random_terms
from power.series import Series
from power.uncertainty import Terms

SECOND = 1_000_000_000
POWER = Domain("rail", "power", "")


def cut_of(points: list[tuple[float, float]], t0_s: float, t1_s: float, domain: Domain) -> Cut:
    series = Series(domain)
    for t_s, value in points:
        series.add(round(t_s * SECOND), value)
    return cut(series, round(t0_s * SECOND), round(t1_s * SECOND))


def idle_j(level: Idle, *parts: tuple[float, float, float]) -> float:
    """The term of an idle level in a sum of windows: a weight, begin and end, in s, each."""
    weighted = [(w, (round(a * SECOND), round(b * SECOND))) for w, a, b in parts]
    return level.added_to(Terms(), weighted).idle_j


def test_a_linear_drift_of_the_idle_power_is_met_in_the_middle() -> None:
    points = [(i * 0.05, 3.0 + 0.01 * i * 0.05) for i in range(900)]
    before, window, after = (
        cut_of(points, *span, POWER) for span in ((0.1, 10.1), (10.1, 30.1), (30.1, 40.1))
    )
    idle = idle_level([before, after])
    assert idle.power_w == pytest.approx(energy_j(window) / 20.0, rel=1e-6)
    assert idle.drift_w == pytest.approx(0.3, rel=1e-6)
    one_sided = idle_level([before])
    assert one_sided.drift_w is None
    assert idle_j(one_sided, (1.0, 10.1, 30.1)) > idle_j(idle, (1.0, 10.1, 30.1))


def test_what_a_meter_cannot_resolve_is_in_the_idle_level_too() -> None:
    """A power in steps of 0.5 W, of which nobody knows where it lies, and a register in steps of 3.6 J."""
    steady = [(i * 0.05, 3.0) for i in range(900)]
    coarse = Domain("plug", "power", "", resolution_w=0.5)
    level = idle_level([cut_of(steady, *span, coarse) for span in ((0.1, 10.1), (30.1, 40.1))])
    assert idle_j(level, (1.0, 10.1, 30.1)) == pytest.approx(20.0 * 0.5 / sqrt(12))
    counted = [(i * 0.5, 3.6 * (i * 5 // 3.6)) for i in range(900)]
    register = Domain("usb-register", "energy", "", resolution_j=3.6)
    level = idle_level([cut_of(counted, *span, register) for span in ((0.1, 100.1), (300.1, 400.1))])
    assert level.variance_w2 >= 2 * (1 / 4) * 3.6**2 / 12 / 100.0**2  # one step at the least of the two edges


def test_noise_that_hides_the_wandering_of_the_idle_power_is_no_proof_of_stillness() -> None:
    seconds, generator, hidden = [i * 0.05 for i in range(900)], random.Random(5), []
    for _ in range(60):
        noisy = [(t_s, 3.0 + generator.gauss(0.0, 0.3)) for t_s in seconds]
        before, after = (cut_of(noisy, *span, POWER) for span in ((0.1, 5.1), (35.1, 40.1)))
        level_w2 = sum(random_terms(each).standard_j ** 2 for each in (before, after)) / (2 * 5.0) ** 2
        hidden.append((idle_j(idle_level([before, after]), (1.0, 5.1, 35.1)) / 30.0) ** 2 - level_w2)
    assert min(hidden) > 0.0


BEFORE, AFTER = (0.0, 5.0), (45.0, 52.0)


@pytest.mark.parametrize(
    ("sides", "parts"),
    [
        ((BEFORE, AFTER), [(1.0, 5.0, 45.0)]),
        ((BEFORE, AFTER), [(1.0, 8.0, 11.0)]),  # a short window in a long gap, wherever it lies
        ((BEFORE, AFTER), [(1.0, 39.0, 42.0)]),
        ((BEFORE, AFTER), [(1.0, 8.0, 18.0), (1.0, 20.0, 24.0), (1.0, 30.0, 38.0)]),
        ((BEFORE, AFTER), [(1.0, 30.0, 34.0), (-0.7, 24.0, 28.0)]),
        ((BEFORE,), [(1.0, 12.0, 30.0)]),
        ((AFTER,), [(1.0, 12.0, 30.0), (1.0, 34.0, 38.0)]),
        ((BEFORE,), [(1.0, 30.0, 34.0), (-0.7, 24.0, 28.0)]),
    ],
)
def test_the_wandering_of_the_idle_power_is_what_a_random_walk_does(
    sides: tuple[tuple[float, float], ...], parts: list[tuple[float, float, float]]
) -> None:
    """The variance by the formula, against walks of 1 W²/s; what is estimated of a walk is no part of it."""
    generator, step_s, errors_j = random.Random(9), 0.25, []
    for _ in range(800):
        walk_w, means_w = 0.0, [0.0]
        for _ in range(208):
            walk_w += generator.gauss(0.0, sqrt(step_s))
            means_w.append(means_w[-1] + walk_w * step_s)

        def energy(a: float, b: float, total: list[float] = means_w) -> float:
            return total[round(b / step_s)] - total[round(a / step_s)]

        level_w = fmean(energy(*side) / (side[1] - side[0]) for side in sides)
        errors_j.append(sum(w * (energy(a, b) - level_w * (b - a)) for w, a, b in parts))
    idle = Idle(
        3.0, 0.0, None, Walk(1.0, inf, 0.0), tuple((round(a * SECOND), round(b * SECOND)) for a, b in sides)
    )
    assert idle_j(idle, *parts) == pytest.approx(fmean(error**2 for error in errors_j) ** 0.5, rel=0.08)


def test_few_degrees_of_freedom_widen_a_sum_by_what_the_walk_is_of_it() -> None:
    """Welch and Satterthwaite: alone the walk of ν = 4 takes Student's factor, in a larger sum hardly any."""
    idle = Idle(3.0, 0.0, None, Walk(1.0, 4.0, 0.0), ((0, 5 * SECOND), (45 * SECOND, 50 * SECOND)))
    parts = [(1.0, (5 * SECOND, 45 * SECOND))]
    exact_j = sqrt(40.0**2 * (40.0 / 12 + 10.0 / 12))
    alone = idle.added_to(Terms(), parts)
    assert alone.expanded_j == pytest.approx(student_95(4.0) * exact_j)
    within = idle.added_to(Terms(sampling_j=3 * exact_j), parts)
    assert within.expanded_j == pytest.approx(student_95(400.0) * sqrt(10) * exact_j)


@pytest.mark.parametrize(("freedom", "factor"), [(3, 3.182), (5, 2.571), (10, 2.228), (30, 2.042)])
def test_student_factor(freedom: int, factor: float) -> None:
    assert student_95(freedom) == pytest.approx(factor, rel=0.01)
