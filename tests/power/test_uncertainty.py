"""The derivation, checked by Monte Carlo: each formula against the error it claims to describe."""

import random
from math import sqrt
from statistics import fmean, pstdev

import pytest

from power.base import Domain
from power.integrate import Cut, cut, energy_j
from power.random_terms import random_terms
from power.series import Series
from power.uncertainty import Terms, gross_terms, net_terms, weighted_terms

SECOND = 1_000_000_000


def cut_of(points: list[tuple[float, float]], t0_s: float, t1_s: float, domain: Domain) -> Cut:
    series = Series(domain)
    for t_s, value in points:
        series.add(round(t_s * SECOND), value)
    return cut(series, round(t0_s * SECOND), round(t1_s * SECOND))


POWER = Domain("rail", "power", "")


def test_nothing_uncertain_is_no_interval() -> None:
    assert Terms().expanded_j == 0.0


@pytest.mark.parametrize(
    ("terms", "draw"),
    [
        (Terms(gain_j=1 / sqrt(3)), lambda r: r.uniform(-1, 1)),
        (Terms(edges_j=1.0), lambda r: r.gauss(0, 1)),
        (Terms(steps_j=sqrt(2 / 12)), lambda r: r.random() - r.random()),
        (Terms(gain_j=1 / sqrt(3), offset_j=1 / sqrt(3)), lambda r: r.uniform(-1, 1) + r.uniform(-1, 1)),
        (Terms(gain_j=1 / sqrt(3), idle_j=0.5), lambda r: r.uniform(-1, 1) + r.gauss(0, 0.5)),
        (Terms(gain_j=1 / sqrt(3), idle_j=0.2), lambda r: r.uniform(-1, 1) + r.gauss(0, 0.2)),
    ],
)
def test_the_coverage_factor_gives_95_percent_for_every_mixture(terms: Terms, draw: object) -> None:
    generator = random.Random(1)
    errors = [draw(generator) for _ in range(40_000)]  # type: ignore[operator]
    assert fmean(abs(error) <= terms.expanded_j for error in errors) == pytest.approx(0.95, abs=0.012)


def test_the_edge_term_is_the_spread_of_a_step_at_a_random_place() -> None:
    generator = random.Random(2)
    errors = []
    for _ in range(4000):
        # Two changes of 10 W, each at a random place between two samples 0.5 s apart.
        up, down = 1.0 + generator.random() * 0.5, 3.0 + generator.random() * 0.5
        points = [(i * 0.5, 15.0 if up <= i * 0.5 < down else 5.0) for i in range(12)]
        errors.append(energy_j(cut_of(points, 0.0, 5.0, POWER)) - (5.0 * 5.0 + 10.0 * (down - up)))
    assert fmean(errors) == pytest.approx(0.0, abs=0.1)
    assert pstdev(errors) == pytest.approx(10.0 * 0.5 * sqrt(2 / 12), rel=0.05)


def test_edges_at_a_change_of_load_take_the_change_and_the_period_seen() -> None:
    points = [(i * 0.5, 15.0 if 1.0 < i * 0.5 < 4.0 else 5.0) for i in range(12)]
    terms = random_terms(cut_of(points, 1.2, 3.8, POWER))
    assert terms.by_cause()["edges_j"] == pytest.approx(10.0 * 0.5 * sqrt(2 / 12))
    assert terms.sampling_j == 0.0


def test_half_of_the_edges_is_alike_in_windows_beside_each_other() -> None:
    """Two windows that are the load: what one loses at its edges the other loses too, and their difference does not."""
    generator, sums, differences = random.Random(8), [], []
    for _ in range(1000):
        spans_s = [
            (a, a + 9.0 + generator.random()) for a in (5.0 + generator.random(), 25.0 + generator.random())
        ]
        points = [(i * 0.5, 10.0 if any(a <= i * 0.5 < b for a, b in spans_s) else 0.0) for i in range(90)]
        windows = [cut_of(points, a, b, POWER) for a, b in spans_s]
        lost = [energy_j(window) - 10.0 * window.duration_s for window in windows]
        terms = [random_terms(window) for window in windows]
        sums.append((lost[0] + lost[1], weighted_terms([(1.0, terms[0]), (1.0, terms[1])]).standard_j))
        differences.append(
            (lost[1] - lost[0], weighted_terms([(-1.0, terms[0]), (1.0, terms[1])]).standard_j)
        )
    for errors, root in ((sums, sqrt(16 / 36 + 4 / 36)), (differences, sqrt(4 / 36))):
        assert fmean(claimed for _, claimed in errors) == pytest.approx(10.0 * 0.5 * root)
        assert fmean(error**2 for error, _ in errors) ** 0.5 == pytest.approx(10.0 * 0.5 * root, rel=0.15)


def test_a_lone_step_inside_counts_a_twelfth_and_noise_a_half() -> None:
    step = [(i * 0.1, 5.0 if i < 25 else 15.0) for i in range(60)]
    assert random_terms(cut_of(step, 0.05, 5.05, POWER)).sampling_j == pytest.approx(10.0 * 0.1 / sqrt(12))
    generator = random.Random(3)
    claimed, errors = [], []
    for _ in range(300):
        noisy = [(i * 0.1, 5.0 + generator.gauss(0.0, 1.0)) for i in range(202)]
        window = cut_of(noisy, 0.05, 20.05, POWER)
        claimed.append(random_terms(window).sampling_j)
        errors.append(energy_j(window) - 100.0)
    assert fmean(claimed) == pytest.approx(pstdev(errors), rel=0.1)


def test_a_counter_read_at_the_mark_has_a_sharp_edge() -> None:
    domain = Domain("package-0", "energy", "", max_power_w=1000.0)

    def energy_at(t_s: float) -> float:
        return 5.0 * t_s + 10.0 * max(0.0, min(t_s, 3.0) - 1.0)

    coarse = cut_of([(i * 0.3, energy_at(i * 0.3)) for i in range(14)], 1.0, 3.0, domain)
    marked_at = sorted({*(i * 0.3 for i in range(14)), 1.0001, 3.0001})
    marked = cut_of([(t, energy_at(t)) for t in marked_at], 1.0, 3.0, domain)
    assert abs(energy_j(coarse) - 30.0) > 0.5
    assert abs(energy_j(coarse) - 30.0) <= 2 * random_terms(coarse).edges_j
    assert energy_j(marked) == pytest.approx(30.0, abs=0.01)
    assert random_terms(marked).edges_j < 0.01


def test_the_steps_of_a_register_are_no_changes_of_power_and_are_wrong_at_edges_only() -> None:
    domain, generator, errors_j, claimed_j2 = (
        Domain("usb-register", "energy", "", resolution_j=3.6),
        random.Random(7),
        [],
        [],
    )
    for _ in range(400):
        start_j, rate_s = generator.uniform(0.0, 3.6), generator.uniform(0.05, 0.6)
        points = [
            (i * rate_s, 3.6 * round((start_j + 12.0 * i * rate_s) / 3.6)) for i in range(round(80 / rate_s))
        ]
        begin_s = 10.0 + generator.random()
        end_s = begin_s + 50.0 + generator.random()
        window = cut_of(points, begin_s, end_s, domain)
        terms = random_terms(window)
        errors_j.append(energy_j(window) - 12.0 * (end_s - begin_s))
        claimed_j2.append(terms.standard_j**2)
        # 12 W were there throughout; between two readings 0.05 s apart the register shows 0 or 72 W.
        assert terms.by_cause()["edges_j"] < 1.0
    assert fmean(claimed_j2) ** 0.5 == pytest.approx(fmean(error**2 for error in errors_j) ** 0.5, rel=0.25)


def lagging(seed: int, own_s: float, averaged: bool) -> tuple[Cut, float]:
    """A meter of updates, polled 40 times a second over 10 W from 1.03 to 21.03 s: the window and its energy in J."""
    generator = random.Random(seed)
    phase_s, points = generator.uniform(0.0, own_s), []
    for i in range(1000):
        shown_s = i * 0.025 - (i * 0.025 - phase_s) % own_s
        reach_s = own_s if averaged else 1e-9
        on_s = min(shown_s, 21.03) - max(shown_s - reach_s, 1.03)
        points.append((i * 0.025, 5.0 + 10.0 * max(0.0, on_s) / reach_s))
    return cut_of(points, 1.03, 21.03, Domain("rail", "power", "", update_s=own_s)), 300.0


@pytest.mark.parametrize(("averaged", "lost"), [(False, 0.5), (True, 1.0)])
def test_what_a_meter_of_updates_loses_is_within_the_delay(averaged: bool, lost: float) -> None:
    windows = [lagging(seed, 0.2, averaged) for seed in range(200)]
    losses_j = [true_j - energy_j(window) for window, true_j in windows]
    assert fmean(losses_j) == pytest.approx(lost * 10.0 * 0.2, rel=0.1)
    for (window, _), lost_j in zip(windows, losses_j, strict=True):
        terms = random_terms(window)
        assert terms.delay_j == pytest.approx(2.0, rel=0.01)
        assert lost_j <= terms.expanded_j


def test_a_load_that_ran_before_the_window_loses_nothing_to_the_delay() -> None:
    window = cut_of(
        [(i * 0.1, 15.0) for i in range(300)], 5.0, 25.0, Domain("rail", "power", "", update_s=0.2)
    )
    assert random_terms(window).delay_j == 0.0


@pytest.mark.parametrize(("before_w", "share"), [(0.0, 1 / 3), (10.0, 1 / 6)])
def test_the_delay_of_a_counter_is_the_mean_square_of_what_it_had_not_counted(
    before_w: float, share: float
) -> None:
    generator, own_s, errors_j2, claimed_j2 = random.Random(6), 0.4, [], []
    for _ in range(1000):
        # Read at both marks, and now and then before: the ages at the two edges are independent.
        place_s = [generator.uniform(0.0, own_s) for _ in range(2)]
        reads_s = (1.0, 2.0, 3.0, 4.0, 5.0, 5.0 + 8.0, 14.0)
        ages_s = (0.0, 0.0, 0.0, 0.0, place_s[0], place_s[1], 0.0)
        counted = [
            (t, before_w * min(t - age, 5.0) + 10.0 * max(0.0, min(t - age, 13.0) - 5.0))
            for t, age in zip(reads_s, ages_s, strict=True)
        ]
        window = cut_of(counted, 5.0, 13.0, Domain("pkg", "energy", "", update_s=own_s))
        errors_j2.append((energy_j(window) - 80.0) ** 2)
        claimed_j2.append(random_terms(window).edges_j ** 2)
    assert fmean(errors_j2) == pytest.approx(share * (10.0 * own_s) ** 2, rel=0.1)
    assert fmean(claimed_j2) == pytest.approx(fmean(errors_j2), rel=0.3)


def test_an_offset_is_in_the_gross_energy_and_leaves_the_net_one() -> None:
    domain = Domain("usb", "power", "", gain_limit=0.01, offset_limit_w=0.1)
    window = cut_of([(i * 0.1, 5.0) for i in range(202)], 0.05, 20.05, domain)
    random = random_terms(window)
    gross, net = gross_terms(domain, 100.0, 20.0, random), net_terms(domain, 20.0, random)
    assert gross.offset_j == pytest.approx(0.1 * 20.0 / sqrt(3))
    assert gross.gain_j == pytest.approx(0.01 * 100.0 / sqrt(3))
    assert net.offset_j == 0.0
    assert net.gain_j == pytest.approx(0.01 * 20.0 / sqrt(3))


def test_a_hole_in_a_varying_load_widens_the_interval() -> None:
    generator = random.Random(4)
    points = [(i * 0.01, generator.choice((5.0, 15.0))) for i in range(1000)]
    whole = cut_of(points, 0.005, 9.5, POWER)
    holed = cut_of([p for i, p in enumerate(points) if not 300 <= i < 340], 0.005, 9.5, POWER)
    assert random_terms(holed).sampling_j > 1.2 * random_terms(whole).sampling_j
