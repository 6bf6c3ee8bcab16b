"""Documents to test with: small, complete, and made from the types themselves."""

import io
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from results.schema import (
    Device,
    Document,
    Energy,
    Estimate,
    HarnessInfo,
    Host,
    Memory,
    Quality,
    Time,
    Trial,
    Validity,
)

MIB = 2**20
# Bytes a variable of the MLP on MNIST, batch 100, Adam: large enough to tell the trainers apart.
VARIABLES = {
    "standard": {"X": 400_000, "dX_Y": 313_600, "dY": 313_600, "W": 3_000_000, "momenta": 6_000_000},
    "lowmem": {"X": 12_500, "dX_Y": 156_800, "dY": 156_800, "W": 1_500_000, "momenta": 3_000_000},
}


def make_trial(
    trainer: str = "standard", repeat: int = 0, step_s: float = 0.010, peak: int = 90 * MIB, **changes: Any
) -> Trial:
    """A finished trial of the MLP; `changes` replaces whole fields."""
    by_variable = VARIABLES.get(trainer, VARIABLES["lowmem"])
    fields: dict[str, Any] = {
        "workload": "mlp-mnist",
        "model": "mlp",
        "dataset": "mnist",
        "dataset_variant": "sample",
        "trainer": trainer,
        "engine": "torch",
        "optimizer": "adam",
        "batch_size": 100,
        "threads": 2,
        "seed": repeat,
        "repeat": repeat,
        "outcome": "ok",
        "reason": None,
        "time": Time(
            step_s=Estimate(median=step_s, ci95=(step_s * 0.98, step_s * 1.03), n=60),
            forward_s=step_s * 0.3,
            backward_s=step_s * 0.5,
            update_s=step_s * 0.15,
            data_s=step_s * 0.05,
            steps_s=[step_s * (1 + 0.01 * (i % 5 - 2)) for i in range(60)],
        ),
        "memory": Memory(
            baseline_rss_bytes=200 * MIB,
            peak_rss_bytes=200 * MIB + peak,
            training_peak_bytes=peak,
            by_phase={"setup": 205 * MIB, "forward": 240 * MIB, "backward": 200 * MIB + peak},
            modelled_bytes=sum(by_variable.values()),
            modelled_by_variable=dict(by_variable),
            ledger_by_variable=dict(by_variable),
            allocator="pinned",
        ),
        "energy": [Energy.unavailable("rapl", "package-0", "no powercap zone under /sys/class/powercap")],
        "quality": Quality(train_loss=[2.3, 1.1, 0.7], test_accuracy=0.97, test_items=10_000),
        "validity": Validity(throttled=False, load=0.1),
        "wall_s": 3.0,
        "settings": {"learning_rate": 1e-3, "schedule": "cosine", "steps": 60, "ste_mask": True},
    }
    return Trial(**(fields | changes))


def make_host(**changes: Any) -> Host:
    """The host of the tests."""
    fields: dict[str, Any] = {
        "machine": "x86_64",
        "cpu": "Test CPU @ 2.0 GHz",
        "cores": 2,
        "memory_bytes": 8 * 2**30,
        "kernel": "6.1.0",
        "python": "3.11.7",
        "libc": "glibc 2.36",
        "governor": None,
        "page_size_bytes": 4096,
        "load_before": 0.1,
        "temperature_c": None,
        "libraries": {"torch": "2.13.0"},
        "reasons": {"governor": "no cpufreq here", "temperature_c": "no thermal zone"},
    }
    return Host(**(fields | changes))


def make_document(trials: list[Trial] | None = None, **changes: Any) -> Document:
    """A document of both trainers, three interleaved repeats each."""
    if trials is None:
        trials = []
        for repeat in range(3):
            trials.append(make_trial("standard", repeat, 0.010 + repeat * 1e-4, 90 * MIB))
            trials.append(make_trial("lowmem", repeat, 0.012 + repeat * 1e-4, 40 * MIB))
    fields: dict[str, Any] = {
        "created": datetime(2026, 11, 12, 9, 30, tzinfo=UTC),
        "harness": HarnessInfo(version="0.1.0", native=None),
        "host": make_host(),
        "device": Device(
            requested="auto", profile="host", detected=None, emulated=False, memory_limit_bytes=None
        ),
        "trials": trials,
    }
    return Document(**(fields | changes))


def make_energy(net_j_per_step: float = 0.136, **changes: Any) -> Energy:
    """A measured row over 100 steps."""
    fields: dict[str, Any] = {
        "meter": "rapl",
        "domain": "package-0",
        "gross_j": net_j_per_step * 100 + 5.0,
        "idle_j": 5.0,
        "net_j": net_j_per_step * 100,
        "net_j_per_step": net_j_per_step,
        "uncertainty_j": 0.5,
        "rate_hz": 900.0,
        "provenance": "measured",
        "reason": None,
    }
    return Energy(**(fields | changes))


def make_failed(trainer: str = "lowmem", repeat: int = 0, **changes: Any) -> Trial:
    """A trial killed at its ceiling before anything was measured."""
    fields: dict[str, Any] = {
        "outcome": "out_of_memory",
        "reason": "killed at the ceiling of 64 MiB",
        "time": Time.unavailable("no step was finished"),
        "memory": Memory.unavailable("killed before the first mark", allocator="pinned"),
        "quality": Quality(train_loss=[], test_accuracy=None, test_items=0, reason="not trained"),
    }
    return make_trial(trainer, repeat, **(fields | changes))


def render(renderable: Any, width: int = 80, colour: bool = False) -> str:
    """What a terminal of `width` columns shows."""
    console = Console(
        width=width, file=io.StringIO(), force_terminal=colour, no_color=not colour, _environ={}
    )
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.fixture
def energy() -> Callable[..., Energy]:
    return make_energy


@pytest.fixture
def failed() -> Callable[..., Trial]:
    return make_failed


@pytest.fixture
def shown() -> Callable[..., str]:
    return render


@pytest.fixture
def trial() -> Callable[..., Trial]:
    return make_trial


@pytest.fixture
def host() -> Callable[..., Host]:
    return make_host


@pytest.fixture
def document() -> Callable[..., Document]:
    return make_document
