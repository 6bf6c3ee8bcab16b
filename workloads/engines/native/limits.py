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
    """Control group, version 2: `memory.max` and `memory.current` of this process's own group."""
    try:
        lines = _text(f"{_PROC}/cgroup").splitlines()
        group = next(line[3:].lstrip("/") for line in lines if line.startswith("0::"))
        limit = _text(f"{_CGROUPS}/{group}/memory.max").strip()
        used = int(_text(f"{_CGROUPS}/{group}/memory.current"))
    except (OSError, StopIteration, ValueError):
        return None
    return None if limit == "max" else max(0, int(limit) - used)


def _machine_room() -> int | None:
    return _kib("/proc/meminfo", "MemAvailable")
