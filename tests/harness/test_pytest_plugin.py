"""The plugin, run by pytest in a process of its own with a pretended engine, as a user's project would."""

import itertools
import json
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

MIB = 1 << 20
FAKES = Path(__file__).parents[1] / "fakes"
EXAMPLE = Path(__file__).parents[2] / "examples" / "pytest_project"
# A source tree that is on the path without being installed has no entry points.
INSTALLED = any(each.name == "harness" for each in metadata.entry_points(group="pytest11"))
PLUGIN = ("-p", "harness.pytest_plugin")

CONFTEST = f"""
import json, os, sys
import msgspec
from harness import plan as planning, runner
from workloads.registry import Engine

PROGRAM = "import sys; sys.path.append({str(FAKES)!r}); from harness.worker import main; main()"
runner.worker_command = lambda *_: [sys.executable, "-P", "-c", PROGRAM]
ENGINE = Engine("torch", "pretended", "pretend_engine", ("standard", "lowmem"), ("mlp",))
planning.registry.engine_for = lambda *_: ENGINE
build = planning.build


def with_settings(options):
    plan = build(options)
    settings = json.loads(os.environ["PRETEND"])
    trials = [msgspec.structs.replace(each, settings=each.settings | settings) for each in plan.trials]
    return msgspec.structs.replace(plan, trials=tuple(trials))


planning.build = with_settings
"""


@pytest.fixture
def project(pytester, monkeypatch):
    """Return a function: a test file, settings of the pretended engine → pytest's result on it."""
    pytester.makeconftest(CONFTEST)
    monkeypatch.setenv("TMPDIR", str(pytester.path))
    monkeypatch.delenv("PYTEST_XDIST_WORKER_COUNT", raising=False)
    # Other plugins take a second to load; that ours is found by its entry point is for the example project to show.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run(source, *arguments, **settings):
        monkeypatch.setenv("PRETEND", json.dumps(settings))
        pytester.makepyfile(source)
        return pytester.runpytest_subprocess("-p", "no:cacheprovider", *PLUGIN, *arguments)

    return run


def test_a_ceiling_that_holds_passes_and_says_what_was_measured(project):
    result = project(
        """
        import pytest

        @pytest.mark.memory_ceiling("64 MiB", workload="mlp-mnist", trainer="lowmem")
        def test_it_fits(harness):
            assert harness.trial.memory.ledger_by_variable == {"W": 16 << 20}
            assert harness.trial.memory.training_peak_bytes >= 16 << 20
        """,
        "--strict-markers",
        hold_bytes=16 * MIB,
    )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["*memory measured by harness*", "*test_it_fits: mlp-mnist lowmem (torch, batch 100): peak *"]
    )


def test_a_broken_ceiling_fails_before_the_test_with_the_variables(project, pytester):
    result = project(
        """
        import pytest

        @pytest.mark.memory_ceiling("64 MiB", workload="mlp-mnist")
        def test_it_fits():
            print("not reached")
        """,
        "--junit-xml=report.xml",
        hold_bytes=80 * MIB,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*above the worker's ceiling of 64.0 MiB; its largest variables: W 80.0 MiB*"]
    )
    result.stdout.no_fnmatch_line("*not reached*")
    properties = ET.parse(pytester.path / "report.xml").getroot().iter("property")
    kept = {each.get("name"): each.get("value") for each in properties}
    assert int(kept["harness.peak_rss_bytes"]) > 80 * MIB
    assert int(kept["harness.ceiling_bytes"]) == 64 * MIB


def test_a_ceiling_of_the_training_leaves_out_what_the_engine_holds(project):
    result = project(
        """
        import pytest

        @pytest.mark.memory_ceiling("20 MiB", workload="mlp-mnist", of="training")
        def test_above():
            pass

        @pytest.mark.memory_ceiling("28 MiB", workload="mlp-mnist", of="training")
        def test_below(harness):
            assert harness.trial.memory.peak_rss_bytes > 28 << 20
        """,
        hold_bytes=24 * MIB,
    )
    result.assert_outcomes(passed=1, failed=1)


def test_the_fixture_measures_what_it_is_asked(project):
    result = project(
        """
        import pytest

        def test_two(harness):
            with pytest.raises(LookupError, match="nothing has been measured"):
                harness.trial
            small = harness.measure(workload="mlp-mnist", batch_size=10)
            large = harness.measure(workload="mlp-mnist", batch_size=1000, steps=1)
            grown = large.memory.training_peak_bytes - small.memory.training_peak_bytes
            assert abs(grown - 990 * (16 << 10)) < 2 << 20
            assert harness.trial is large
        """,
        item_bytes=16 << 10,
    )
    result.assert_outcomes(passed=1)


def test_epochs_take_the_place_of_the_default_steps(project):
    result = project(
        """
        import pytest

        @pytest.mark.memory_ceiling("64 MiB", workload="mlp-mnist", epochs=1, batch_size=1000)
        def test_an_epoch(harness):
            assert harness.trial.settings["epochs"] == 1
            assert harness.trial.settings["steps"] == 10
        """
    )
    result.assert_outcomes(passed=1)


MISTAKES = {
    "'64 MiB', workload='mlp-mnist', epochs=1, steps=2": "*--steps and --epochs exclude each other*",
    "'64 MiB', workload='nonsense'": "*unknown workload 'nonsense'*",
    "'much', workload='mlp-mnist'": "*'much' is not a size*",
    "'64 MiB', workload='mlp-mnist', nonsense=1": "*unknown option 'nonsense'; there is: accumulate, allocator,*",
    "'64 MiB', workload='mlp-mnist', accelerator='cuda'": "*unknown option 'accelerator'; there is*",
    "'64 MiB', workload='mlp-mnist', of='pytest'": "*of 'worker' or 'training', not 'pytest'*",
    "'64 MiB'": "*missing a required*argument: 'workload'; it is memory_ceiling(size*",
}


def test_a_mistaken_marker_is_one_line(project):
    tests = [
        f"@pytest.mark.memory_ceiling({arguments})\ndef test_{number}():\n    pass\n"
        for number, arguments in enumerate(MISTAKES)
    ]
    result = project("\n".join(["import pytest\n", *tests]))
    result.assert_outcomes(failed=len(MISTAKES))
    # In this order: each message under the heading of its own test.
    headings = [f"*_ test_{number} _*" for number in range(len(MISTAKES))]
    result.stdout.fnmatch_lines(
        [line for pair in zip(headings, MISTAKES.values(), strict=True) for line in pair]
    )
    result.stdout.no_fnmatch_line("*Traceback*")


def test_a_trial_that_fails_fails_its_test_with_the_reason(project):
    result = project(
        """
        import pytest

        @pytest.mark.memory_ceiling("64 MiB", workload="mlp-mnist")
        def test_it():
            pass
        """,
        fail_at="forward",
        fail_how="raise",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*error: RuntimeError: deliberate*"])


def test_a_peak_that_was_not_measured_fails_with_the_reason(monkeypatch, request):
    from harness import pytest_plugin

    memory = SimpleNamespace(peak_rss_bytes=None, training_peak_bytes=None, reason="no kernel keeps it")
    names = {"workload": "mlp-mnist", "trainer": "lowmem", "engine": "native", "batch_size": 100}
    trial = SimpleNamespace(outcome="ok", memory=memory, **names)
    monkeypatch.setattr(pytest_plugin, "_run", lambda *_: trial)
    bench = pytest_plugin.Bench(request.node)
    with pytest.raises(pytest.fail.Exception, match="peak not measured: no kernel keeps it"):
        bench.hold("64 MiB", workload="mlp-mnist")


@pytest.mark.skipif(find_spec("xdist") is None, reason="pytest-xdist is not installed")
def test_under_xdist_trials_take_turns_and_say_who_ran_beside_them(project, pytester):
    """Each trial takes a second of steps; the windows that the workers report must not overlap."""
    result = project(
        """
        import json, os, time
        import pytest

        @pytest.mark.parametrize("number", range(4))
        def test_it(harness, number, monkeypatch):
            from harness import runner
            run_trial, spans = runner.run_trial, []

            def timed(*arguments):
                begin = time.monotonic()
                trial = run_trial(*arguments)
                spans.append((begin, time.monotonic()))
                return trial

            monkeypatch.setattr(runner, "run_trial", timed)
            trial = harness.measure(workload="mlp-mnist")
            assert "beside 1 other test processes" in trial.validity.notes[-1]
            with open(os.environ["SPANS"], "a") as file:
                file.write(json.dumps(spans[0] + (os.environ["PYTEST_XDIST_WORKER"],)) + "\\n")
        """,
        *("-p", "xdist", "-n2"),
        step_s=0.2,
    )
    result.assert_outcomes(passed=4)
    lines = (pytester.path / "spans").read_text().splitlines()
    spans = sorted(json.loads(line) for line in lines)
    assert {worker for _, _, worker in spans} == {"gw0", "gw1"}
    assert all(end <= begin for (_, end, _), (begin, _, _) in itertools.pairwise(spans))
    assert len([line for line in result.outlines if "mlp-mnist lowmem (torch" in line]) == 4


@pytest.fixture(autouse=True)
def _spans(pytester, monkeypatch):
    monkeypatch.setenv("SPANS", str(pytester.path / "spans"))


def test_loading_the_plugin_imports_nothing_heavy(tmp_path):
    program = (
        "import sys, harness.pytest_plugin\n"
        "heavy = {'torch', 'numpy', 'rich', 'msgspec', 'psutil', 'click', 'harness.plan', 'results', 'power'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    shown = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, cwd=tmp_path
    )
    assert shown.stdout.strip() == "[]", shown.stderr


@pytest.mark.torch
@pytest.mark.timeout(400)
def test_the_example_project_passes(tmp_path, one_processor):
    shutil.copytree(EXAMPLE, tmp_path / "project")
    result = subprocess.run(
        [sys.executable, "-P", "-m", "pytest", "-p", "no:cacheprovider", *(() if INSTALLED else PLUGIN)],
        cwd=tmp_path / "project",
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout
    assert "3 passed" in result.stdout
    assert result.stdout.count("peak ") >= 4
