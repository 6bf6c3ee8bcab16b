"""What a process holds, by the kernel's own account: exact peaks, not samples.

The kernel keeps the peak resident set of every process (`VmHWM` of `/proc/PID/status`, see proc_pid_status(5)) and
forgets it when `5` is written to `/proc/PID/clear_refs` (Linux 4.0 and newer, Documentation/filesystems/proc.rst).
So a phase has its own peak for two small reads. `ru_maxrss` is never used: a child inherits it over fork.

How exact: since Linux 6.2 the counters behind the peak (anonymous, file, shared) are kept by processor and told to the
others in batches of 32 pages (lib/percpu_counter.c; more than 16 processors: twice their number). A peak that passes
between two reads can be off by that many pages a processor and counter: with 4 KiB pages on two processors, 256 KiB
each. What is still held when the phase ends is summed exactly.
"""

import os
from functools import cache

from workloads.light_typing import NamedTuple

PROC = "/proc"  # a plain string: pathlib costs a worker 0.8 MiB
EMULATED = "this program runs under an emulator, and the kernel counts the emulator's memory"
_FIELDS = {
    b"VmRSS:": "rss_bytes",
    b"VmHWM:": "peak_rss_bytes",
    b"RssAnon:": "anon_bytes",
    b"RssFile:": "file_bytes",
}


class Residency(NamedTuple):
    """Resident memory of one process at one moment; the peak is since its start or the last reset."""

    rss_bytes: int
    peak_rss_bytes: int
    anon_bytes: int
    file_bytes: int


def read_residency(pid: int | str = "self") -> Residency | None:
    """Return what `/proc/PID/status` says, or None where there is nothing to read: gone, a zombie, or emulated."""
    if emulated():
        return None
    try:
        with open(f"{PROC}/{pid}/status", "rb") as status:
            text = status.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return parse_status(text)


def parse_status(text: bytes) -> Residency | None:
    """Read the four lines, which the kernel gives in KiB; None where a zombie's status has none."""
    values: dict[str, int] = {}
    for line in text.splitlines():
        name, _, rest = line.partition(b"\t")
        if name in _FIELDS:
            values[_FIELDS[name]] = int(rest.split()[0]) * 1024
    if len(values) < len(_FIELDS):
        return None
    return Residency(**values)


def reset_peak(pid: int | str = "self") -> None:
    """Let the peak start anew from what is resident now. Raises OSError where the kernel forbids it."""
    if emulated():
        return
    with open(f"{PROC}/{pid}/clear_refs", "wb") as clear_refs:
        clear_refs.write(b"5")


@cache
def emulated() -> bool:
    """Tell whether an emulator of user programs (qemu-aarch64 and its like) runs this program.

    It answers /proc/self/exe itself, with the program it emulates; /proc/thread-self is the kernel's own answer, which
    is the emulator. Everything the kernel says of our memory is then the emulator's.
    """
    try:
        return os.readlink("/proc/self/exe") != os.readlink("/proc/thread-self/exe")
    except OSError:
        return False
