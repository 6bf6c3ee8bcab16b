"""`harness run --accelerator cuda` on a real device (`pytest -m hardware`). No GPU has run this yet."""

from importlib.util import find_spec

import pytest

from harness import accelerators
from harness.errors import UsageError
from results import store

MIB = 1 << 20


def why_not():
    try:
        accelerators.probe("cuda")
    except UsageError as error:
        return str(error)
    return None


@pytest.fixture(scope="module", autouse=True)
def device():
    """Skip with the probe's reason; it is asked only where `-m hardware` is."""
    reason = why_not() if find_spec("torch") else "torch is not installed"
    if reason:
        pytest.skip(reason)


@pytest.fixture
def measured(harness_main, monkeypatch, tmp_path):
    """Return a function: arguments → what `harness run` ended with and the trials of its document."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(*arguments):
        path = tmp_path / "run.json"
        common = ("--repeats", 1, "--meter", "none", "--idle", 0, "--test-items", 500, "--json", path)
        ended = harness_main("run", "--accelerator", "cuda", *common, *arguments)
        return ended, store.read(path).trials

    return run


pytestmark = [pytest.mark.hardware, pytest.mark.torch]


def test_a_trial_says_what_it_held_there_phase_by_phase(measured):
    ended, trials = measured("--trainer", "standard", "--trainer", "lowmem", "--steps", 20)
    assert ended.status == 0, ended.err
    peaks = {}
    for trial in trials:
        memory, held = trial.memory.accelerator, trial.memory.ledger_by_variable
        assert trial.accelerator.total_bytes > memory.device_used_before_bytes > 0
        assert list(memory.by_phase) == [
            "library", "setup", "forward", "backward", "update", "train", "evaluate",
        ]  # fmt: skip
        assert all(each.allocated_bytes <= each.reserved_bytes for each in memory.by_phase.values())
        modelled = trial.memory.modelled_by_variable
        assert {name: held[name] for name in held if name != "scratch"} == {
            name: modelled[name] for name in held if name != "scratch"
        }
        assert memory.training_peak_bytes >= sum(held[name] for name in ("W", "dW", "momenta", "X", "masks"))
        assert trial.quality.train_loss[-1] < trial.quality.train_loss[0]
        peaks[trial.trainer] = memory.training_peak_bytes
    assert peaks["lowmem"] < peaks["standard"]
    assert f"torch on {trials[0].accelerator.name}" in ended.out


def test_a_ceiling_there_is_an_outcome(measured):
    run = (
        "--workload",
        "binarynet-cifar10",
        "--synthetic",
        "--trainer",
        "standard",
        "--steps",
        2,
        "--warmup",
        1,
    )
    ended, (trial,) = measured(*run, "--ceiling", "200MiB")
    assert (ended.status, trial.outcome) == (3, "out_of_memory")
    assert "CUDA out of memory" in trial.reason
    assert trial.memory.accelerator.peak_reserved_bytes <= 200 * MIB
    assert trial.memory.ceiling.mechanism == "torch.cuda.set_per_process_memory_fraction"


def test_a_training_that_was_stopped_goes_on(measured, tmp_path):
    run = ("--trainer", "lowmem", "--steps", 20, "--checkpoint", tmp_path / "kept")
    _, (whole,) = measured(*run)
    ended, (resumed,) = measured(*run, "--resume")
    assert (ended.status, resumed.checkpoint.resumed_at_step) == (0, 30)
    assert resumed.quality.test_accuracy == whole.quality.test_accuracy
