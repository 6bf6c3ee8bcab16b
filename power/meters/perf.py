"""RAPL by perf_event: the same counters as powercap, read through the kernel's `power` PMU.

`perf_event_open(2)`; the PMU's description stands in /sys/bus/event_source/devices/power: `type`, `cpumask`
(one processor a package), and for each event its code, `.scale` and `.unit` ("Joules"). The kernel reads the
32-bit hardware counters on a timer of its own, so the 64-bit count never wraps (2⁶⁴·2⁻³² J).

Reading a counter of the whole machine takes CAP_PERFMON, or `kernel.perf_event_paranoid` at 0 or below.
What the domains contain, their update and their error are those of powercap (see there).

`cpumask` may name several processors of one package, be it that each die has its own counter or that all show the
package's one: see `mirrors`.
"""

import ctypes
import os
import platform
import struct
import time
from dataclasses import dataclass, replace
from pathlib import Path

from power.base import Domain, Meter, Sample, now_ns
from power.errors import MeterReadError, MeterUnavailableError
from power.meters import powercap
from power.meters.mirrors import rounds_of, without_mirrors

PMU = Path("/sys/bus/event_source/devices/power")
CPUS = Path("/sys/devices/system/cpu")
HINT = (
    "sudo sysctl kernel.perf_event_paranoid=0 "
    "(until the next boot; or: sudo setcap cap_perfmon+ep $(readlink -f $(which python3)))"
)
HINT_MODULE = "sudo modprobe rapl (a virtual machine has none)"

#: Number of the system call by machine; it has no wrapper in the C library.
_SYSCALLS = {"x86_64": 298, "aarch64": 241, "riscv64": 241, "armv7l": 364, "i686": 336}
#: A counter that runs at all is updated every millisecond or so, by more than it resolves. What some virtual machines
#: show in its place never moves.
_STILL_S = 0.2
_ATTR_SIZE = 64  # PERF_ATTR_SIZE_VER0
_FLAG_CLOEXEC = 8
_NAMES = {"pkg": "package", "ram": "dram", "cores": "core", "gpu": "uncore", "psys": "psys"}


@dataclass(frozen=True, slots=True)
class Event:
    """One counter of one package: its code, the processor to ask, J a count, and what it measures."""

    config: int
    cpu: int
    scale_j: float
    domain: Domain


def find_events(pmu: Path = PMU, cpus: Path = CPUS) -> list[Event]:
    """Return the energy events of the PMU, one a processor of its mask. Raises `OSError` or `ValueError`."""
    names = sorted(p.name for p in (pmu / "events").glob("energy-*") if "." not in p.name)
    has_psys = "energy-psys" in names
    packages = {cpu: _package(cpus, cpu) for cpu in _cpu_list((pmu / "cpumask").read_text())}
    several = {package for package in packages.values() if list(packages.values()).count(package) > 1}
    places = {cpu: f"{p}@cpu{cpu}" if p in several else str(p) for cpu, p in packages.items()}
    first = min(packages, key=lambda cpu: packages[cpu], default=None)
    return [
        _event(pmu, name, cpu, place, has_psys)
        for name in names
        for cpu, place in places.items()
        if name != "energy-psys" or cpu == first  # one for the whole machine
    ]


def _cpu_list(text: str) -> list[int]:
    """Parse the kernel's list format: "0,24" or "0-3"."""
    cpus: list[int] = []
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        cpus += range(int(first), int(last or first) + 1)
    return cpus


def _package(cpus: Path, cpu: int) -> int:
    try:
        return int((cpus / f"cpu{cpu}/topology/physical_package_id").read_text())
    except FileNotFoundError:
        return 0


def _event(pmu: Path, name: str, cpu: int, package: str, has_psys: bool) -> Event:
    events = pmu / "events"
    unit = (events / f"{name}.unit").read_text().strip()
    if unit != "Joules":
        raise ValueError(f"event {name} counts in '{unit}', not in Joules")
    code = (events / name).read_text().strip().removeprefix("event=")
    scale_j = float((events / f"{name}.scale").read_text())
    short = name.removeprefix("energy-")
    kind = _NAMES.get(short, short)
    inside = f"package-{package}" if kind in ("core", "uncore") else None
    domain = Domain(
        name=kind if kind == "psys" else f"{kind}-{package}",
        kind="energy",
        covers=powercap.covers(kind),
        parent=inside or ("psys" if has_psys and kind != "psys" else None),
        update_s=powercap.UPDATE_S,
        resolution_j=powercap.STEP_J,
        gain_limit=powercap.GAIN,
        max_power_w=powercap.MAX_PSYS_W if kind == "psys" else powercap.MAX_PACKAGE_W,
    )
    return Event(int(code, 0), cpu, scale_j, domain)


def perf_event_open(pmu_type: int, config: int, cpu: int) -> int:
    """Open a counting event on one processor for all processes; returns its file. Raises `OSError`."""
    number = _SYSCALLS.get(platform.machine())
    if number is None:
        raise OSError(f"perf_event_open is not known for {platform.machine()}")
    attr = struct.pack("=IIQ", pmu_type, _ATTR_SIZE, config).ljust(_ATTR_SIZE, b"\0")
    libc = ctypes.CDLL(None, use_errno=True)
    every_process, no_group = ctypes.c_long(-1), ctypes.c_long(-1)
    fd: int = libc.syscall(
        ctypes.c_long(number),
        attr,
        every_process,
        ctypes.c_long(cpu),
        no_group,
        ctypes.c_ulong(_FLAG_CLOEXEC),
    )
    if fd < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return fd


def read_count(fd: int) -> int:
    """Return what an event has counted since it was opened. Raises `OSError` or `struct.error`."""
    return int(struct.unpack("=Q", os.read(fd, 8))[0])


class PerfMeter(Meter):
    """RAPL read by perf_event; one domain an event and package, or die of a package."""

    name = "perf"
    automatic = True
    period_s = 0.05

    def __init__(self, argument: str = "", pmu: Path = PMU, cpus: Path = CPUS) -> None:
        super().__init__(argument)
        self._pmu, self._cpus = pmu, cpus
        self._events: list[Event] = []
        self._files: list[int] = []

    @property
    def domains(self) -> tuple[Domain, ...]:
        """One domain an event and package or die, outermost first."""
        return tuple(event.domain for event in self._events)

    def open(self) -> None:
        """Open every event. Raises `MeterUnavailableError`: no such PMU, no permission, or nothing that counts."""
        if self._files:
            return
        try:
            events = find_events(self._pmu, self._cpus) if self._pmu.is_dir() else []
            pmu_type = int((self._pmu / "type").read_text()) if events else 0
        except (OSError, ValueError) as error:
            raise MeterUnavailableError(self.name, f"the PMU cannot be described: {error}") from error
        if not events:
            reason = f"no energy event under {self._pmu}"
            raise MeterUnavailableError(self.name, reason, HINT_MODULE)
        self._events = sorted(events, key=lambda event: event.domain.parent is not None)
        try:
            for event in self._events:
                self._files.append(perf_event_open(pmu_type, event.config, event.cpu))
        except PermissionError as error:
            self.close()
            reason = "the kernel lets only privileged users count whole-machine events"
            raise MeterUnavailableError(self.name, reason, HINT) from error
        except OSError as error:
            self.close()
            raise MeterUnavailableError(self.name, f"an event cannot be opened: {error}") from error
        if not self._moves():
            self.close()
            reason = f"no counter moved in {_STILL_S:g} s, as where a virtual machine has no real one"
            raise MeterUnavailableError(self.name, reason)
        self._look_for_mirrors()

    def _look_for_mirrors(self) -> None:
        """Nest what repeats another event's counter; where every event is one of another package, no time is lost."""
        if not any("@" in event.domain.name for event in self._events):
            return
        try:
            rounds = rounds_of(lambda: [read_count(fd) for fd in self._files])
        except (OSError, struct.error) as error:
            self.close()
            raise MeterUnavailableError(self.name, f"a counter could not be read: {error}") from error
        kinds = [event.config for event in self._events]
        domains = without_mirrors(self.domains, kinds, rounds)
        pairs = zip(self._events, domains, strict=True)
        self._events = [replace(event, domain=domain) for event, domain in pairs]

    def _moves(self) -> bool:
        """Tell whether any event counts within a moment; one that cannot be read is for `read` to report."""
        try:
            first, until_ns = [each.energy_j for each in self.read()], now_ns() + int(_STILL_S * 1e9)
            while now_ns() < until_ns:
                time.sleep(0.005)
                if [each.energy_j for each in self.read()] != first:
                    return True
        except MeterReadError:
            return True
        return False

    def read(self) -> list[Sample]:
        """Return one sample an event, each with its own instant (the middle of its read)."""
        try:
            return [self._sample(event, fd) for event, fd in zip(self._events, self._files, strict=True)]
        except (OSError, ValueError, struct.error) as error:
            raise MeterReadError(f"meter '{self.name}': a counter could not be read: {error}") from error

    def close(self) -> None:
        """Close the events; reopened, their counts start at 0 again."""
        files, self._files = self._files, []
        for fd in files:
            os.close(fd)

    def _sample(self, event: Event, fd: int) -> Sample:
        before_ns = now_ns()
        count = read_count(fd)
        return Sample((before_ns + now_ns()) // 2, event.domain.name, energy_j=count * event.scale_j)
