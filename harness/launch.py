"""The worker's first moments: what must hold before its program starts, then exec.

A process cannot be given these from outside without running Python between fork and exec in a parent that has threads
(the meters'), so a small program of its own does it: it ties the worker's life to the parent's, joins the ceiling's
control group, fixes the address layout, and becomes the worker. It imports nothing of ours, and exec gives the worker
a fresh memory map, so nothing of this program is counted.

Run as: python -I -S launch.py SETTINGS PROGRAM ARGUMENT...
"""

import ctypes
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1  # prctl(2): the signal this process gets when its parent dies; kept over exec
_ADDR_NO_RANDOMIZE = 0x0040000  # personality(2)
_QUERY = 0xFFFFFFFF


def main() -> None:
    """Apply the settings and exec; an error here is said on standard error, which the parent keeps."""
    settings: dict[str, Any] = json.loads(sys.argv[1])
    libc = ctypes.CDLL(None, use_errno=True)
    os.set_inheritable(settings["launched_fd"], False)  # so that exec closes it, and the parent knows
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != settings["parent"]:
        sys.exit("the parent is gone")
    if settings.get("cgroup"):
        (Path(settings["cgroup"]) / "cgroup.procs").write_text(str(os.getpid()))
    if settings.get("data_limit_bytes"):
        resource.setrlimit(resource.RLIMIT_DATA, (settings["data_limit_bytes"],) * 2)
    if settings.get("cpus"):
        os.sched_setaffinity(0, settings["cpus"])
    if settings.get("fixed_addresses"):
        libc.personality(libc.personality(_QUERY) | _ADDR_NO_RANDOMIZE)
    os.execv(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
