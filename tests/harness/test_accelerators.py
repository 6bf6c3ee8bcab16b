"""`--accelerator`: who refuses it, what a trial on one says of its memory, and what holds it to a ceiling."""

import json
import subprocess
import sys
from importlib.util import find_spec
from types import SimpleNamespace

import pytest

from harness import accelerators, checkpoints, runner
from harness import plan as planning
from harness.display import Quiet
from harness.errors import UsageError
from harness.stopwatch import StepPeaks
from results import store
from results.schema import Accelerator
from workloads import checkpoint, registry
from workloads.engines.accelerator import AcceleratorMemory

MIB = 1 << 20
WORKSPACE = 8 * MIB
THERE = {"setup": 40, "forward": 30, "backward": 20, "update": 10, "evaluate": 5}  # MiB
# As the pretended engine has it.
GPU = Accelerator(
    device="cuda",
    name="Pretended GPU",
    total_bytes=1 << 30,
    compute_capability="9.0",
    cuda_version="13.0",
    driver_version="580.1",
)
SMALL = ("--repeats", 1, "--steps", 2, "--warmup", 1, "--meter", "none", "--idle", 0, "--test-items", 100)


@pytest.fixture
def there(monkeypatch):
    """Have the accelerator that was asked for be there."""
    monkeypatch.setattr(accelerators, "probe", lambda name: GPU)


def taken(of_phases):
    return {f"there_{phase}": size * MIB for phase, size in of_phases.items()}


@pytest.fixture
def run(make_plan, there):
    def run_it(**options):
        settings = taken(options.pop("held", THERE)) | options.pop("settings", {})
        plan = make_plan(settings=settings, accelerator="cuda", **({"trainers": ("lowmem",)} | options))
        return runner.run(plan, Quiet(), lambda document: None)

    return run_it


# What is refused, in one line and before anything runs.


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--accelerator", "gpu"), "--accelerator gpu: it may be cpu, cuda, or cuda:N"),
        (("--accelerator", "cuda:"), "--accelerator cuda:: it may be"),
        (("--accelerator", "cuda", "--engine", "native"), "engine native trains on the processor"),
        (("--accelerator", "cuda", "--device", "pi4", "--emulate"), "--emulate exclude each other"),
        (("--accelerator", "cuda", "--ceiling", "1GiB", "--mechanism", "watchdog"), "--mechanism exclude"),
        (("--accelerator", "cuda", "--worker", "program"), "--worker program runs the native engine"),
    ],
)
@pytest.mark.torch
def test_what_makes_no_sense_is_refused_in_one_line(harness_main, monkeypatch, tmp_path, options, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(accelerators, "probe", lambda name: pytest.fail("asked for the device"))
    ended = harness_main("run", *SMALL, *options)
    assert (ended.status, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert words in ended.err
    assert not list(tmp_path.iterdir())


@pytest.mark.torch
def test_without_an_engine_named_torch_is_taken(there):
    options = planning.Options(synthetic=True, steps=1, warmup=0, accelerator="cuda")
    assert {trial.engine.name for trial in planning.build(options).trials} == {"torch"}
    with pytest.raises(Exception, match=r"'lean', on an accelerator; no engine does"):
        planning.build(planning.Options(trainers=("lean",), accelerator="cuda"))


def test_without_torch_the_extra_is_named(harness_main, monkeypatch):
    monkeypatch.setattr(registry, "find_spec", lambda name: None)
    ended = harness_main("run", *SMALL, "--accelerator", "cuda")
    assert (ended.status, ended.out) == (2, "")
    assert "'torch' is not installed; try: pip install 'edge-harness[torch]'" in ended.err


@pytest.mark.torch
def test_where_torch_has_no_cuda_nothing_runs(harness_main, monkeypatch, tmp_path):
    """With the torch that is here, in the process that asks it; one with a GPU runs the tests of `-m hardware`."""
    run, asked = subprocess.run, []

    def kept(*arguments, **options):
        asked.append(run(*arguments, **options))
        return asked[-1]

    monkeypatch.setattr(accelerators.subprocess, "run", kept)
    monkeypatch.setattr(runner, "worker_command", lambda *_: pytest.skip("there is a CUDA device here"))
    ended = harness_main("run", *SMALL, "--accelerator", "cuda", "--json", tmp_path / "run.json")
    (probe,) = asked
    assert accelerators._PROBE in probe.args
    missing = json.loads(probe.stdout)["missing"]
    assert (ended.status, ended.out) == (2, "")
    assert ended.err == f"harness: error: --accelerator cuda: {missing}; or leave --accelerator out\n"
    assert not (tmp_path / "run.json").exists()


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("import sys; sys.exit('a last word')", "torch cannot be asked for it: a last word"),
        ("", "torch cannot be asked for it: it said nothing"),
        ('print(\'{"missing": "no driver; install one"}\')', "cuda: no driver; install one; or leave"),
        ("import time; time.sleep(60)", "torch did not say within 1 s whether it is there; see `nvidia-smi`"),
    ],
)
def test_a_probe_that_goes_wrong_is_one_line(monkeypatch, tmp_path, program, words):
    (tmp_path / "probe.py").write_text(program)
    monkeypatch.setenv("LD_LIBRARY_PATH", "")
    monkeypatch.setattr(accelerators, "_PROBE_S", 1.0 if "sleep" in program else 60.0)
    monkeypatch.setattr(accelerators, "_PROBE", "probe")
    monkeypatch.setattr(accelerators, "worker_environment", lambda **_: {"PYTHONPATH": str(tmp_path)})
    with pytest.raises(UsageError, match=words.replace("?", r"\?")):
        accelerators.probe("cuda")


@pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
def test_the_parent_does_not_import_torch():
    program = (
        "import sys\nfrom harness import accelerators, errors, plan\n"
        "try:\n    plan.build(plan.Options(accelerator='cuda:99', synthetic=True, steps=1, warmup=0))\n"
        "except errors.UsageError as error:\n    assert 'torch' in str(error) or 'cuda:99' in str(error)\n"
        "else:\n    sys.exit('not refused')\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-P", "-c", program], check=True, timeout=60)


def test_a_ceiling_above_the_device_is_refused(make_plan, there):
    with pytest.raises(UsageError, match=r"--ceiling 2\.0 GiB: Pretended GPU has 1\.0 GiB; take less"):
        make_plan(accelerator="cuda", ceiling_bytes=2 << 30)


# What the document says.


def test_the_job_names_the_device_and_that_of_the_processor_none(make_plan, there):
    assert make_plan(accelerator="cuda:1").trials[0].job()["settings"]["device"] == "cuda:1"
    assert "device" not in make_plan().trials[0].job()["settings"]
    assert make_plan().trials[0].accelerator is None


def test_every_phase_has_a_peak_of_its_own(run):
    """Exactly: what the phase took, over what was held; none has that of the phase before, which is larger."""
    (trial,) = run().trials
    assert (trial.outcome, trial.reason) == ("ok", None)
    memory, held = trial.memory.accelerator, WORKSPACE + THERE["setup"] * MIB
    assert {phase: each.allocated_bytes - held for phase, each in memory.by_phase.items()} == {
        "library": WORKSPACE - held, "setup": 0, "forward": 30 * MIB, "backward": 20 * MIB, "update": 10 * MIB,
        "train": 30 * MIB, "evaluate": 5 * MIB,
    }  # fmt: skip
    assert all(each.reserved_bytes == 2 * each.allocated_bytes for each in memory.by_phase.values())
    assert (memory.baseline_bytes, memory.peak_allocated_bytes) == (WORKSPACE, held + 30 * MIB)
    assert memory.training_peak_bytes == 70 * MIB
    assert memory.peak_reserved_bytes == 2 * memory.peak_allocated_bytes
    assert memory.device_used_before_bytes == 256 * MIB + 2 * WORKSPACE
    assert memory.device_used_after_bytes == 256 * MIB + 2 * held
    assert trial.memory.peak_rss_bytes > trial.memory.baseline_rss_bytes  # the host's stay as they are
    assert trial.accelerator == GPU
    assert trial.settings["device"] == "cuda"


def test_the_highest_of_several_steps_counts_for_each_figure_by_itself():
    """The first step allocates what later ones find; what is reserved may be highest in another."""
    looks = iter([AcceleratorMemory(1, 90, 1, 100, 5), AcceleratorMemory(1, 70, 1, 120, 5)])
    steps = StepPeaks(SimpleNamespace(read=lambda: next(looks), reset_peak=lambda: None))
    said = []
    for _ in range(2):
        steps.start()
        steps.mark("forward")
    steps.report(
        SimpleNamespace(peak=lambda *_: None, accelerator_peak=lambda *message: said.append(message))
    )
    ((phase, _, memory),) = said
    assert (phase, memory["peak_allocated_bytes"], memory["peak_reserved_bytes"]) == ("forward", 90, 120)


def test_a_trial_on_the_processor_has_none(make_plan):
    (trial,) = runner.run(make_plan(trainers=("lowmem",)), Quiet(), lambda document: None).trials
    assert (trial.accelerator, trial.memory.accelerator) == (None, None)


@pytest.mark.parametrize(
    ("phase", "reached"),
    [("setup", 40), ("forward", 70), ("backward", 70), ("update", 70), ("evaluate", 70)],
)
def test_what_was_reached_when_memory_ran_out_is_kept(run, phase, reached):
    (trial,) = run(settings={"fail_at": phase, "fail_how": "memory"}).trials
    assert (trial.outcome, trial.reason) == ("out_of_memory", "deliberately out of memory")
    assert trial.memory.accelerator.training_peak_bytes == reached * MIB
    assert trial.accelerator == GPU


def test_a_worker_that_could_say_nothing_has_a_reason(run):
    (trial,) = run(settings={"fail_at": "setup", "fail_how": "kill"}).trials
    memory = trial.memory.accelerator
    assert (trial.outcome, memory.training_peak_bytes, memory.by_phase) == ("error", None, {})
    assert "SIGKILL" in memory.reason
    assert trial.accelerator == GPU  # as the plan found it


# The ceiling.


def test_the_allocator_there_keeps_the_ceiling_and_the_host_has_none(run):
    document = run(ceiling_bytes=30 * MIB, held={"forward": 20})
    (trial,) = document.trials
    assert (trial.outcome, trial.reason) == ("ok", None)
    ceiling = trial.memory.ceiling
    assert (ceiling.limit_bytes, ceiling.mechanism) == (
        30 * MIB,
        "torch.cuda.set_per_process_memory_fraction",
    )
    assert document.device.memory_limit_bytes is None
    (trial,) = run(ceiling_bytes=27 * MIB, held={"forward": 20}).trials
    assert (trial.outcome, trial.reason) == ("out_of_memory", "the device refused memory")
    assert trial.memory.accelerator.training_peak_bytes == 0  # what was refused was never held


def test_the_host_s_peak_is_not_held_to_it(run):
    (trial,) = run(ceiling_bytes=9 * MIB, held={}, settings={"hold_bytes": 64 * MIB}).trials
    assert (trial.outcome, trial.memory.peak_rss_bytes > 64 * MIB) == ("ok", True)


def test_running_out_there_exits_3(make_plan, there, harness_main, monkeypatch, tmp_path):
    monkeypatch.setattr(planning, "_settings", with_taken(planning._settings))
    run = ("run", *SMALL, "--trainer", "lowmem", "--accelerator", "cuda", "--json", tmp_path / "run.json")
    assert harness_main(*run, "--ceiling", "60MiB").status == 3
    assert store.read(tmp_path / "run.json").trials[0].outcome == "out_of_memory"
    ended = harness_main(*run, "--ceiling", "100MiB")
    assert ended.status == 0
    assert "mlp-mnist: torch on Pretended GPU, adam" in ended.out
    assert "lowmem" in ended.out and " 70.00 " in ended.out
    assert "peak: of Pretended GPU's memory, the most that torch's allocator had handed out" in ended.out


def with_taken(settings_of):
    return lambda *arguments: settings_of(*arguments) | taken(THERE)


# Checkpoints.


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("cpu", "cuda", "accelerator was cpu, now it is cuda"),
        ("cuda", "cpu", "accelerator was cuda, now it is cpu"),
        ("cuda", "cuda:1", None),
    ],
)
def test_a_checkpoint_goes_on_where_its_generator_is_known(make_plan, there, tmp_path, before, after, words):
    given = {"checkpoint": tmp_path / "kept", "trainers": ("lowmem",)}
    (trial,) = make_plan(**given, accelerator=before).trials
    head = {"fingerprint": checkpoints.fingerprint(trial), "step": 3}
    checkpoint.write(trial.checkpoint.path, head, [])
    if words is None:
        assert make_plan(**given, accelerator=after, resume=True).trials[0].resumed_at == 3
        return
    with pytest.raises(UsageError, match=words):
        make_plan(**given, accelerator=after, resume=True)


def test_the_fingerprint_of_a_training_on_the_processor_is_that_of_before(make_plan):
    assert "accelerator" not in checkpoints.fingerprint(make_plan().trials[0])
