"""Whole trials of the torch engine on a scripted torch.cuda: every border of a phase waits, reads and resets."""

import sys
from functools import cache
from pathlib import Path

import pytest

from harness import accelerators, runner
from harness import plan as planning
from harness.display import Quiet
from harness.supervisor import Supervisor
from results.schema import Accelerator

pytestmark = pytest.mark.torch

FAKES = Path(__file__).parents[1] / "fakes"
MIB = 1 << 20
BASE = 8 * MIB
GPU = Accelerator(
    device="cuda",
    name="as planned",
    total_bytes=1 << 30,
    compute_capability="9.0",
    cuda_version="12",
    driver_version="1",
)


@pytest.fixture(scope="module")
def trial_and_events():
    """Return a function: options → the trial, and what its worker called of torch.cuda, in order; once for each."""
    program = (
        f"import sys; sys.path.append({str(FAKES)!r}); from scripted_cuda import run_worker; run_worker()"
    )
    printed = []
    take = Supervisor._take_output

    def run(**options):
        given = {
            "trainers": ("lowmem",),
            "steps": 3,
            "warmup": 2,
            "repeats": 1,
            "meters": ("none",),
            "idle_s": 0.0,
            "threads": 1,  # beside other tests, several wait for each other by spinning
        }
        plan = planning.build(
            planning.Options(**given | {"test_items": 200, "accelerator": "cuda"} | options)
        )
        printed.clear()
        (trial,) = runner.run(plan, Quiet(), lambda document: None).trials
        return trial, b"".join(printed).decode().split()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accelerators, "probe", lambda name: GPU)
        patch.setattr(runner, "worker_command", lambda *_: [sys.executable, "-P", "-c", program])
        patch.setattr(
            Supervisor,
            "_take_output",
            lambda self, chunk, pid: (printed.append(chunk), take(self, chunk, pid)),
        )
        yield cache(run)


def test_every_phase_waits_reads_and_resets_in_that_order(trial_and_events):
    trial, events = trial_and_events()
    assert (trial.outcome, trial.reason) == ("ok", None)
    look, step = ["wait", *["read"] * 4], ["reset"]
    for _ in ("forward", "backward", "update"):
        step += [*look, "reset"]
    assert events == [
        *("set", "0", "wait"),  # the warm-up
        *look,  # the end of the library's phase
        *("reset", *look),  # set-up
        *step * 2,
        *("reset", *look),  # the measured steps: nothing is read between them
        *("reset", *look),  # evaluation
    ]


def test_each_phase_has_the_peak_since_its_own_reset(trial_and_events):
    trial, _ = trial_and_events()
    memory = trial.memory.accelerator
    resets = {"library": 0, "setup": 1, "forward": 6, "backward": 7, "update": 8, "train": 10, "evaluate": 11}
    assert {phase: each.allocated_bytes for phase, each in memory.by_phase.items()} == {
        phase: BASE + count * MIB for phase, count in resets.items()
    }
    assert (memory.baseline_bytes, memory.training_peak_bytes) == (BASE, 11 * MIB)
    assert memory.device_used_before_bytes == (1024 - 600) * MIB
    assert trial.accelerator.name == "Scripted GPU 0"  # in the worker's own words
    assert trial.memory.ledger_by_variable["W"] == trial.memory.modelled_by_variable["W"]


def test_the_ceiling_comes_before_anything_is_allocated(trial_and_events):
    trial, events = trial_and_events(ceiling_bytes=256 * MIB, steps=1, warmup=0)
    assert trial.memory.ceiling.mechanism == "torch.cuda.set_per_process_memory_fraction"
    assert events[:4] == ["set", "0", "limit", "wait"]
