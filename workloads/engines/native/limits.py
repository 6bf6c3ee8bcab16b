"""How much memory this process may still take, by every limit the kernel sets; None where none is known."""

import resource
from pathlib import Path

_PROC = Path("/proc/self")
_CGROUPS = Path("/sys/fs/cgroup")


def available_bytes() -> int | None:
    """Return the least of what the data limit, the control group and the machine leave."""
    rooms = [room for room in (_data_room(), _group_room(), _machine_room()) if room is not None]
    return min(rooms, default=None)


def _kib(path: Path, field: str) -> int | None:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    found = [line for line in lines if line.startswith(field + ":")]
    return int(found[0].split()[1]) * 1024 if found else None


def _data_room() -> int | None:
    soft, _ = resource.getrlimit(resource.RLIMIT_DATA)
    used = _kib(_PROC / "status", "VmData")
    return None if soft == resource.RLIM_INFINITY or used is None else max(0, soft - used)


def _group_room() -> int | None:
    """Control group, version 2: `memory.max` and `memory.current` of this process's own group."""
    try:
        lines = (_PROC / "cgroup").read_text().splitlines()
        group = next(line[3:].lstrip("/") for line in lines if line.startswith("0::"))
        limit = (_CGROUPS / group / "memory.max").read_text().strip()
        used = int((_CGROUPS / group / "memory.current").read_text())
    except (OSError, StopIteration, ValueError):
        return None
    return None if limit == "max" else max(0, int(limit) - used)


def _machine_room() -> int | None:
    return _kib(Path("/proc/meminfo"), "MemAvailable")
