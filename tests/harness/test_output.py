"""A document whose standard output is closed, full, or without a reader; and names of what is open already."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import started

RUN = "run --steps 2 --warmup 1 --repeats 1 --meter none --idle 0 --test-items 10 --trainer lowmem"
FAKES = Path(__file__).parents[1] / "fakes"
# The command line with the pretended engine, which is installed everywhere.
PROGRAM = f"""
import sys
from harness import cli, plan, runner
from workloads.registry import Engine
engine = Engine("torch", "pretended", "pretend_engine", ("standard", "lowmem"), ("mlp",))
plan.registry.engine_for = lambda row, trainer, wanted, settings: engine
worker = "import sys; sys.path.append({str(FAKES)!r}); from harness.worker import main; main()"
runner.worker_command = lambda *_: [sys.executable, "-P", "-c", worker]
cli.main()
"""


def shell(tmp_path, script):
    """Run a line of bash in which HARNESS is the program, with the temporary folder beside it."""
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "temporary").mkdir(exist_ok=True)
    return subprocess.run(
        ["bash", "-c", script.replace("HARNESS", f"{sys.executable} -P program.py")],
        cwd=tmp_path,
        env=started.environment(tmp_path) | {"TMPDIR": str(tmp_path / "temporary")},
        capture_output=True,
        text=True,
        timeout=110,
    )


@pytest.mark.parametrize(
    "script", [f"HARNESS {RUN} --json - > /dev/full", f"set -o pipefail; HARNESS {RUN} --json - | true"]
)
def test_what_cannot_be_printed_is_kept(tmp_path, script):
    result = shell(tmp_path, script)
    (kept,) = (tmp_path / "temporary").glob("harness-*/run.json")
    assert len(json.loads(kept.read_text())["trials"]) == 1
    assert f"the document is in {kept}" in result.stderr
    assert (result.returncode, "Traceback" in result.stderr) == (1, False)


@pytest.mark.parametrize(
    "verb",
    [f"{RUN} --json -", f"{RUN} --json /dev/stdout", "model mlp-mnist --json -", "list trainers --json"],
)
def test_a_closed_standard_output_is_said_before_anything_runs(tmp_path, verb):
    result = shell(tmp_path, f"HARNESS {verb} >&-")
    assert result.stderr == "harness: error: cannot write to standard output: it is closed\n"
    assert result.returncode == 1


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_names_of_standard_output_add_to_a_redirected_file(tmp_path, name):
    result = shell(tmp_path, f"{{ echo earlier; HARNESS {RUN} --json {name}; }} > log")
    assert result.returncode == 0, result.stderr
    first, _, document = (tmp_path / "log").read_text().partition("\n")
    assert (first, len(json.loads(document)["trials"])) == ("earlier", 1)


def test_a_pipe_gets_one_document(tmp_path):
    result = shell(
        tmp_path, f"HARNESS {RUN} --json >(cat > copy; touch done) >&2; until [ -e done ]; do sleep .1; done"
    )
    assert (result.returncode, len(json.loads((tmp_path / "copy").read_text())["trials"])) == (0, 1)


@pytest.mark.parametrize("where", ["2> /dev/full", "2> >(true)", "2>&-"])
def test_progress_that_cannot_be_shown_ends_nothing(tmp_path, where):
    result = shell(tmp_path, f"HARNESS {RUN} --json a.json {where}")
    assert (result.returncode, len(json.loads((tmp_path / "a.json").read_text())["trials"])) == (0, 1)
