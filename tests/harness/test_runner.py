"""Whole plans with a pretended engine: whatever a worker does, every other trial is kept and nothing is left."""

import itertools
import os
import signal
import threading
import time

import msgspec
import pytest
from started import with_settings

from harness import runner
from harness.display import Quiet
from harness.messages import PhaseBegun, Progress
from results import store

MIB = 1 << 20
PHASES = ("setup", "forward", "backward", "update", "evaluate")


class Listener(Quiet):
    """Remembers every worker, and acts on what it hears."""

    def __init__(self, act=lambda message, pid: None):
        self.pids, self._act = set(), act

    def message(self, message, pid):
        self.pids.add(pid)
        self._act(message, pid)


def run(plan, listener=None):
    kept = []
    listener = listener or Listener()
    document = runner.run(plan, listener, lambda document: kept.append(store.dumps(document)))
    assert not [pid for pid in listener.pids if alive(pid)]
    assert store.loads(kept[-1]) == document
    return document


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_worker_inherits_only_what_it_must(monkeypatch):
    monkeypatch.setenv("HARNESS_NATIVE_LIBRARY", "/elsewhere/core.so")
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    monkeypatch.setenv("LD_PRELOAD", "/elsewhere/other.so")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    environment = runner.worker_environment(2, "pinned")
    assert environment["HARNESS_NATIVE_LIBRARY"] == "/elsewhere/core.so"
    assert environment["OMP_NUM_THREADS"] == "2"
    assert environment["LC_ALL"] == "C"
    assert "LD_PRELOAD" not in environment


def test_a_plan_gives_a_trial_a_trainer(make_plan):
    plan = make_plan({"hold_bytes": 64 * MIB, "burst_bytes": 32 * MIB})
    first, second = run(plan).trials
    assert (first.outcome, second.outcome) == ("ok", "ok"), (first.reason, second.reason)
    assert second.time.step_s.n == 3
    assert second.settings["steps"] == 5
    assert second.memory.ledger_by_variable == {"W": 64 * MIB}
    assert second.quality.test_items == 2000
    assert 0.05 < second.quality.test_accuracy < 0.15  # the share of zeros among the digits
    assert second.dataset_variant == "sample"
    assert second.energy[0].net_j is None
    assert second.energy[0].reason


def test_what_a_worker_allocates_is_measured_to_within_one_per_cent(make_plan):
    """The same worker twice, with and without 64 MiB held and 32 MiB for a moment in each backward pass."""
    bare, loaded = run(
        make_plan({"hold_bytes": 64 * MIB, "burst_bytes": 32 * MIB}, allocator="pinned")
    ).trials
    extra = loaded.memory.training_peak_bytes - bare.memory.training_peak_bytes
    assert abs(extra - 96 * MIB) < 0.01 * 96 * MIB
    by_phase = loaded.memory.by_phase
    assert abs(by_phase["backward"] - by_phase["forward"] - 32 * MIB) < 0.02 * 32 * MIB
    assert abs(by_phase["forward"] - bare.memory.by_phase["forward"] - 64 * MIB) < 0.01 * 64 * MIB


def test_phases_follow_one_another(make_plan):
    (trial,) = run(make_plan(trainers=("standard",))).trials
    assert [phase.name for phase in trial.phases] == ["import", "library", "setup", "train", "evaluate"]
    assert trial.phases[0].start_s == 0
    assert all(phase.start_s <= phase.end_s for phase in trial.phases)
    assert all(a.end_s <= b.start_s for a, b in itertools.pairwise(trial.phases))


def test_parts_of_a_step_add_up_to_the_step(make_plan):
    trial = run(make_plan({"step_s": 0.02})).trials[1]
    parts = (trial.time.data_s, trial.time.forward_s, trial.time.backward_s, trial.time.update_s)
    assert trial.time.update_s >= 0.02
    assert sum(parts) == pytest.approx(trial.time.step_s.median, rel=0.05)


@pytest.mark.parametrize(
    ("how", "outcome", "reason"),
    [
        ("kill", "error", "ended by SIGKILL"),
        ("raise", "error", "RuntimeError: deliberate"),
        ("memory", "out_of_memory", "deliberately out of memory"),
        ("exit", "error", "status 7: a last word"),
        ("garbage", "error", "no message"),
    ],
)
def test_a_worker_that_fails_costs_its_own_trial_only(make_plan, how, outcome, reason):
    """Every second trial fails, each in another phase."""
    plan = make_plan(repeats=len(PHASES))
    sound, failing = plan.trials[::2], plan.trials[1::2]
    failing = [
        with_settings(trial, {"fail_at": phase, "fail_how": how})
        for trial, phase in zip(failing, PHASES, strict=True)
    ]
    trials = itertools.chain.from_iterable(zip(sound, failing, strict=True))
    document = run(msgspec.structs.replace(plan, trials=tuple(trials)))
    assert [trial.outcome for trial in document.trials[::2]] == ["ok"] * len(PHASES)
    for phase, failed in zip(PHASES, document.trials[1::2], strict=True):
        assert failed.outcome == outcome, phase
        assert reason in failed.reason, phase
        assert failed.quality.test_accuracy is None, phase
        assert failed.memory.peak_rss_bytes > MIB, phase  # what was seen until then is kept


@pytest.mark.parametrize("phase", ["import", "library", "setup", "train", "evaluate"])
def test_a_worker_killed_from_outside_in_any_phase(make_plan, phase):
    def kill(message, pid):
        if isinstance(message, PhaseBegun) and message.name == phase:
            os.kill(pid, signal.SIGKILL)

    # It never ends by itself: on a busy machine the kill comes late.
    document = run(make_plan(settings={"fail_at": "evaluate", "fail_how": "hang"}), Listener(kill))
    assert [trial.outcome for trial in document.trials] == ["error", "error"]
    assert "SIGKILL" in document.trials[0].reason


def test_a_hung_worker_is_ended(make_plan):
    plan = make_plan({"fail_at": "backward", "fail_how": "hang"}, silence_s=0.5)
    begun = time.monotonic()
    document = run(plan)
    assert document.trials[1].outcome == "error"
    assert "no sign of life" in document.trials[1].reason
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize(("statistics", "batch_size"), [("moving average", 100), ("recalibrated", 500)])
def test_an_evaluation_longer_than_the_silence_that_is_borne_is_a_sign_of_life(
    make_plan, statistics, batch_size
):
    """Of 20 test batches, or of 20 batches to recalibrate with."""
    given = {"evaluate_s": 0.25, "statistics": statistics}
    plan = make_plan(settings=given, trainers=("lowmem",), batch_size=batch_size, silence_s=4.0)
    signs = []
    (trial,) = run(plan, Listener(lambda message, pid: signs.append(message))).trials
    assert trial.outcome == "ok", trial.reason
    evaluation = next(phase for phase in trial.phases if phase.name == "evaluate")
    assert evaluation.end_s - evaluation.start_s > 5
    assert 2 <= signs.count(Progress(5, 5, None)) <= 6


def test_a_print_in_a_worker_breaks_nothing(make_plan):
    assert run(make_plan({"fail_at": "update", "fail_how": "print"})).trials[1].outcome == "ok"


@pytest.fixture
def ctrl_c():
    """Have SIGINT raise KeyboardInterrupt: a shell that starts the tests in the background has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_interrupting_keeps_the_trials_that_ended_and_leaves_no_worker(make_plan):
    """Ctrl-C in the second trial."""

    def interrupt(message, pid):
        if len(listener.pids) == 2 and isinstance(message, Progress):
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    listener = Listener(interrupt)
    kept = []
    with pytest.raises(runner.Interrupted) as stopped:
        runner.run(make_plan({"step_s": 0.2}, steps=100), listener, kept.append)
    assert len(stopped.value.document.trials) == 1
    assert kept[-1].trials[0].outcome == "ok"
    assert not [pid for pid in listener.pids if alive(pid)]


@pytest.mark.parametrize("mechanism", ["watchdog", "auto"])
def test_a_worker_above_the_ceiling_is_an_outcome(make_plan, mechanism):
    plan = make_plan({"hold_bytes": 300 * MIB}, ceiling_bytes=100 * MIB, mechanism=mechanism)
    first, second = run(plan).trials
    assert first.outcome == "ok", first.reason
    assert second.outcome == "out_of_memory"
    assert "ceiling of 100.0 MiB" in second.reason
    assert second.memory.ceiling.limit_bytes == 100 * MIB


def test_repeats_are_interleaved_with_a_seed_each(make_plan):
    plan = make_plan(repeats=3)
    assert [(trial.recipe.name, trial.repeat) for trial in plan.trials] == [
        ("standard", 0), ("lowmem", 0), ("standard", 1), ("lowmem", 1), ("standard", 2), ("lowmem", 2),
    ]  # fmt: skip
    assert [trial.seed for trial in plan.trials] == [0, 0, 1, 1, 2, 2]
