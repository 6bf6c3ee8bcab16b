"""`--evaluate-every`: when the test set is evaluated, and that nothing but the curve knows of it."""

import msgspec
import pytest

from harness import plan as planning
from harness import runner
from harness.display import Quiet
from harness.errors import UsageError
from workloads import registry
from workloads.engines.native import location, program

MIB = 1 << 20
WORKERS = [
    pytest.param("python", marks=pytest.mark.skipif(bool(location.missing()), reason="no native library")),
    pytest.param("program", marks=pytest.mark.skipif(bool(program.missing()), reason="no harness-train")),
]


def run(plan):
    return runner.run(plan, Quiet(), lambda document: None).trials


def run_one(make_plan, **options):
    """Run one training of the pretended engine; a second trainer would show the same."""
    (trial,) = run(make_plan(trainers=("standard",), **options))
    return trial


def steps_of(trial):
    return [point.step for point in trial.quality.evaluations]


def native(**options):
    """Run one trainer of the native engine on the sample: 10 batches of 1000 an epoch."""
    given = {"engine": "native", "trainers": ("lowmem",), "repeats": 1, "meters": ("none",), "threads": 1}
    given |= {"batch_size": 1000, "epochs": 2, "warmup": 3, "test_items": 1500, "idle_s": 0.0}
    (trial,) = run(planning.build(planning.Options(**given | options)))
    assert trial.outcome == "ok", trial.reason
    return trial


def bare(quality):
    """The accuracy of a training without its curve."""
    return msgspec.structs.replace(quality, evaluations=[])


def test_without_the_option_the_job_and_the_document_say_nothing_of_it(make_plan):
    plan = make_plan()
    assert "evaluate" not in plan.trials[0].job()
    assert "evaluate_every" not in plan.trials[0].settings
    assert [trial.quality.evaluations for trial in run(plan)] == [[], []]


def test_with_steps_it_counts_measured_steps_and_the_end_is_the_last_point(make_plan):
    trial = run_one(make_plan, steps=7, warmup=2, evaluate_every=3)
    assert steps_of(trial) == [5, 8, 9]
    assert [point.epoch for point in trial.quality.evaluations] == [0.05, 0.08, 0.09]
    assert trial.quality.evaluations[-1].test_accuracy == trial.quality.test_accuracy
    assert all(point.duration_s > 0 for point in trial.quality.evaluations)


def test_with_epochs_it_counts_epochs(make_plan):
    trial = run_one(make_plan, steps=None, epochs=5, batch_size=5000, warmup=3, evaluate_every=2)
    assert steps_of(trial) == [4, 8, 10], (
        "2 batches an epoch; the first lies in the warm-up's epoch but after it"
    )
    assert [point.epoch for point in trial.quality.evaluations] == [2, 4, 5]


def test_an_evaluation_in_the_warm_up_is_a_point_like_any_other(make_plan):
    trial = run_one(make_plan, steps=None, epochs=3, batch_size=5000, warmup=4, evaluate_every=1)
    assert steps_of(trial) == [2, 4, 6]
    assert trial.windows is None or trial.windows.evaluations_ns == [], "both lie before the window"
    assert trial.time.step_s.n == 2


def test_micro_batches_count_as_what_they_are(make_plan):
    """An epoch of 5 batches, two an update: it ends within the third, and in the fifth update exactly."""
    options = {"steps": None, "epochs": 4, "batch_size": 2000, "warmup": 1, "accumulate": 2}
    trial = run_one(make_plan, **options, evaluate_every=1)
    assert steps_of(trial) == [3, 5, 8, 10]
    assert [point.epoch for point in trial.quality.evaluations] == [1.2, 2, 3.2, 4]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"evaluate_every": 0}, "--evaluate-every must be at least 1"),
        ({"evaluate_every": 4, "steps": 3}, "the training has 3 steps; take fewer"),
        ({"evaluate_every": 4, "steps": None, "epochs": 2}, "the training has 2 epochs; take fewer"),
        ({"evaluate_every": 1, "trigger_pin": 17}, "--trigger-pin and --evaluate-every exclude each other"),
        ({"evaluate_every": 1, "synchronise": True}, "--synchronise and --evaluate-every exclude each other"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_runs(make_plan, options, message):
    with pytest.raises(UsageError, match=message):
        make_plan(**options)


def test_neither_times_nor_peaks_of_training_know_of_an_evaluation(make_plan):
    settings = {"evaluate_bytes": 48 * MIB, "evaluate_s": 0.02, "step_s": 0.001, "burst_bytes": MIB}
    trial = run_one(make_plan, steps=6, evaluate_every=2, settings=settings, test_items=500)
    assert steps_of(trial) == [4, 6, 8]
    assert max(trial.time.steps_s) < 0.02
    peaks = trial.memory.by_phase
    assert peaks["evaluate"] > peaks["train"] + 40 * MIB
    assert trial.memory.anon_bytes < peaks["train"]
    names = [phase.name for phase in trial.phases]
    assert names == ["import", "library", "setup", *["train", "evaluate"] * 3]
    pairs = zip(trial.phases, trial.phases[1:], strict=False)
    assert all(first.start_s <= first.end_s <= second.start_s for first, second in pairs)


def test_energy_is_that_of_the_stretches_of_training(make_plan):
    settings = {"evaluate_s": 0.02, "step_s": 0.1}
    options = {"steps": 12, "evaluate_every": 4, "meters": ("mock:5W,counter",), "idle_s": 0.2}
    trial = run_one(make_plan, settings=settings, **options)
    (row,) = trial.energy
    begin, end = trial.windows.measured_ns
    paused_s = sum(last - first for first, last in trial.windows.evaluations_ns) * 1e-9
    assert len(trial.windows.evaluations_ns) == 2
    assert paused_s > 2 * 0.02 * 20, "20 batches of test items"
    assert row.gross_j is not None, row.reason
    assert row.window_s == pytest.approx((end - begin) * 1e-9 - paused_s, abs=1e-6)
    assert row.gross_j == pytest.approx(5 * row.window_s, rel=0.02)
    assert row.net_j_per_step == pytest.approx(row.net_j / 12)


def test_a_trial_that_dies_keeps_the_curve_until_then(make_plan):
    settings = {"fail_at": "evaluate", "fail_how": "raise"}
    trial = run_one(make_plan, steps=4, evaluate_every=1, settings=settings)
    assert (trial.outcome, trial.quality.evaluations) == ("error", [])
    assert trial.quality.test_accuracy is None


@pytest.mark.parametrize("worker", WORKERS)
@pytest.mark.parametrize("statistics", ["moving average", "recalibrated"])
def test_evaluating_changes_nothing_of_the_training(worker, statistics):
    options = {"worker": worker, "settings": (f"statistics={statistics}",), "allocator": "pinned"}
    plain, curve = native(**options), native(**options, evaluate_every=1)
    assert steps_of(curve) == [10, 20]
    assert bare(curve.quality) == plain.quality, "losses and accuracy, to the last bit"
    assert curve.time.step_s.n == plain.time.step_s.n == 17
    for phase in ("setup", "forward", "backward", "update", "train"):
        assert curve.memory.by_phase.get(phase) == pytest.approx(
            plain.memory.by_phase.get(phase), abs=96 << 10
        )


@pytest.mark.skipif(bool(program.missing() or location.missing()), reason="no harness-train")
def test_both_workers_find_the_same_curve():
    options = {"epochs": None, "steps": 12, "evaluate_every": 5, "seed": 3}
    python, trained = native(worker="python", **options), native(worker="program", **options)
    assert steps_of(python) == steps_of(trained) == [8, 13, 15]
    accuracies = [[point.test_accuracy for point in each.quality.evaluations] for each in (python, trained)]
    assert accuracies[0] == accuracies[1]
    assert len(set(accuracies[0])) > 1
    assert [phase.name for phase in trained.phases] == [phase.name for phase in python.phases]


@pytest.mark.skipif(
    registry.ENGINES["torch"].missing() is not None, reason="the torch extra is not installed"
)
def test_evaluating_changes_nothing_of_a_training_by_torch():
    options = {"engine": "torch", "epochs": None, "steps": 6, "batch_size": 200, "test_items": 300}
    assert bare(native(**options, evaluate_every=2).quality) == native(**options).quality


def test_a_resumed_training_has_the_whole_curve(tmp_path):
    """Killed in effect after 14 of 20 steps: the checkpoint remembers the evaluations before it."""
    options = {"epochs": 4, "batch_size": 2000, "evaluate_every": 1, "test_items": 500}
    whole = native(**options)
    folder = tmp_path / "kept"
    first = planning.build(
        planning.Options(
            engine="native",
            trainers=("lowmem",),
            repeats=1,
            meters=("none",),
            threads=1,
            warmup=3,
            idle_s=0.0,
            checkpoint=folder,
            checkpoint_every=7,
            **options,
        )
    )
    stopped = Stop(after=14)
    with pytest.raises(runner.Interrupted):
        runner.run(first, stopped, lambda document: None)
    resumed = native(**options, checkpoint=folder, checkpoint_every=7, resume=True)
    assert resumed.checkpoint.resumed_at_step == 14
    assert steps_of(resumed) == [5, 10, 15, 20]
    durations = [point.duration_s for point in resumed.quality.evaluations]
    assert None not in durations
    for point, same in zip(whole.quality.evaluations, resumed.quality.evaluations, strict=True):
        assert (point.step, point.epoch, point.test_accuracy) == (same.step, same.epoch, same.test_accuracy)
    assert bare(resumed.quality) == bare(whole.quality)


class Stop(Quiet):
    """Interrupts the run once a checkpoint of so many steps is on the disk."""

    def __init__(self, after):
        self._after = after

    def message(self, message, pid):
        if type(message).__name__ == "Saved" and message.step == self._after:
            raise KeyboardInterrupt
