"""What a worker of the native engine holds: every module it imports is measured memory."""

import json
import os
import subprocess
import sys
from importlib.util import cache_from_source
from pathlib import Path

import pytest

from harness import plan as planning
from harness import runner, worker, workers
from harness.display import Quiet
from workloads.engines.native import location

pytestmark = pytest.mark.skipif(location.missing() is not None, reason=str(location.missing()))

MIB = 1 << 20
# What the standard library has of weight, and what only the parent or the other engine needs.
TOO_LARGE = {
    "argparse", "dataclasses", "decimal", "email", "hashlib", "inspect", "ipaddress", "logging",
    "multiprocessing", "pathlib", "random", "selectors", "socket", "subprocess", "tempfile", "threading",
    "traceback", "typing", "urllib", "zipfile",
    "click", "msgspec", "numpy", "psutil", "rich", "torch", "power", "results", "harness.plan", "harness.runner",
    "harness.messages", "workloads.registry", "workloads.datasets.registry", "workloads.datasets.mnist",
}  # fmt: skip
# Prints the modules of a worker in an interpreter that imports nothing by itself.
PROGRAM = """
import sys
sys.path[:] = sys.argv[1].split(":")
from harness.worker import main
main()
print(*sorted(sys.modules))
"""


def plan_of(*trainers, **options):
    given = {"repeats": 1, "meters": ("none",), "engine": "native", "allocator": "pinned", "test_items": 200}
    return planning.build(planning.Options(trainers=trainers, **(given | {"idle_s": 0.0} | options)))


def modules_of(job):
    """Return the modules loaded once a worker has done its job, and what it told its parent."""
    read_end, write_end = os.pipe()
    environment = runner.worker_environment(1, "stock") | {"HARNESS_MESSAGES_FD": str(write_end)}
    path = ":".join(each for each in sys.path if each)
    done = subprocess.run(
        [sys.executable, "-B", "-I", "-S", "-c", PROGRAM, path],
        input=json.dumps(job).encode() + b"\n", env=environment, pass_fds=[write_end], capture_output=True, check=False,
    )  # fmt: skip
    os.close(write_end)
    with os.fdopen(read_end) as messages:
        said = [json.loads(line) for line in messages]
    assert done.returncode == 0, (said, done.stderr)
    return set(done.stdout.decode().split()), said


def is_or_is_in(module, packages):
    return any(module == package or module.startswith(package + ".") for package in packages)


@pytest.mark.parametrize("trainer", ["standard", "lean"])
def test_a_worker_imports_nothing_large(trainer):
    modules, said = modules_of(plan_of(trainer, steps=3, warmup=1).trials[0].job())
    assert said[-1] == {"type": "done"}
    assert "workloads.engines.native.training" in modules
    assert sorted(module for module in modules if is_or_is_in(module, TOO_LARGE)) == []
    assert not modules & {"harness.keeper", "workloads.checkpoint", "zlib"}  # this job keeps none
    assert "workloads.engines.accelerator" not in modules
    # Nor what augmentation, synthetic data, repeated phases and residual networks alone need.
    unused = {"workloads.datasets.augment", "harness.phases", "workloads.residual_memory"}
    assert not modules & (unused | {f"workloads.engines.native.{name}" for name in ("noise", "moves")})


def test_nor_does_one_that_keeps_checkpoints_and_one_that_resumes(tmp_path):
    options = {"steps": 3, "warmup": 1, "checkpoint": tmp_path / "kept", "checkpoint_every": 2}
    for resume in (False, True):
        modules, said = modules_of(plan_of("lowmem", resume=resume, **options).trials[0].job())
        assert said[-1] == {"type": "done"}
        assert "workloads.checkpoint" in modules
        assert sorted(module for module in modules if is_or_is_in(module, TOO_LARGE)) == []


def test_a_worker_starts_without_what_its_environment_has_others_import():
    program = "import sys; print(sorted({'_distutils_hack', 'runpy', 'importlib.util'} & set(sys.modules)))"
    command = [program if part == workers.WORKER else part for part in workers.worker_command()]
    assert program in command
    environment = workers.worker_environment(1, "stock")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(os.sysconf("SC_PAGE_SIZE") != 4096, reason="larger pages hold more")
@pytest.mark.skipif(
    not Path(cache_from_source(worker.__file__)).exists(), reason="the worker would compile itself"
)
@pytest.mark.parametrize("trainer", ["lowmem", "lowmem-q6", "lean", "lean8"])
def test_the_whole_worker_of_the_mlp_is_below_16_mib(trainer):
    plan = plan_of(trainer, steps=10)
    assert (plan.trials[0].batch_size, plan.trials[0].workload.name) == (100, "mlp-mnist")
    (trial,) = runner.run(plan, Quiet(), lambda document: None).trials
    assert trial.outcome == "ok", trial.reason
    if trial.memory.peak_rss_bytes is None:
        pytest.skip(str(trial.memory.reason))
    assert trial.memory.peak_rss_bytes < 16 * MIB
