"""The reported interval covers the truth in 95 ± 2 % of simulated runs, for every load and kind of meter."""

from statistics import fmean

import pytest

from power.base import Kind
from power.simulate import KINDS, LOADS, Load, Outcome, Response, draw_scene, observe, run


def unmeasured(outcomes: list[Outcome]) -> list[str | None]:
    return [outcome.row.reason for outcome in outcomes if outcome.row.reason is not None]


def test_the_same_seed_is_the_same_run() -> None:
    assert list(observe(draw_scene(5), 5).values) == list(observe(draw_scene(5), 5).values)
    assert run(5).row == run(5).row
    assert run(5).row != run(6).row


def test_the_interval_covers_the_truth_in_95_percent_of_1000_runs() -> None:
    outcomes = [run(seed) for seed in range(1000)]
    assert unmeasured(outcomes) == []
    assert fmean(outcome.covered for outcome in outcomes) == pytest.approx(0.95, abs=0.02)
    assert fmean(outcome.gross_covered for outcome in outcomes) == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize(("kind", "response"), [("power", "held"), ("power", "averaged"), ("energy", "held")])
def test_a_meter_that_lags_behind_is_covered_at_least_as_often(kind: Kind, response: Response) -> None:
    outcomes = [run(seed, kind=kind, response=response) for seed in range(200)]
    assert unmeasured(outcomes) == []
    assert fmean(outcome.covered for outcome in outcomes) >= 0.93
    assert fmean(outcome.gross_covered for outcome in outcomes) >= 0.93


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "response"), [("power", "held"), ("power", "averaged"), ("energy", "held")])
@pytest.mark.parametrize("load", LOADS)
def test_no_load_of_a_meter_that_lags_hides_behind_the_others(
    load: Load, kind: Kind, response: Response
) -> None:
    outcomes = [run(seed, load, kind, response) for seed in range(10_000, 11_000)]
    assert fmean(outcome.covered for outcome in outcomes) >= 0.915
    assert fmean(outcome.gross_covered for outcome in outcomes) >= 0.915


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("load", LOADS)
def test_no_load_hides_behind_the_others(load: Load, kind: Kind) -> None:
    outcomes = [run(seed, load, kind, "instant") for seed in range(10_000, 11_000)]
    assert fmean(outcome.covered for outcome in outcomes) == pytest.approx(0.95, abs=0.035)
    assert fmean(outcome.gross_covered for outcome in outcomes) == pytest.approx(0.95, abs=0.035)
