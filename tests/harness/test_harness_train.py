"""`harness run --worker program` beside the Python worker: the same losses to the last bit, in less memory."""

import json
import subprocess
from pathlib import Path

import msgspec
import pytest

from harness import option_checks, runner
from harness import plan as planning
from harness.display import Quiet
from harness.messages import Progress
from workloads import registry
from workloads.datasets.base import Column, PreparedDataset, Segment, image_split
from workloads.engines.native import location, program
from workloads.specification import Sequence

pytestmark = pytest.mark.skipif(
    (location.missing() or program.missing()) is not None, reason=str(location.missing() or program.missing())
)

MIB = 1 << 20
TORCH = pytest.mark.skipif(
    registry.ENGINES["torch"].missing() is not None, reason="the torch extra is not installed"
)
TRAINERS = registry.ENGINES["native"].trainers


def plan_of(worker, **options):
    given = {"steps": 4, "warmup": 2, "repeats": 1, "meters": ("none",), "engine": "native", "threads": 1}
    return planning.build(planning.Options(worker=worker, **(given | {"silence_s": 60.0} | options)))


def both(change=lambda trial: trial, **options):
    """Return the trials of both workers, pair by pair; `change` is applied to each trial's plan."""
    documents = []
    for worker in ("python", "program"):
        plan = plan_of(worker, **options)
        plan = msgspec.structs.replace(plan, trials=tuple(change(trial) for trial in plan.trials))
        documents.append(runner.run(plan, Quiet(), lambda document: None))
    return list(zip(*(document.trials for document in documents), strict=True))


def assert_same_training(python, trained):
    assert (python.outcome, trained.outcome) == ("ok", "ok"), (python.reason, trained.reason)
    assert (python.worker, trained.worker) == ("python", "program")
    assert trained.quality == python.quality  # losses and accuracy, bit for bit
    assert len(set(trained.quality.train_loss)) > 1
    assert trained.memory.ledger_by_variable == python.memory.ledger_by_variable
    assert trained.memory.scratch_by_name == python.memory.scratch_by_name
    assert sum(trained.memory.scratch_by_name.values()) == trained.memory.ledger_by_variable["scratch"] > 0
    assert trained.memory.modelled_by_variable == python.memory.modelled_by_variable
    assert [phase.name for phase in trained.phases] == [phase.name for phase in python.phases]
    assert trained.memory.by_phase.keys() == python.memory.by_phase.keys()
    assert (trained.time.update_s is None) == (python.time.update_s is None)
    assert trained.time.step_s.n == python.time.step_s.n


@pytest.mark.parametrize("threads", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_every_trainer_learns_mnist_bit_for_bit_alike(threads, monkeypatch):
    """Over the end of an epoch of the sample, in batches of a thousand; an evaluation whose last batch is short."""
    monkeypatch.setattr(option_checks, "usable_cores", lambda: 2)
    pairs = both(
        trainers=TRAINERS, batch_size=1000, steps=10, warmup=3, threads=threads, seed=7, test_items=1500
    )
    assert len(pairs) == len(TRAINERS)
    for python, trained in pairs:
        assert_same_training(python, trained)
        assert trained.quality.train_loss[-1] < trained.quality.train_loss[0]


@pytest.mark.parametrize("threads", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_every_trainer_learns_cnv_bit_for_bit_alike(threads, monkeypatch):
    """Images shifted and mirrored, labels and pixels of noise."""
    monkeypatch.setattr(option_checks, "usable_cores", lambda: 2)
    options = {"synthetic": True, "workloads": ("cnv-cifar10",), "batch_size": 9, "test_items": 11}
    for python, trained in both(trainers=TRAINERS, threads=threads, **options):
        assert_same_training(python, trained)
        assert trained.settings["augmentation"] == "shift-flip"


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "sgd"},
        {"optimizer": "bop"},
        {"settings": ("statistics=recalibrated",), "batch_size": 700},
        {"settings": ("schedule=constant", "learning_rate=0.0123"), "seed": -5},
        {"settings": ("augmentation=shift",), "seed": (1 << 64) + 3},
        {"epochs": 1, "steps": None, "batch_size": 77},
    ],
)
def test_other_options_make_no_difference(options):
    for python, trained in both(trainers=("lowmem",), **options):
        assert_same_training(python, trained)


def records(folder, shape, counts):
    """Write a set in files of records, as CIFAR-10's, over several files; sizes that fit no word and no tile."""
    size = shape[0] * shape[1] * shape[2]
    segments = []
    for part, count in enumerate(counts):
        path = folder / f"part-é-{part}"
        blocks = (
            bytes([k % 5, *((k * 31 + j * (part + 3)) % 251 for j in range(size))]) for k in range(count)
        )
        path.write_bytes(b"head" + b"".join(blocks))
        segments.append((str(path), count))
    images = Column(tuple(Segment(path, 5, count) for path, count in segments), size + 1, size)
    labels = Column(tuple(Segment(path, 4, count) for path, count in segments), size + 1, 1)
    split = image_split(images, labels, sum(counts), 5)
    return PreparedDataset("records", "full", "records", shape, "chw", 5, split, split)


def test_records_in_several_files_and_odd_shapes(tmp_path):
    shape = (3, 7, 11)
    data = records(tmp_path, shape, (13, 1, 40))
    network = (
        Sequence("odd", shape).conv(33, padding=1).conv(64, padding=1, pool="before_norm").dense(5).build()
    )

    def change(trial):
        settings = trial.settings | {"augmentation": "shift-flip"}
        return msgspec.structs.replace(trial, dataset=data, specification=network, settings=settings)

    for python, trained in both(change, trainers=("lowmem", "lean"), batch_size=8, steps=9, test_items=None):
        assert_same_training(python, trained)
        assert trained.quality.test_items == 54


@pytest.mark.parametrize("threads", [1, 2])
def test_the_whole_process_stays_under_six_mebibytes(threads, monkeypatch):
    monkeypatch.setattr(option_checks, "usable_cores", lambda: 2)
    plan = plan_of("program", trainers=("lowmem",), threads=threads, allocator="pinned")
    (trial,) = runner.run(plan, Quiet(), lambda document: None).trials
    assert trial.outcome == "ok", trial.reason
    ledger = sum(trial.memory.ledger_by_variable.values())
    assert ledger < trial.memory.peak_rss_bytes < 6 * MIB
    assert trial.memory.baseline_rss_bytes < 1.5 * MIB


def test_the_trigger_is_waited_for():
    (python, trained), *_ = both(
        lambda trial: msgspec.structs.replace(trial, trigger=True), trainers=("lowmem",)
    )
    assert_same_training(python, trained)


def test_a_long_evaluation_is_a_sign_of_life():
    """Said at most every second; how long it takes is the machine's."""
    signs = []
    listener = Quiet()
    listener.message = lambda message, pid: signs.append(message)
    options = {"workloads": ("cnv-cifar10",), "synthetic": True, "batch_size": 4, "test_items": 1600}
    plan = plan_of("program", trainers=("lowmem",), steps=2, warmup=1, **options)
    (trial,) = runner.trials(plan, listener)
    assert trial.outcome == "ok", trial.reason
    evaluation = next(phase for phase in trial.phases if phase.name == "evaluate")
    lasted_s = evaluation.end_s - evaluation.start_s
    assert lasted_s / 2 - 1 < signs.count(Progress(3, 3, None)) <= lasted_s


def test_plans_run_without_python(harness_main, tmp_path):
    """`--plans` writes what the program reads from a file; its messages then go to standard output."""
    ended = harness_main(
        "run", "--plans", tmp_path, "--trainer", "lowmem", "--steps", 2, "--warmup", 1, "--repeats", 2
    )
    assert ended.status == 0, ended.err
    paths = ended.out.splitlines()
    assert len(paths) == 2
    done = subprocess.run([str(program.find()), paths[0]], capture_output=True, text=True, check=True, env={})
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    assert messages[-1] == {"type": "done"}
    quality = next(each for each in messages if each["type"] == "quality")
    assert quality["items"] == 2000
    assert len(quality["train_loss"]) == 3


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"worker": "rust"}, "--worker rust: there is: python, program"),
        pytest.param(
            {"worker": "program", "engine": "torch"}, "--worker program runs the native engine", marks=TORCH
        ),
        ({"worker": "program", "energy_phases": True}, "does not know --energy-phases"),
        ({"worker": "program", "checkpoint": Path("kept")}, "does not know --checkpoint"),
    ],
)
def test_impossible_workers_are_refused(options, complaint):
    with pytest.raises(planning.UsageError, match=complaint):
        plan_of(**options)


@pytest.mark.parametrize("named", ["/nowhere/harness-train", "/"])
def test_a_missing_program_is_said_before_anything_runs(monkeypatch, named):
    monkeypatch.setenv(program.VARIABLE, named)
    with pytest.raises(planning.UsageError, match=f"names '{named}', which is no program"):
        plan_of("program")
