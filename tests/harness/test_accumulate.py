"""`--accumulate`: what is planned, who refuses it, and a run of it."""

import pytest

from harness import plan as planning
from harness.errors import UsageError
from harness.stopwatch import StepTimer
from results import store
from workloads.errors import UnsupportedError


def test_an_epoch_has_fewer_steps(make_plan):
    plan = make_plan(steps=None, epochs=2, warmup=3, batch_size=50, accumulate=4)
    assert plan.trials[0].steps == 2 * 200 // 4
    assert plan.trials[0].settings["accumulate"] == 4
    with pytest.raises(UsageError, match="--accumulate must be at least 1"):
        make_plan(accumulate=0)


def test_the_model_of_a_trial_counts_the_sums(make_plan):
    one, four = (make_plan(accumulate=n).trials[1].modelled_by_variable() for n in (1, 4))
    assert four["dW"] == 16 * one["dW"]  # a float16 for a bit
    assert four["X"] == one["X"]


def test_an_engine_that_cannot_names_one_that_can():
    with pytest.raises(UnsupportedError, match=r"engine native .* accumulate; try: --engine torch"):
        planning.build(planning.Options(engine="native", accumulate=2))


def test_parts_that_recur_in_a_step_are_added_up():
    timer = StepTimer()
    for _ in range(3):
        timer.start()
        for part in ("data", "forward", "backward", "data", "forward", "backward", "update"):
            timer.lap(part)
        timer.stop()
    durations = timer.durations_ns()
    assert {part: len(each) for part, each in durations.items()} == dict.fromkeys(durations, 3)
    whole = sum(sum(durations[part]) for part in ("data", "forward", "backward", "update"))
    assert whole <= sum(durations["step"])


@pytest.mark.torch
def test_a_run_in_micro_batches_sees_every_item_once_an_epoch(harness_main, tmp_path):
    document = tmp_path / "a.json"
    # One thread: several wait for each other by spinning, five times as long where other tests run as well.
    run = ("run", "--trainer", "lowmem", "--repeats", 1, "--meter", "none", "--test-items", 500, "--quiet",
           "--warmup", 2, "--threads", 1, "--json", document)  # fmt: skip
    assert harness_main(*run, "--batch-size", 25, "--accumulate", 4, "--steps", 30).status == 0
    trial = store.loads(document.read_text()).trials[0]
    assert (trial.engine, trial.settings["accumulate"], trial.time.step_s.n) == ("torch", 4, 30)
    parts = (trial.time.data_s, trial.time.forward_s, trial.time.backward_s, trial.time.update_s)
    assert sum(parts) == pytest.approx(
        trial.time.step_s.median, rel=0.5
    )  # medians of parts, on a busy machine
    assert trial.quality.train_loss[-1] < 0.7 * trial.quality.train_loss[0]
    assert trial.quality.test_accuracy > 0.5
    assert trial.memory.ledger_by_variable["dW"] == trial.memory.modelled_by_variable["dW"]
