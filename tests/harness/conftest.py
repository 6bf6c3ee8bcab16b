"""A plan of trials that a pretended engine runs, on the packaged sample."""

import sys
from pathlib import Path

import msgspec
import pytest

from harness import plan as planning
from harness import runner
from workloads.registry import Engine

FAKES = Path(__file__).parents[1] / "fakes"


@pytest.fixture
def pretend_worker(monkeypatch):
    """Let workers find the pretended engine, which no registry row names."""
    program = f"import sys; sys.path.append({str(FAKES)!r}); from harness.worker import main; main()"
    monkeypatch.setattr(runner, "worker_command", lambda: [sys.executable, "-P", "-c", program])


@pytest.fixture
def make_plan(pretend_worker, monkeypatch, tmp_path):
    """Return a function: settings of the pretended engine → a plan of two trainers on three steps."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    engine = Engine("torch", "pretended", "pretend_engine", ("standard", "lowmem"), ("mlp",))
    monkeypatch.setattr(planning.registry, "engine_for", lambda row, trainer, wanted: engine)

    def make(settings_of_second=None, **options):
        given = {"steps": 3, "warmup": 2, "repeats": 1, "meters": ("none",), "silence_s": 20.0} | options
        plan = planning.build(planning.Options(**given))
        first, second, *rest = plan.trials
        changed = msgspec.structs.replace(second, settings=second.settings | (settings_of_second or {}))
        return msgspec.structs.replace(plan, trials=(first, changed, *rest))

    return make
