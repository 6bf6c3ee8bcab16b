"""Documents of a pretended engine, and a baseline of them."""

import pytest

from harness import runner
from harness.display import Quiet
from results import store

MIB = 1 << 20


@pytest.fixture(scope="module")
def texts():
    """What each pretended run gave, so that every test here shares a few runs and changes only its own copy."""
    return {}


@pytest.fixture
def measure(make_plan, tmp_path, monkeypatch, texts):
    """Return a function: settings of the pretended engine → the file of three repeats of both trainers."""
    monkeypatch.chdir(tmp_path)

    def run(name, **settings):
        key = tuple(settings.items())
        if key not in texts:
            settings = {"hold_bytes": 24 * MIB, "burst_bytes": 2 * MIB} | settings
            plan = make_plan(settings=settings, allocator="pinned", repeats=3, warmup=1)
            texts[key] = store.dumps(runner.run(plan, Quiet(), lambda document: None))
        document = store.loads(texts[key])
        # On a shared machine three steps show no time, and others may be busy; that is not what is tested here.
        for trial in document.trials:
            trial.time.step_s.median = 0.005
            trial.validity.others_window = None
        store.write(document, tmp_path / name)
        return tmp_path / name

    return run


@pytest.fixture
def recorded(measure, harness_main):
    """A baseline of a quiet run, and the run."""
    path = measure("before.json")
    ended = harness_main("baseline", "update", path, "--reason", "first recorded")
    assert ended.status == 0, ended.err
    return path
