"""Workers that misbehave in every way: there is always a report, and never a process left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.ceilings import Watchdog
from harness.errors import WorkerError
from harness.messages import Progress
from harness.supervisor import Supervisor

SAY = "import os, sys, time; say = lambda text: os.write(int(os.environ['HARNESS_MESSAGES_FD']), text)\n"
DONE = 'say(b\'{"type":"done"}\\n\')\n'


END = '{"type":"window","event":"end","t_ns":1}'
PEAK = '{"type":"peak","phase":"evaluate","t_ns":1,"rss_bytes":1,"peak_rss_bytes":1,"anon_bytes":1,"file_bytes":0}'


def supervise(program, job=None, **options):
    options.setdefault("silence_s", 10.0)
    environment = {"PATH": os.environ["PATH"]}
    return Supervisor(
        [sys.executable, "-c", SAY + program], job or {"key": "value"}, environment, **options
    ).run()


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state != "Z"  # an orphan waits for the machine's init to reap it


def test_a_worker_that_does_its_work_is_ok():
    assert supervise(DONE).outcome == "ok"


def test_the_job_arrives_on_standard_input():
    ending = supervise("import json; assert json.load(sys.stdin) == {'key': 'value'}\n" + DONE)
    assert ending.outcome == "ok", ending.reason


def test_messages_arrive_in_order_and_prints_break_nothing():
    heard = []
    program = 'print(\'{"type":"done"}\', flush=True)\nfor i in range(100):\n'
    program += '    say(b\'{"type":"progress","step":%d,"steps":9,"loss":null}\\n\' % i)\n'
    ending = supervise(program + DONE, on_message=lambda message, pid: heard.append(message))
    assert ending.outcome == "ok"
    assert heard[:-1] == [Progress(i, 9, None) for i in range(100)]


@pytest.mark.parametrize("repeats", [True, False])
def test_what_is_resident_while_phases_are_repeated_is_no_peak_of_the_trial(repeats):
    program = "time.sleep(0.3)\n"
    program += (
        "say(b'"
        + END
        + "\\n')\nsay(b'"
        + PEAK
        + "\\n')\ntime.sleep(0.1)\nheld = b'1' * (200 << 20)\ntime.sleep(0.3)\n"
        + DONE
    )
    ending = supervise(program, job={"phase_s": 3.0 if repeats else 0.0})
    assert ending.outcome == "ok", ending.reason
    assert (ending.highest.peak_rss_bytes < 200 << 20) is repeats


def test_a_flood_of_prints_is_read_and_forgotten():
    assert supervise("sys.stdout.write('x' * 50_000_000)\n" + DONE).outcome == "ok"


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("raise ValueError('so it goes')", "status 1: ValueError: so it goes"),
        ("os._exit(7)", "status 7: it printed nothing"),
        (
            "os.kill(os.getpid(), 9)",
            "ended by SIGKILL: by hand, or by the kernel for want of memory; --ceiling",
        ),
        ("os.kill(os.getpid(), 11)", "ended by SIGSEGV"),
        ("pass", "status 0: it printed nothing"),
        ("say(b'nonsense\\n')\ntime.sleep(60)", "no message"),
        ('say(b\'{"type":"unknown"}\\n\')\ntime.sleep(60)', "no message"),
        (
            'say(b\'{"type":"failure","outcome":"out_of_memory","reason":"full","detail":""}\\n\')',
            "full",
        ),
    ],
)
def test_a_worker_that_fails_has_an_outcome_and_a_reason(program, reason):
    ending = supervise(program)
    assert ending.outcome in ("error", "out_of_memory")
    assert reason in ending.reason


def test_a_hung_worker_is_ended_after_its_silence():
    pids = []
    program = 'say(b\'{"type":"progress","step":0,"steps":1,"loss":0}\\n\')\ntime.sleep(600)'
    begun = time.monotonic()
    ending = supervise(program, silence_s=0.5, on_message=lambda message, pid: pids.append(pid))
    assert ending.outcome == "error"
    assert "no sign of life for 0.5 s" in ending.reason
    assert time.monotonic() - begun < 10
    assert not alive(pids[0])


def test_what_a_worker_started_ends_with_it(tmp_path):
    note = tmp_path / "pid"
    program = "import subprocess\nchild = subprocess.Popen(['sleep', '600'])\n"
    program += f"open({str(note)!r}, 'w').write(str(child.pid))\n" + DONE
    assert supervise(program).outcome == "ok"
    deadline = time.monotonic() + 5
    while alive(int(note.read_text())) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not alive(int(note.read_text()))


def test_a_worker_dies_with_its_parent(tmp_path):
    note = tmp_path / "pid"
    worker = f"open({str(note)!r}, 'w').write(str(os.getpid()))\nsay(b'\\n')\ntime.sleep(600)"
    parent = (
        "import os, sys\nfrom harness.supervisor import Supervisor\n"
        f"Supervisor([sys.executable, '-c', {SAY + worker!r}], {{}}, dict(os.environ), silence_s=100.0).run()"
    )
    process = subprocess.Popen([sys.executable, "-c", parent])
    deadline = time.monotonic() + 10
    while not (note.exists() and note.read_text()) and time.monotonic() < deadline:
        time.sleep(0.01)
    worker_pid = int(note.read_text())
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    while alive(worker_pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not alive(worker_pid)


def test_the_watchdog_ends_a_worker_at_the_ceiling():
    program = "held = []\nwhile True:\n    held.append(b'x' * (1 << 20))\n    time.sleep(0.001)"
    ending = supervise(program, ceiling=Watchdog(64 << 20))
    assert ending.outcome == "out_of_memory"
    assert "ceiling of 64.0 MiB (watchdog)" in ending.reason
    assert ending.highest.peak_rss_bytes < 128 << 20


def test_a_small_ceiling_is_shown_in_its_own_unit():
    ending = supervise("time.sleep(10)", ceiling=Watchdog(1 << 10))
    assert "ceiling of 1.0 KiB (watchdog)" in ending.reason


def test_a_program_that_cannot_be_started_says_so(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(WorkerError, match="cannot start a worker"):
        supervise("pass")
