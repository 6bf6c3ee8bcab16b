"""Enforced memory ceilings: the kernel's control group where there is one, else a watchdog.

cgroup v2 `memory.max` (Documentation/admin-guide/cgroup-v2.rst), cgroup v1 `memory.limit_in_bytes`
(admin-guide/cgroup-v1/memory.rst), else a watch on the kernel's peak every few milliseconds with RLIMIT_DATA behind it.
RLIMIT_AS counts reservations, not memory, and RLIMIT_RSS is ignored by Linux: neither is used. Running out at the
ceiling is an outcome of the trial.
"""

import contextlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from harness.errors import LimitUnavailableError
from harness.memory import EMULATED, emulated, read_residency

# What the watchdog's RLIMIT_DATA leaves above the ceiling. It limits reservations, of which torch makes hundreds of
# MiB that it never touches, so it only stops a runaway allocation between two looks.
_RESERVATION_SLACK_BYTES = 1 << 30
_SERIAL = itertools.count()
MECHANISMS = ("auto", "cgroup-v2", "cgroup-v1", "watchdog")


class Ceiling(Protocol):
    """A limit on one worker's memory."""

    mechanism: str
    limit_bytes: int
    poll_s: float | None
    of_the_host: bool  # whether the kernel's peak of the worker may not be above it

    def launch_settings(self) -> dict[str, Any]:
        """What `launch.py` must do for this ceiling."""
        ...

    def exceeded(self, pid: int) -> bool:
        """Tell whether the worker must be stopped now; asked every `poll_s` seconds if that is set."""
        ...

    def was_hit(self) -> bool:
        """Tell, after the worker's end, whether it was the ceiling that ended it."""
        ...

    def close(self) -> None:
        """Remove what was made for the ceiling."""
        ...


class ControlGroup:
    """A cgroup of its own with a memory limit; the kernel ends what does not fit."""

    poll_s: float | None = None
    of_the_host = True

    def __init__(self, mechanism: str, parent: Path, limit_bytes: int) -> None:
        """Create the group. Raises OSError where this user may not."""
        self.mechanism, self.limit_bytes = mechanism, limit_bytes
        self._folder = _new_group(parent)
        try:
            self._limit()
        except OSError:
            self.close()
            raise

    def _limit(self) -> None:
        v2 = self.mechanism == "cgroup-v2"
        (self._folder / ("memory.max" if v2 else "memory.limit_in_bytes")).write_text(str(self.limit_bytes))
        # Swap would let a worker pass the ceiling in silence. The file is absent where swap is not accounted.
        swap = self._folder / ("memory.swap.max" if v2 else "memory.memsw.limit_in_bytes")
        with contextlib.suppress(OSError):
            swap.write_text("0" if v2 else str(self.limit_bytes))

    def launch_settings(self) -> dict[str, Any]:
        """Join the group before the worker's program starts."""
        return {"cgroup": str(self._folder)}

    def exceeded(self, pid: int) -> bool:
        """Never: the kernel itself ends the worker."""
        return False

    def was_hit(self) -> bool:
        """Read the group's count of processes that the kernel killed."""
        name = "memory.events" if self.mechanism == "cgroup-v2" else "memory.oom_control"
        for line in (self._folder / name).read_text().splitlines():
            key, _, value = line.partition(" ")
            if key == "oom_kill":
                return int(value) > 0
        return False

    def close(self) -> None:
        """Remove the group; it is empty once the worker is reaped."""
        with contextlib.suppress(OSError):
            self._folder.rmdir()


def _new_group(parent: Path) -> Path:
    """Make a group; one of that name may be left of a killed harness that had this process's number."""
    while True:
        folder = parent / f"harness-{os.getpid()}-{next(_SERIAL)}"
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            return folder


class Watchdog:
    """Looks at the worker's kernel-kept peak every 2 ms, so that nothing between two looks is missed."""

    mechanism = "watchdog"
    poll_s: float | None = 0.002
    of_the_host = True

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._hit = False

    def launch_settings(self) -> dict[str, Any]:
        """Stop a runaway allocation between two looks."""
        return {"data_limit_bytes": self.limit_bytes + _RESERVATION_SLACK_BYTES}

    def exceeded(self, pid: int) -> bool:
        """Tell whether the peak is above the ceiling."""
        residency = read_residency(pid)
        self._hit = self._hit or (residency is not None and residency.peak_rss_bytes > self.limit_bytes)
        return self._hit

    def was_hit(self) -> bool:
        """Tell whether a look found the peak above the ceiling."""
        return self._hit

    def close(self) -> None:
        """Nothing was made."""


def memory_groups(proc: Path = Path("/proc/self")) -> Iterator[tuple[str, Path]]:
    """Yield (mechanism, folder) of this process's memory control groups, v2 before v1."""
    own = [line.split(":", 2) for line in (proc / "cgroup").read_text().splitlines()]
    for line in (proc / "mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        root, mount = left.split()[3:5]
        kind, _, options = right.split(" ", 2)
        for _, controllers, path in own:
            v2 = kind == "cgroup2" and controllers == ""
            v1 = kind == "cgroup" and "memory" in controllers.split(",") and "memory" in options.split(",")
            if v1 or v2:
                # Inside a container the mount shows only a part of the tree: `root` is what it starts at.
                inside = path.removeprefix(root) if root != "/" else path
                yield ("cgroup-v2" if v2 else "cgroup-v1", Path(mount) / inside.lstrip("/"))


def choose(limit_bytes: int, mechanism: str = "auto") -> Ceiling:
    """Return the strictest ceiling this machine offers, or the named one.

    `mechanism` is `auto`, `cgroup-v2`, `cgroup-v1` or `watchdog`. Raises LimitUnavailableError when a named mechanism
    cannot be had.
    """
    if emulated():
        raise LimitUnavailableError(
            f"no ceiling can be enforced: {EMULATED}; leave --ceiling and --emulate out"
        )
    reasons: list[str] = []
    if mechanism != "watchdog":
        for kind, folder in sorted(memory_groups(), reverse=True):
            if mechanism not in ("auto", kind):
                continue
            if kind == "cgroup-v2" and not delegates_memory(folder):
                reasons.append(f"{kind}: the memory controller is not enabled below {folder}")
                continue
            try:
                return ControlGroup(kind, folder, limit_bytes)
            except OSError as error:
                reasons.append(f"{kind}: {error}")
    if mechanism in ("auto", "watchdog"):
        return Watchdog(limit_bytes)
    raise LimitUnavailableError(f"no ceiling by {mechanism}: {'; '.join(reasons) or 'no such control group'}")


def has_memory_controller(folder: Path) -> bool:
    """Tell whether the kernel has the memory controller in the hierarchy of this cgroup v2 folder.

    The topmost group that is to be seen lists what there is. Raspberry Pi OS starts with the controller off, and with
    cgroup v1 beside v2 it belongs to one of them. Where no group says, there is no reason to doubt it.
    """
    listed = [group / "cgroup.controllers" for group in (folder, *folder.parents)]
    shown = [file for file in listed if file.exists()]
    return not shown or "memory" in shown[-1].read_text().split()


def delegates_memory(folder: Path) -> bool:
    """Tell whether groups below this cgroup v2 folder may have a memory limit."""
    try:
        return "memory" in (folder / "cgroup.subtree_control").read_text().split()
    except OSError:
        return False
