"""What others took of the processors: told apart from our own work, whatever the load average says."""

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness import others, runner
from harness.display import Quiet
from harness.messages import WindowEdge
from harness.others import OthersWatch, Reading, between, look, read
from results.schema import Validity

# By its own processor time: by the clock, a busy machine may end it before it has spun at all.
SPIN = "import time\nend = time.process_time() + {}\nwhile time.process_time() < end: pass"


@contextmanager
def spinning(seconds, *, ours):
    """Keep a processor busy from a child, or from a process that is not of our tree."""
    command = [sys.executable, "-c", SPIN.format(seconds)]
    if ours:
        process = subprocess.Popen(command)
        await_spin(process.pid)
        yield process.pid
        process.kill()
        process.wait()
        return
    # Output of its own: with one of ours, `run` would wait for the pipe until the spinning has ended.
    double_fork = (
        "import subprocess; nowhere = subprocess.DEVNULL\n"
        f"print(subprocess.Popen({command!r}, stdout=nowhere, stderr=nowhere).pid)"
    )
    pid = int(subprocess.run([sys.executable, "-c", double_fork], capture_output=True, check=True).stdout)
    await_spin(pid)
    yield pid
    os.kill(pid, 9)


def await_spin(pid):
    """Wait until a process has taken 0.1 s: on a busy machine an interpreter may be half a second in starting."""
    give_up_s = time.monotonic() + 30
    while time.monotonic() < give_up_s:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        if (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") >= 0.1:
            return
        time.sleep(0.01)
    pytest.fail("the process that is to spin does not")


def stretch(seconds, worker=None):
    begin = read(worker)
    time.sleep(seconds)
    return between(begin, read(worker))


def test_what_another_program_takes_is_the_others():
    with spinning(30, ours=False):
        use = stretch(0.5)
    assert use.others_s > 0.2  # it shares the processors with whatever else runs here
    assert use.own_s < 0.1


def test_what_our_worker_takes_is_ours():
    with spinning(30, ours=True) as worker:
        time.sleep(0.1)
        use = stretch(0.5, worker)
    assert use.own_s > 0.1
    assert use.own_s + use.others_s <= use.cores * use.duration_s + use.resolution_s


def test_a_worker_that_has_ended_stays_ours():
    begin = read()
    with spinning(0.3, ours=True) as worker:
        os.waitid(os.P_PID, worker, os.WEXITED | os.WNOWAIT)
        assert read(worker).own_s - begin.own_s > 0.02
    assert read().own_s - begin.own_s > 0.02


def test_what_this_process_does_itself_is_ours():
    begin, end = read(), time.process_time() + 0.2
    while time.process_time() < end:
        pass
    assert between(begin, read()).own_s >= 0.2


def test_busy_less_own_is_the_others():
    use = between(Reading(0.0, 4, 100.0, 5.0, 10.0), Reading(2.0, 4, 103.0, 5.5, 12.0))
    assert (use.duration_s, use.cores, use.own_s, use.others_s, use.stolen_s) == (2.0, 4, 2.0, 3.0, 0.5)


def test_rounding_of_the_accounts_is_not_less_than_nothing():
    assert between(Reading(0.0, 2, 0.0, 0.0, 0.0), Reading(1.0, 2, 1.0, 0.0, 1.01)).others_s == 0.0


@pytest.fixture
def accounts(monkeypatch):
    """Return a list of readings that stand for the machine's, taken one after the other."""
    readings = []
    monkeypatch.setattr(others, "read", lambda worker=None: readings.pop(0))
    return readings


def window(watch, begin_ns=0, end_ns=1):
    watch.hear(WindowEdge("ready", 0), 1)
    watch.hear(WindowEdge("begin", begin_ns), 1)
    watch.hear(WindowEdge("end", end_ns), 1)
    return watch.judge(Validity(throttled=None, load=0.0))


def test_our_own_shadow_is_not_called_busy(accounts):
    accounts[:] = [Reading(0.0, 2, 0.0, 0.0, 0.0), Reading(1.0, 2, 0.02, 0.0, 1.97)]
    validity = window(OthersWatch(0.0))
    assert validity.notes == []
    assert validity.others_window.others_s == pytest.approx(0.01)
    assert (validity.others_before, validity.others_reason) == (
        None,
        "no look before the trial was asked for",
    )


def test_a_busy_window_is_noted(accounts):
    accounts[:] = [Reading(0.0, 2, 0.0, 0.0, 0.0), Reading(1.0, 2, 0.02, 0.0, 1.2)]
    assert window(OthersWatch(0.0)).notes == ["others kept the processors busy in the measured window"]


def test_a_window_too_short_to_tell_says_so(accounts):
    accounts[:] = [Reading(0.0, 2, 0.0, 0.0, 0.0), Reading(0.004, 2, 0.0, 0.0, 0.0)]
    validity = window(OthersWatch(0.0))
    assert validity.others_window is None
    assert "window of 0.004 s is too short" in validity.others_reason
    assert validity.notes == []


def test_without_accounts_the_reason_is_kept(monkeypatch, tmp_path):
    monkeypatch.setattr(others, "_STAT", tmp_path / "stat")
    watch = OthersWatch(0.01)
    with watch.idle():
        pass
    validity = window(watch)
    assert (validity.others_before, validity.others_window) == (None, None)
    assert "cannot be read" in validity.others_reason
    assert look(0.01) is None
    (tmp_path / "stat").write_text("cpu 1 2 3\n")
    with pytest.raises(ValueError, match="does not tell"):
        read()


def test_a_trial_that_died_before_its_window_says_so():
    watch = OthersWatch(0.02)
    with watch.idle():
        pass
    validity = watch.judge(Validity(throttled=None, load=0.0))
    assert validity.others_before.duration_s >= 0.02
    assert validity.others_reason == "the trial ended before its measured window did"


def test_a_run_keeps_both_stretches(make_plan):
    plan = make_plan({"step_s": 0.05}, idle_s=0.1, steps=6)
    use = list(runner.trials(plan, Quiet()))[1].validity
    assert use.others_reason is None
    assert use.others_before.duration_s >= 0.2
    assert use.others_window.duration_s >= 0.2  # of 0.3: a busy machine shows the parent the begin late
    assert use.others_window.own_s < 2 * use.others_window.duration_s
