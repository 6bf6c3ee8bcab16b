import math
from collections.abc import Callable
from typing import Any

import pytest

from results.schema import Estimate, Quality, Time
from results.summary import Row, setup_title, summarize
from results.tables import row_cells

Make = Callable[..., Any]
MIB = 2**20


def rows_of(document: Any) -> dict[str, Row]:
    (rows,) = summarize(document).values()
    return {row.trainer: row for row in rows}


def test_repeats_become_one_row_with_medians(document: Make) -> None:
    rows = rows_of(document())
    assert list(rows) == ["standard", "lowmem"]
    step = rows["standard"].step
    assert step is not None
    assert (step.median, step.n, step.ci95) == (pytest.approx(0.0101), 3, None)
    assert rows["standard"].training_peak_bytes == 90 * MIB
    assert rows["lowmem"].memory_ratio == pytest.approx(90 / 40)
    assert rows["standard"].memory_ratio == 1.0


def test_accuracy_is_the_mean(document: Make, trial: Make) -> None:
    qualities = [Quality(train_loss=[], test_accuracy=a, test_items=10) for a in (0.9, 0.95, 0.97)]
    row = rows_of(document([trial(repeat=i, quality=q) for i, q in enumerate(qualities)]))["standard"]
    assert row.accuracy == pytest.approx(0.94)


def test_a_lone_trial_keeps_its_own_interval(document: Make, trial: Make) -> None:
    step = rows_of(document([trial(step_s=1.0)]))["standard"].step
    assert step == Estimate(median=1.0, ci95=(0.98, 1.03), n=60)


@pytest.mark.parametrize(
    "field", ["workload", "engine", "optimizer", "batch_size", "threads", "dataset_variant"]
)
def test_what_differs_does_not_stand_in_one_table(document: Make, trial: Make, field: str) -> None:
    other = {"engine": "native", "batch_size": 50, "threads": 1}.get(field, "other")
    assert len(summarize(document([trial(), trial(**{field: other})]))) == 2


def test_failed_trials_do_not_enter_the_medians(document: Make, trial: Make, failed: Make) -> None:
    slow = trial(repeat=2, step_s=99.0, outcome="invalid", reason="the device throttled")
    row = rows_of(document([trial(), failed("standard", 1), slow]))["standard"]
    assert row.step is not None
    assert row.step.median == 0.010
    assert (row.outcome, len(row.failed)) == ("ok", 2)


def test_only_failed_trials_show_what_they_reached(document: Make, trial: Make, failed: Make) -> None:
    killed = failed(memory=trial(peak=64 * MIB).memory)
    row = rows_of(document([trial(), killed]))["lowmem"]
    assert row.outcome == "out_of_memory"
    assert row.training_peak_bytes == 64 * MIB
    assert row.memory_ratio is None, "a peak cut off by a ceiling is not a saving"
    assert row.step is None
    assert row.accuracy is None


def test_what_failed_on_the_way_has_no_training_peak_and_is_no_reference(
    document: Make, trial: Make, failed: Make
) -> None:
    broken = failed("standard", outcome="error", reason="refused", memory=trial(peak=MIB).memory)
    rows = rows_of(document([broken, trial("lowmem", peak=40 * MIB)]))
    assert rows["standard"].training_peak_bytes is None
    assert rows["lowmem"].training_peak_bytes == 40 * MIB
    assert rows["lowmem"].memory_ratio is None


def test_a_reference_that_ran_out_of_memory_gives_no_ratio(document: Make, trial: Make, failed: Make) -> None:
    killed = failed("standard", memory=trial(peak=64 * MIB).memory)
    assert rows_of(document([killed, trial("lowmem")]))["lowmem"].memory_ratio is None


def test_without_the_reference_there_is_no_ratio(document: Make, trial: Make) -> None:
    assert rows_of(document([trial("lowmem")]))["lowmem"].memory_ratio is None


def test_energy_is_measured_or_nothing(document: Make, trial: Make, energy: Make) -> None:
    modelled = energy(0.2, meter="model", provenance="modelled")
    row = rows_of(document([trial(energy=[modelled, energy(0.136)])]))["standard"]
    assert row.energy_j_per_step == 0.136
    # 0.5 J over the window of 100 steps
    assert row.energy_uncertainty_j_per_step == pytest.approx(0.005)
    assert row.energy is not None
    assert row.energy.meter == "rapl"


def test_the_spread_between_repeats_is_in_the_uncertainty(document: Make, trial: Make, energy: Make) -> None:
    """Each window is known to 5 mJ a step; five trainings that differ by joules are not."""
    values_j = [1.0, 2.0, 3.0, 2.5, 1.2]
    row = rows_of(document([trial(repeat=i, energy=[energy(j)]) for i, j in enumerate(values_j)]))["standard"]
    assert row.energy_j_per_step == 2.0
    student_j = 2.7764451 * 0.8473488 / 5**0.5
    assert row.energy_uncertainty_j_per_step == pytest.approx(math.hypot(student_j, 0.005))
    assert row_cells(row)[4] == "2 ±1 J"


def test_repeats_that_agree_leave_the_uncertainty_of_the_meter(
    document: Make, trial: Make, energy: Make
) -> None:
    """Its gain errs alike in all of them, and does not shrink with their number."""
    row = rows_of(document([trial(repeat=i, energy=[energy(0.136)]) for i in range(7)]))["standard"]
    assert row.energy_uncertainty_j_per_step == pytest.approx(0.005)
    unknown = [trial(repeat=i, energy=[energy(j, uncertainty_j=None)]) for i, j in enumerate((1.0, 3.0))]
    row = rows_of(document(unknown))["standard"]
    assert row.energy_uncertainty_j_per_step == pytest.approx(12.706205)


def test_a_net_energy_of_zero_has_no_relative_uncertainty(document: Make, trial: Make, energy: Make) -> None:
    row = rows_of(document([trial(energy=[energy(0.0)])]))["standard"]
    assert row.energy_j_per_step == 0.0
    assert row.energy_uncertainty_j_per_step is None


def test_no_trial_no_row(document: Make) -> None:
    assert summarize(document([])) == {}


def test_a_time_without_a_median(document: Make, trial: Make) -> None:
    assert rows_of(document([trial(time=Time.unavailable("no clock"))]))["standard"].step is None


def test_micro_batches_are_another_setup_and_stand_in_the_title(document: Make, trial: Make) -> None:
    whole, four = summarize(document([trial(), trial(settings={"accumulate": 4})]))
    assert (whole.accumulate, four.accumulate) == (1, 4)
    assert "batch 100," in setup_title(whole)
    assert "batch 100 × 4," in setup_title(four)
