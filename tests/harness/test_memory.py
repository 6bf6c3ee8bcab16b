import mmap
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness import ceilings, memory
from harness.errors import LimitUnavailableError

MIB = 1 << 20


def test_status_is_read_in_bytes():
    text = (
        b"Name:\tx\nVmHWM:\t    1000 kB\nVmRSS:\t     900 kB\nRssAnon:\t     500 kB\nRssFile:\t     400 kB\n"
    )
    assert memory.parse_status(text) == memory.Residency(900 * 1024, 1000 * 1024, 500 * 1024, 400 * 1024)


def test_a_zombie_has_no_residency():
    assert memory.parse_status(b"Name:\tx\nState:\tZ (zombie)\n") is None


def test_a_process_that_is_gone_has_no_residency():
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    assert memory.read_residency(process.pid) is None


@pytest.mark.parametrize("size_mib", [1, 10, 64, 300])
def test_what_is_held_is_exact(size_mib):
    before = memory.read_residency()
    with mmap.mmap(-1, size_mib * MIB) as held:
        touch(held)
        after = memory.read_residency()
    assert abs(after.rss_bytes - before.rss_bytes - size_mib * MIB) <= 64 * 1024
    assert after.peak_rss_bytes >= after.rss_bytes


@pytest.mark.parametrize("size_mib", [64, 300])
def test_what_was_held_for_a_moment_is_the_peak_until_the_reset(size_mib):
    memory.reset_peak()
    before = memory.read_residency()
    with mmap.mmap(-1, size_mib * MIB) as held:
        touch(held)
    after = memory.read_residency()
    assert abs(after.rss_bytes - before.rss_bytes) <= 64 * 1024
    assert abs(after.peak_rss_bytes - before.rss_bytes - size_mib * MIB) <= 0.01 * size_mib * MIB
    memory.reset_peak()
    assert memory.read_residency().peak_rss_bytes - before.rss_bytes <= 512 * 1024


def test_a_sleeping_child_is_measured_as_itself_and_not_as_its_parent():
    with mmap.mmap(-1, 200 * MIB) as held:
        touch(held)
        process = subprocess.Popen(["sleep", "30"])
        try:
            await_sleep(process.pid)
            # sleep(1) holds about 2 MiB; the parent's 200 MiB must not leak in, as they do with ru_maxrss.
            assert 0.5 * MIB < memory.read_residency(process.pid).peak_rss_bytes < 8 * MIB
        finally:
            process.kill()
            process.wait()


def touch(held):
    for position in range(0, len(held), 4096):
        held[position] = 1


def await_sleep(pid):
    """Return once the process is past its exec and has been loaded: it sleeps in clock_nanosleep."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if "nanosleep" in Path(f"/proc/{pid}/wchan").read_text():
            return
        time.sleep(0.01)


def test_under_an_emulator_nothing_is_read(monkeypatch):
    """/proc/self is the emulator's answer, /proc/thread-self the kernel's: where they differ, nothing is ours."""
    answers = {"/proc/self/exe": "/root/usr/bin/python3.11", "/proc/thread-self/exe": "/usr/bin/qemu-aarch64"}
    monkeypatch.setattr(memory.os, "readlink", answers.__getitem__)
    memory.emulated.cache_clear()
    try:
        assert memory.emulated()
        assert memory.read_residency() is None
        memory.reset_peak()
        with pytest.raises(LimitUnavailableError, match="under an emulator"):
            ceilings.choose(1 << 20)
    finally:
        monkeypatch.undo()
        memory.emulated.cache_clear()
    assert not memory.emulated()
