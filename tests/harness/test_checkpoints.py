"""`--checkpoint` and `--resume`: what is refused before anything runs, and trainings that are killed and go on."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
import started

from harness import plan as planning
from harness.checkpoints import fingerprint
from harness.errors import UsageError
from results import store
from workloads import checkpoint
from workloads.engines.native import location
from workloads.errors import CheckpointError
from workloads.registry import ENGINES

FAKES = Path(__file__).parents[1] / "fakes"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "kept"


@pytest.fixture
def left_behind(make_plan, folder):
    """The checkpoint that the first of two trials left after 3 of 5 steps; returns its path."""
    trial = make_plan(checkpoint=folder).trials[0]
    checkpoint.write(trial.checkpoint.path, {"fingerprint": fingerprint(trial), "step": 3}, [])
    return trial.checkpoint.path


def test_without_the_option_nothing_is_kept(make_plan):
    trial = make_plan().trials[0]
    assert trial.checkpoint is None
    assert trial.job()["checkpoint"] is None


def test_every_trial_has_a_file_of_its_own(make_plan, folder):
    trials = make_plan(checkpoint=folder, repeats=2).trials
    assert [trial.checkpoint.path.name for trial in trials] == [
        f"mlp-mnist-{name}-seed-{seed}.checkpoint" for seed in (0, 1) for name in ("standard", "lowmem")
    ]
    assert {trial.checkpoint.resumed_at for trial in trials} == {None}
    assert trials[0].job()["checkpoint"]["every"] == 100


def test_resuming_continues_what_is_there_and_begins_what_is_not(make_plan, folder, left_behind):
    first, second = make_plan(checkpoint=folder, resume=True).trials
    assert (first.resumed_at, first.measured_steps) == (
        3,
        0,
    )  # 5 steps; the 2 left are this process's warm-up
    assert (second.resumed_at, second.measured_steps) == (0, 3)
    assert first.job()["checkpoint"]["resume"] is True
    assert second.job()["checkpoint"]["resume"] is False


def test_a_checkpoint_is_not_written_over_unasked(make_plan, folder, left_behind):
    with pytest.raises(UsageError, match=r"seed-0.checkpoint' is the checkpoint of 3 steps; add --resume"):
        make_plan(checkpoint=folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 50}, "batch-size was 100, now it is 50"),
        ({"steps": 4}, "steps was 5, now it is 6"),
        ({"optimizer": "sgd"}, "optimizer was adam, now it is sgd"),
        ({"synthetic": True}, "dataset was mnist, sample"),
        ({"seed": 1}, "has no checkpoint of mlp-mnist-standard-seed-1; it has: mlp-mnist-standard-seed-0"),
        ({"trainers": ("lowmem",)}, "has no checkpoint of mlp-mnist-lowmem-seed-0"),
    ],
)
def test_another_training_is_refused_in_one_line(make_plan, folder, left_behind, options, message):
    with pytest.raises(UsageError, match="--resume: ") as refused:
        make_plan(checkpoint=folder, resume=True, **options)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_another_setting_is_refused_unless_it_trains_nothing_else(make_plan, folder, left_behind):
    def build(setting):
        options = make_plan().options
        return planning.build(
            msgspec.structs.replace(options, checkpoint=folder, resume=True, settings=(setting,))
        )

    with pytest.raises(UsageError, match=r"learning_rate was 0\.001, now it is 0\.1"):
        build("learning_rate=0.1")
    assert build("statistics=recalibrated").trials[0].resumed_at == 3


@pytest.mark.parametrize("option", [{"test_items": 5}, {"threads": 1}])
def test_what_trains_nothing_else_may_change(make_plan, folder, left_behind, option):
    assert make_plan(checkpoint=folder, resume=True, **option).trials[0].resumed_at == 3


def test_a_network_that_has_changed_is_refused(make_plan, folder, left_behind):
    head = checkpoint.read_head(left_behind)
    head["fingerprint"]["network"]["name"] = "other"
    checkpoint.write(left_behind, head, [])
    with pytest.raises(UsageError, match="its network is not that of this version"):
        make_plan(checkpoint=folder, resume=True)


def test_a_damaged_checkpoint_is_an_error_before_anything_runs(make_plan, folder, left_behind):
    left_behind.write_bytes(left_behind.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="is damaged: it is cut short"):
        make_plan(checkpoint=folder, resume=True)


@pytest.mark.parametrize("damage", [{"step": None}, {"step": "3"}, {"step": -1}, {"fingerprint": 3}])
@pytest.mark.parametrize("resume", [True, False])
def test_a_head_without_its_keys_is_damage_too(make_plan, folder, left_behind, damage, resume):
    checkpoint.write(left_behind, checkpoint.read_head(left_behind) | damage, [])
    with pytest.raises(CheckpointError, match=r"seed-0.checkpoint' is damaged: its head does not say"):
        make_plan(checkpoint=folder, resume=resume)


@pytest.mark.parametrize("option", [{"resume": True}, {"checkpoint_every": 5}])
def test_options_that_need_a_folder_say_so(make_plan, option):
    with pytest.raises(UsageError, match="needs --checkpoint FOLDER"):
        make_plan(**option)


def test_a_folder_that_cannot_be_made_is_an_error_at_once(make_plan, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file, not a folder"):
        make_plan(checkpoint=tmp_path / "file")


def harness(cwd, *arguments):
    """Start the program in a session of its own."""
    return subprocess.Popen(
        [*started.COMMAND, *map(str, arguments)],
        cwd=cwd,
        env=started.environment(cwd),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(location.missing() is not None, reason=str(location.missing()))
def test_a_run_that_is_killed_again_and_again_ends_as_one_that_was_not(tmp_path):
    """The whole program, killed from outside at moments of chance; weights, losses and accuracy to the last bit."""
    run = (
        "run", "--engine", "native", "--trainer", "standard", "--trainer", "lean8", "--repeats", 1, "--threads", 1,
        "--steps", 150, "--meter", "none", "--test-items", 500, "--quiet", "--checkpoint-every", 7,
    )  # fmt: skip
    whole = harness(tmp_path, *run, "--checkpoint", "whole", "--json", "whole.json")
    assert whole.wait(60) == 0
    chance, kills, status = random.Random(5), 0, None
    while status != 0:
        there = list(tmp_path.glob("killed/*.checkpoint"))
        more = ["--resume"] if there else []
        process = harness(tmp_path, *run, "--checkpoint", "killed", "--json", f"{kills}.json", *more)
        try:
            status = process.wait(chance.uniform(0.5, 1.1) if kills < 3 else 60)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            time.sleep(0.05)  # the worker dies with its parent
        else:
            assert status == 0, process.stderr.read()
        process.stderr.close()
    whole.stderr.close()
    assert kills >= 2
    for name in ("mlp-mnist-standard-seed-0.checkpoint", "mlp-mnist-lean8-seed-0.checkpoint"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()
    one, other = (store.loads((tmp_path / name).read_text()) for name in ("whole.json", f"{kills}.json"))
    for trial, resumed in zip(one.trials, other.trials, strict=True):
        assert resumed.quality == trial.quality
        assert trial.checkpoint.resumed_at_step is None
        assert (trial.checkpoint.written, trial.checkpoint.last_step) == (23, 160)
    finished = harness(tmp_path, *run, "--checkpoint", "killed", "--json", "again.json", "--resume")
    assert finished.wait(60) == 0
    finished.stderr.close()
    again = store.loads((tmp_path / "again.json").read_text()).trials[0]
    assert again.quality == one.trials[0].quality
    assert again.checkpoint.resumed_at_step == 160
    assert again.time.step_s is None
    assert again.memory.training_peak_bytes is None
    assert "resumed after 160 of 160 steps: none was measured" in again.validity.notes


@pytest.mark.skipif(location.missing() is not None, reason=str(location.missing()))
def test_a_resumed_trial_measures_its_own_steps(harness_main, tmp_path, monkeypatch):
    kept, document = tmp_path / "kept", tmp_path / "a.json"
    run = ("run", "--trainer", "lowmem", "--repeats", 1, "--steps", 40, "--warmup", 4, "--meter", "none",
           "--test-items", 100, "--quiet", "--checkpoint", kept, "--json", document)  # fmt: skip
    assert harness_main(*run, "--checkpoint-every", 11).status == 0
    (path,) = kept.iterdir()
    # As a kill after step 33 leaves it: a run of which the last checkpoint cannot be written.
    path.unlink()
    path.with_name(path.name + ".partial").touch()
    limited = (
        "import sys; from workloads import checkpoint; write = checkpoint.write\n"
        "def die(path, head, blocks):\n"
        "    if head['step'] == 44: raise checkpoint.CheckpointError('deliberate')\n"
        "    return write(path, head, blocks)\n"
        "checkpoint.write = die; from harness.worker import main; main()"
    )
    from harness import runner

    command = runner.worker_command
    monkeypatch.setattr(runner, "worker_command", lambda *_: [sys.executable, "-P", "-c", limited])
    assert harness_main(*run, "--checkpoint-every", 11).status == 1
    failed = store.loads(document.read_text()).trials[0]
    assert (failed.outcome, failed.reason) == ("error", "deliberate")
    assert (failed.checkpoint.last_step, failed.checkpoint.written) == (33, 3)
    monkeypatch.setattr(runner, "worker_command", command)
    assert harness_main(*run, "--resume").status == 0
    trial = store.loads(document.read_text()).trials[0]
    assert trial.checkpoint.resumed_at_step == 33
    assert trial.time.step_s.n == 44 - 33 - 4
    assert trial.checkpoint.bytes == path.stat().st_size
    said = "resumed after 33 of 44 steps: time and energy are of the last 7,"
    assert any(note.startswith(said) for note in trial.validity.notes)
    assert len(trial.quality.train_loss) == 44


FEW = ["standard:sgd", "lowmem:adam"]
ALL = [
    *(f"{trainer}:adam" for trainer in ENGINES["torch"].trainers),
    *(f"{trainer}:{method}" for trainer in ("standard", "lowmem") for method in ("sgd", "bop")),
]


@pytest.mark.torch
@pytest.mark.parametrize("cases", [FEW, pytest.param(ALL, marks=pytest.mark.slow)], ids=["few", "all"])
def test_trainings_of_torch_survive_kills_bit_for_bit(tmp_path, cases):
    """All pairs of recipe and optimizer, without a kill: the engine's `test_snapshot.py`."""
    done = subprocess.run(
        [sys.executable, "-P", FAKES / "killed_worker.py", tmp_path, *cases],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert list(report) == cases
    for case, said in report.items():
        assert said["endings"] == [0, 0], case
        assert said["kills"] == [-signal.SIGKILL] * 4, case
        assert said["steps"] == [4, 4, 4, 8, 12], case
        assert said["same_file"], case
        assert said["same_quality"], case
