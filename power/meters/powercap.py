"""RAPL by the powercap files: the processor's own energy counters, `/sys/class/powercap/intel-rapl:*`.

Kernel document: Documentation/power/powercap/powercap.rst. Each zone is a folder with `name`, `energy_uj`
and `max_energy_range_uj` (the counter starts at 0 again after it). What has to be known:

- `energy_uj` can be read by root only since Linux 5.10 (CVE-2020-8694, the PLATYPUS attack).
- A zone's place in the tree is not what it contains: `dram` hangs under its package and is not part of the
  package's energy, while `psys` stands beside the packages and contains them (and the memory).
- `intel-rapl-mmio:*` repeats the package by another road and is left out. AMD processors use the same
  `intel-rapl` names; with several dies some mirror one socket's counter, which is found out at opening (`mirrors`).
- The counter is renewed about every millisecond, in steps of typically 61 µJ (2⁻¹⁴ J).
- No data sheet states an error. Against external meters a few percent were found on Haswell and newer, where
  it is measured and no longer modelled; ± 5 % is assumed.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from power.base import Domain
from power.errors import MeterUnavailableError
from power.meters.mirrors import rounds_of, without_mirrors
from power.sysfs import Attribute, Gauge, SysfsMeter

ROOT = Path("/sys/class/powercap")
_ZONE = re.compile(r"intel-rapl:(\d+)(?::(\d+))?$")
UPDATE_S, STEP_J, GAIN = 1e-3, 61e-6, 0.05
MAX_PACKAGE_W, MAX_PSYS_W = 1000.0, 2000.0
HINT_READ = "sudo chmod -R a+r /sys/class/powercap/intel-rapl (until the next boot; or run as root)"
HINT_MODULE = "sudo modprobe intel_rapl_msr (a virtual machine or an ARM processor has no RAPL)"


@dataclass(frozen=True, slots=True)
class Zone:
    """One powercap zone: its folder, what it measures, and the path of its counter (µJ)."""

    folder: Path
    domain: Domain
    counter: str


def find_zones(root: Path = ROOT) -> list[Zone]:
    """Return the RAPL zones under `root`, outermost first, as far as they can be described without reading.

    Raises `OSError` or `ValueError` for a zone whose description is unreadable.
    """
    if not root.is_dir():
        return []
    found = sorted((m, p) for p in root.iterdir() if (m := _indices(p.name)) is not None)
    names = {indices: (path / "name").read_text().strip() for indices, path in found}
    has_psys = any(name == "psys" for name in names.values())
    zones = [_zone(path, indices, names, has_psys) for indices, path in found]
    return sorted(zones, key=lambda zone: (zone.domain.parent is not None, zone.folder.name))


def _indices(folder: str) -> tuple[int, ...] | None:
    match = _ZONE.match(folder)
    return None if match is None else tuple(int(part) for part in match.groups() if part is not None)


def _zone(folder: Path, indices: tuple[int, ...], names: dict[tuple[int, ...], str], has_psys: bool) -> Zone:
    name = names[indices]
    package = names[indices[:1]]
    unique = f"{name}-{package.removeprefix('package-')}" if len(indices) == 2 else name
    if len(indices) == 1 and sum(names[other] == name for other in names if len(other) == 1) > 1:
        unique = f"{name}-{indices[0]}"
    whole = "psys" if has_psys and name != "psys" else None
    # Only cores and graphics ("uncore") are inside their package; the memory beside it is not.
    parent = package if len(indices) == 2 and name != "dram" and package != "psys" else whole
    domain = Domain(
        name=unique,
        kind="energy",
        covers=covers(name),
        parent=parent,
        update_s=UPDATE_S,
        resolution_j=STEP_J,
        gain_limit=GAIN,
        wrap_j=int((folder / "max_energy_range_uj").read_text()) * 1e-6,
        max_power_w=MAX_PSYS_W if name == "psys" else MAX_PACKAGE_W,
    )
    return Zone(folder, domain, str(folder / "energy_uj"))


def covers(name: str) -> str:
    """Return in words what a RAPL domain of this name measures."""
    known = {
        "psys": "the whole platform as its board maker wired it: packages, memory and more",
        "core": "the processor cores of one package",
        "uncore": "the graphics of one package",
        "dram": "the memory of one package, which the package's own energy leaves out",
    }
    return known.get(name, "one processor package: cores, caches, memory controller; not the memory")


class PowercapMeter(SysfsMeter):
    """RAPL read from powercap; one domain a zone, outermost first, each read at its own instant."""

    name = "powercap"
    automatic = True
    period_s = 0.05

    def __init__(self, argument: str = "", root: Path = ROOT) -> None:
        super().__init__(argument)
        self._root = root

    def open(self) -> None:
        """Open every counter and read it. Raises `MeterUnavailableError`: no zone, or no permission."""
        if self.is_open:
            return
        try:
            zones = find_zones(self._root)
        except (OSError, ValueError) as error:
            raise MeterUnavailableError(self.name, f"its zones cannot be described: {error}") from error
        if not zones:
            raise MeterUnavailableError(self.name, f"no intel-rapl zone under {self._root}", HINT_MODULE)
        counters: list[Attribute] = []
        try:
            for zone in zones:
                counters.append(Attribute(zone.counter))
                int(counters[-1].read())
            domains = _without_mirrors([zone.domain for zone in zones], counters)
        except (OSError, ValueError) as error:
            for counter in counters:
                counter.close()
            raise self._unreadable(error) from error
        pairs = zip(domains, counters, strict=True)
        self.gauges = tuple(Gauge(domain, (counter,), 1e-6) for domain, counter in pairs)
        self.is_open = True

    def _unreadable(self, error: Exception) -> MeterUnavailableError:
        if isinstance(error, PermissionError):
            return MeterUnavailableError(self.name, "energy_uj is readable by root only", HINT_READ)
        return MeterUnavailableError(self.name, f"a counter cannot be read: {error}")


def _without_mirrors(domains: list[Domain], counters: list[Attribute]) -> list[Domain]:
    """Nest the packages that repeat another one's counter; where there is one package alone, no time is lost."""
    pairs = zip(domains, counters, strict=True)
    packages = [(domain, counter) for domain, counter in pairs if domain.name.startswith("package")]
    if len(packages) < 2:
        return domains
    rounds = rounds_of(lambda: [int(counter.read()) for _, counter in packages])
    apart = without_mirrors([domain for domain, _ in packages], ["package"] * len(packages), rounds)
    nested = {domain.name: domain for domain in apart}
    return [nested.get(domain.name, domain) for domain in domains]
