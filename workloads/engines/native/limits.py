"""How much memory this process may still take, by every limit the kernel sets; None where none is known."""

import resource

# Plain strings: pathlib costs a worker 0.8 MiB.
_PROC = "/proc/self"
_CGROUPS = "/sys/fs/cgroup"


def available_bytes(ceiling_bytes: int | None = None) -> int | None:
    """Return the least of what the ceiling, the data limit, the control group and the machine leave."""
    rooms = (_ceiling_room(ceiling_bytes), _data_room(), _group_room(), _machine_room())
    return min((room for room in rooms if room is not None), default=None)


def _text(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def _kib(path: str, field: str) -> int | None:
    try:
        lines = _text(path).splitlines()
    except OSError:
        return None
    found = [line for line in lines if line.startswith(field + ":")]
    return int(found[0].split()[1]) * 1024 if found else None


def _ceiling_room(ceiling_bytes: int | None) -> int | None:
    """Of what the parent holds this process to: a watchdog's and a version 1 group's limit are in no file of ours."""
    used = _kib(f"{_PROC}/status", "VmRSS")
    return None if ceiling_bytes is None or used is None else max(0, ceiling_bytes - used)


def _data_room() -> int | None:
    soft, _ = resource.getrlimit(resource.RLIMIT_DATA)
    used = _kib(f"{_PROC}/status", "VmData")
    return None if soft == resource.RLIM_INFINITY or used is None else max(0, soft - used)


def _group_room() -> int | None:
    """Control groups, version 2: the least that this process's own group or one above it leaves."""
    try:
        lines = _text(f"{_PROC}/cgroup").splitlines()
    except OSError:
        return None
    group = next((line[3:].rstrip("/") for line in lines if line.startswith("0::")), None)
    rooms = []
    while group is not None:
        rooms.append(_room_of(f"{_CGROUPS}{group}"))
        group = group.rpartition("/")[0] if group else None
    return min((room for room in rooms if room is not None), default=None)


def _room_of(group: str) -> int | None:
    """Of pages of files, those not in use are given back before anything is refused, though the group counts them."""
    try:
        limit = _text(f"{group}/memory.max").strip()
        used = int(_text(f"{group}/memory.current"))
        counted = _text(f"{group}/memory.stat").split()
        unused = int(counted[counted.index("inactive_file") + 1])
    except (OSError, ValueError):
        return None
    return None if limit == "max" else max(0, int(limit) - used + unused)


def _machine_room() -> int | None:
    return _kib("/proc/meminfo", "MemAvailable")
