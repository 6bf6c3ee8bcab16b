"""What the record says of the machine: facts that a reader needs to judge or repeat a figure."""

import os
import platform
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import psutil

from harness.memory import emulated
from results.schema import Host

_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
_THERMAL = Path("/sys/class/thermal")


def describe(libraries: Iterable[str], *, throttling_known: bool) -> Host:
    """Return the machine as it is now; `libraries` are distributions whose versions belong in the record."""
    reasons: dict[str, str] = {}
    governed = governor()
    if governed is None:
        reasons["governor"] = "this machine has no cpufreq"
    temperature = temperature_c()
    if temperature is None:
        reasons["temperature_c"] = "no thermal zone names the processor"
    if not throttling_known:
        reasons["throttled"] = "no firmware reports throttling"
    libc = " ".join(platform.libc_ver()).strip() or None
    if libc is None:
        reasons["libc"] = "the C library does not name itself"
    return Host(
        machine=platform.machine(),
        cpu=cpu_name(),
        cores=usable_cores(),
        memory_bytes=memory_bytes(),
        kernel=platform.release(),
        python=platform.python_version(),
        libc=libc,
        governor=governed,
        page_size_bytes=os.sysconf("SC_PAGE_SIZE"),
        load_before=os.getloadavg()[0],
        temperature_c=temperature,
        libraries=_versions(libraries),
        reasons=reasons,
    )


def usable_cores() -> int:
    """Return the processors this process may run on."""
    return len(os.sched_getaffinity(0))


def memory_bytes() -> int:
    """Return this machine's memory, as the kernel counts it (MemTotal)."""
    return int(psutil.virtual_memory().total)


def cpu_name() -> str:
    """Return the processor's name: `model name` on x86, the device tree's model or the bare architecture elsewhere."""
    if emulated():
        return f"{platform.machine()}, emulated"
    for line in (_read(Path("/proc/cpuinfo")) or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model"):
            return value.strip()
    return platform.processor() or platform.machine()


def temperature_c() -> float | None:
    """Return the hottest thermal zone, or None where there is none."""
    readings = (_read(zone / "temp") for zone in sorted(_THERMAL.glob("thermal_zone*")))
    values = [int(text) / 1000 for text in readings if text and text.lstrip("-").isdigit()]
    return max(values, default=None)


def governor() -> str | None:
    """Return how the first processor's frequency is governed, or None where it is not."""
    return _read(_GOVERNOR)


def _versions(libraries: Iterable[str]) -> dict[str, str]:
    found = {}
    for name in libraries:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip("\0\n ")
    except OSError:
        return None
