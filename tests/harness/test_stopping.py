"""SIGTERM and SIGHUP, as `timeout`, a cancelled job and a closed terminal send them, end a run as Ctrl-C does."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import started

from harness import ceilings

FAKES = Path(__file__).parents[1] / "fakes"
# The pretended engine's second trial takes for ever; its process number stands in a file. Under `nohup` the tests
# inherit that SIGHUP is ignored, which the program would then leave so.
PROGRAM = f"""
import signal
import sys
signal.signal(signal.SIGHUP, signal.SIG_DFL)
from harness import cli, plan, runner
from workloads.registry import Engine
import msgspec
engine = Engine("torch", "pretended", "pretend_engine", ("standard", "lowmem"), ("mlp",))
plan.registry.engine_for = lambda row, trainer, wanted, settings: engine
worker = "import sys; sys.path.append({str(FAKES)!r}); from harness.worker import main; main()"
runner.worker_command = lambda *_: [sys.executable, "-P", "-c", worker]
build = plan.build
def slow(options):
    made = build(options)
    first, *rest = made.trials
    rest = [msgspec.structs.replace(each, settings=each.settings | {{"step_s": 60.0}}) for each in rest]
    return msgspec.structs.replace(made, trials=(first, *rest))
plan.build = slow
cli.main()
"""
RUN = ["run", "--steps", "2", "--warmup", "1", "--repeats", "1", "--meter", "none", "--idle", "0"]


def start(tmp_path, *options):
    command = [sys.executable, "-P", "-c", PROGRAM, *RUN, "--test-items", "10", *options]
    return subprocess.Popen(
        command,
        cwd=tmp_path,
        env=started.environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def stop_in_the_second_trial(process, number):
    """Send the signal after the second trial's line and return what was printed."""
    for line in process.stderr:
        if line.startswith("[2/2]"):
            break
    time.sleep(0.5)
    process.send_signal(number)
    return process.communicate(timeout=30)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_what_was_measured_is_printed(tmp_path, number):
    process = start(tmp_path, "--json", "-")
    out, err = stop_in_the_second_trial(process, number)
    assert process.returncode == 128 + number
    assert [trial["trainer"] for trial in json.loads(out)["trials"]] == ["standard"]
    assert "interrupted; 1 ended trial kept" in err


def test_no_control_group_stays_behind(tmp_path):
    folders = [folder for _, folder in ceilings.memory_groups()]
    process = start(tmp_path, "--ceiling", "400MiB", "--json", "a.json")
    stop_in_the_second_trial(process, signal.SIGTERM)
    assert process.returncode == 128 + signal.SIGTERM
    assert not [left for folder in folders for left in folder.glob(f"harness-{process.pid}-*")]
    assert len(json.loads((tmp_path / "a.json").read_text())["trials"]) == 1


def test_nohup_stays_deaf_to_a_closed_terminal():
    from harness.stopping import StopSignals

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignals() as stop:
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert stop.status == 0


def test_a_second_signal_does_not_disturb_the_tidying_up():
    from harness.stopping import StopSignals

    with StopSignals() as stop:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGHUP)
    assert stop.status == 128 + signal.SIGTERM
