"""A plan of trials that a pretended engine runs, on the packaged sample."""

import os
import sys
from collections import namedtuple
from pathlib import Path

import msgspec
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for `started`, plain functions that fixtures cannot be

from started import with_settings

from harness import cli, runner
from harness import plan as planning
from workloads.registry import Engine

FAKES = Path(__file__).parents[1] / "fakes"


@pytest.fixture
def pretend_worker(monkeypatch):
    """Let workers find the pretended engine, which no registry row names."""
    program = f"import sys; sys.path.append({str(FAKES)!r}); from harness.worker import main; main()"
    monkeypatch.setattr(runner, "worker_command", lambda *_: [sys.executable, "-P", "-c", program])


@pytest.fixture
def make_plan(pretend_worker, monkeypatch):
    """Return a function: settings of the pretended engine → a plan of two trainers on three steps."""
    engine = Engine("torch", "pretended", "pretend_engine", ("standard", "lowmem"), ("mlp",))
    monkeypatch.setattr(planning.registry, "engine_for", lambda row, trainer, wanted, settings: engine)

    def make(settings_of_second=None, *, settings=None, **options):
        given = {"steps": 3, "warmup": 2, "repeats": 1, "meters": ("none",), "silence_s": 20.0, "idle_s": 0.0}
        given |= options
        plan = planning.build(planning.Options(**given))
        trials = [with_settings(each, settings) for each in plan.trials]
        trials[1:2] = [with_settings(each, settings_of_second) for each in trials[1:2]]
        return msgspec.structs.replace(plan, trials=tuple(trials))

    return make


@pytest.fixture
def one_processor():
    """Let what the test starts see the processor it runs on alone: beside other tests, torch's threads spin in vain."""
    before = os.sched_getaffinity(0)
    after_name = Path("/proc/thread-self/stat").read_text().rpartition(")")[2].split()
    os.sched_setaffinity(0, {int(after_name[36])})  # field 39 of proc_pid_stat(5), the name being the second
    yield
    os.sched_setaffinity(0, before)


Ended = namedtuple("Ended", "status out err")


@pytest.fixture
def harness_main(monkeypatch, capsys):
    """Return a function: arguments → exit status and output of the command line, run in this process."""

    def invoke(*arguments, columns=120):
        monkeypatch.setattr(sys, "argv", ["harness", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", str(columns))
        with pytest.raises(SystemExit) as left:
            cli.main()
        return Ended(left.value.code, *capsys.readouterr())

    return invoke
