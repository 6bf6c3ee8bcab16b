"""`hwmon`: every sensor chip the kernel knows, read in the one way the kernel describes them.

Kernel document: Documentation/hwmon/sysfs-interface.rst. A chip is a folder /sys/class/hwmon/hwmonN with
`name` and, a channel: `energyN_input` (µJ, a counter), `powerN_input` or `powerN_average` (µW), `inN_input`
(mV) and `currN_input` (mA), `*_label`. The best there is of a channel is taken, in this order. This covers
INA219, 226, 228, 238, 260 (`ina2xx`, `ina238`), INA3221 and the rails of a Jetson, ChargerLAB POWER-Z
(`powerz`), PMBus supplies and ACPI power meters.

    hwmon                          every chip that measures power, but no graphics card
    hwmon:amdgpu                   a graphics card, which must be asked for: it measures no training on the processor
    hwmon:ina219,shunt=0.1         one chip, whose board carries 100 mΩ

The INA drivers assume the shunt written in `shunt_resistor` (µΩ; 10 mΩ unless a device tree says otherwise),
while many boards carry 100 mΩ: then every reading is ten times too high. `shunt` is the true one; the
correction stands in the record.

A channel that cannot be read when the meter is opened is left out, and named: a channel of an INA3221 that the device
tree switches off has its files and answers -ENODATA. One that fails later is a failed reading of the meter.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from power.base import Domain, Kind, Probe, Setting
from power.errors import MeterUnavailableError
from power.options import positive, split_argument
from power.sysfs import Attribute, Gauge, SysfsMeter

ROOT = Path("/sys/class/hwmon")
HINT = "wire a sensor and name it in a device-tree overlay, e.g. dtoverlay=i2c-sensor,ina226,addr=0x40"

_CHANNEL = re.compile(r"(energy|power|curr)(\d+)_(?:input|average)$")
#: Voltage channel that belongs to a current channel, where it is not the one of the same number.
_VOLTAGE_OF = {"powerz": {1: 0}}
#: Graphics cards, read where they are named only: the first usable meter is chosen without being asked for, and these
#: measure nothing of a training on the processor.
_GRAPHICS = ("amdgpu", "i915", "nouveau", "xe")
#: Highest channel that is one. Of an INA3221 in4 to in6 are the shunts' voltages (µV), curr4 and in7 the sums over all
#: channels that are summed up (Documentation/hwmon/ina3221.rst): a product of curr4 and in4 is no power.
_LAST = {"ina3221": 3}
#: Chips whose many channels are parts of one: only these labels are read.
_ONLY = {"amd_energy": "Esocket"}
#: Labels of rails that feed all other rails of a Jetson (INA3221 on the module's input).
_INPUT_LABELS = ("VDD_IN", "POM_5V_IN", "VDD_5V_IN", "VIN_SYS_5V0")
#: Gain limits: the chip's data sheet and a 1 % shunt; what is not listed is not known, 5 % is assumed.
_GAIN = {"ina219": 0.015, "ina220": 0.015, "ina226": 0.011, "ina230": 0.011, "ina231": 0.011}
_GAIN |= {"ina228": 0.011, "ina237": 0.011, "ina238": 0.011, "ina260": 0.005, "ina3221": 0.015}
#: Power step over the shunt step, and the shunt step in V: power LSB = factor · step / shunt.
_STEPS = {"ina219": (20, 10e-6), "ina220": (20, 10e-6)}
_STEPS |= dict.fromkeys(("ina226", "ina230", "ina231"), (25, 2.5e-6))


class Channel(NamedTuple):
    """A channel as its chip describes it, not yet read: its value is the product of the files times `factor`."""

    domain: Domain
    files: tuple[Path, ...]
    factor: float

    @property
    def folder(self) -> Path:
        """The chip's folder."""
        return self.files[0].parent

    def opened(self) -> Gauge:
        """Open the files and read them once. Raises `OSError` or `ValueError`, and leaves none open then."""
        files: list[Attribute] = []
        try:
            for file in self.files:
                files.append(Attribute(str(file)))
            gauge = Gauge(self.domain, tuple(files), self.factor)
            gauge.read()
        except (OSError, ValueError):
            for each in files:
                each.close()
            raise
        return gauge


def find_channels(root: Path = ROOT, chip: str = "", shunt_ohm: float | None = None) -> list[Channel]:
    """Return the channels that measure energy or power, of those named `chip`, or of all but graphics cards.

    Raises `OSError` or `ValueError` for a chip that cannot be described.
    """
    folders = sorted(root.glob("hwmon*"), key=lambda path: (len(path.name), path.name))
    chips = [(folder, (folder / "name").read_text().strip()) for folder in folders]
    wanted = [(folder, name) for folder, name in chips if (name == chip if chip else name not in _GRAPHICS)]
    return _unique([c for folder, name in wanted for c in _channels(folder, name, shunt_ohm)])


def shunt_correction(folder: Path, shunt_ohm: float | None) -> float:
    """Return assumed over true shunt: what readings of current and power are to be multiplied by."""
    file = folder / "shunt_resistor"
    if shunt_ohm is None:
        return 1.0
    if not file.exists():
        raise ValueError(f"{folder.name} has no shunt_resistor: its driver takes no shunt to be corrected")
    return int(file.read_text()) * 1e-6 / shunt_ohm


def _channels(folder: Path, chip: str, shunt_ohm: float | None) -> list[Channel]:
    kinds: dict[int, set[str]] = {}
    for path in sorted(folder.iterdir()):
        if match := _CHANNEL.match(path.name):
            kinds.setdefault(int(match[2]), set()).add(match[1])
    correction = shunt_correction(folder, shunt_ohm)
    numbers = [number for number in sorted(kinds) if number <= _LAST.get(chip, number)]
    found = [_channel(folder, chip, number, kinds[number], correction) for number in numbers]
    return [channel for channel in found if channel is not None]


def _channel(folder: Path, chip: str, number: int, kinds: set[str], correction: float) -> Channel | None:
    files, factor, kind = _files(folder, chip, number, kinds)
    if not files:
        return None
    label = _label(folder, number)
    if chip in _ONLY and not label.startswith(_ONLY[chip]):
        return None
    domain = Domain(
        name=f"{chip}-{label or number}",
        kind=kind,
        covers=f"what is wired behind {chip} channel {label or number}",
        apart=False,
        update_s=_update_s(folder, number),
        resolution_w=_resolution_w(folder, chip) * correction,
        resolution_j=1e-6 if kind == "energy" else 0.0,
        gain_limit=_GAIN.get(chip, 0.05),
    )
    return Channel(domain, files, factor * correction)


def _files(folder: Path, chip: str, number: int, kinds: set[str]) -> tuple[tuple[Path, ...], float, Kind]:
    if "energy" in kinds:
        return (folder / f"energy{number}_input",), 1e-6, "energy"
    if "power" in kinds:
        file = folder / f"power{number}_input"
        return (file if file.exists() else folder / f"power{number}_average",), 1e-6, "power"
    voltage = folder / f"in{_VOLTAGE_OF.get(chip, {}).get(number, number)}_input"
    current = folder / f"curr{number}_input"
    return ((voltage, current), 1e-6, "power") if voltage.exists() else ((), 0.0, "power")


def _label(folder: Path, number: int) -> str:
    for kind in ("energy", "power", "curr", "in"):
        file = folder / f"{kind}{number}_label"
        if file.exists():
            return file.read_text().strip().replace(" ", "_")
    return ""


def _update_s(folder: Path, number: int) -> float:
    """The chip's own time between values: averaging and conversion (35 ms for an INA226 as it starts)."""
    for file in (folder / f"power{number}_average_interval", folder / "update_interval"):
        if file.exists():
            return int(file.read_text()) * 1e-3
    return 0.0


def _resolution_w(folder: Path, chip: str) -> float:
    file = folder / "shunt_resistor"
    if chip not in _STEPS or not file.exists():
        return 0.0
    factor, step_v = _STEPS[chip]
    return factor * step_v / (int(file.read_text()) * 1e-6)


def _unique(channels: list[Channel]) -> list[Channel]:
    """Give channels of several chips of one kind their folder's name."""
    names = [channel.domain.name for channel in channels]
    return [_named_by_folder(c) if names.count(c.domain.name) > 1 else c for c in channels]


def _named_by_folder(channel: Channel) -> Channel:
    return channel._replace(
        domain=replace(channel.domain, name=f"{channel.domain.name}@{channel.folder.name}")
    )


def _nested(channels: list[Gauge]) -> list[Gauge]:
    """Put rails inside what feeds them: an ACPI meter of the machine, or the input of a Jetson's module."""
    machine = [c for c in channels if c.domain.name.startswith("power_meter-")]
    inputs = [
        c for c in channels if c.domain.name.startswith("ina3221-") and c.domain.name.endswith(_INPUT_LABELS)
    ]
    if len(machine) == 1:
        return [_inside(c, machine[0]) for c in channels]
    if len(inputs) == 1:
        return [_inside(c, inputs[0]) if c.domain.name.startswith("ina3221-") else c for c in channels]
    return channels


def _inside(channel: Gauge, whole: Gauge) -> Gauge:
    if channel is whole:
        return channel
    return replace(channel, domain=replace(channel.domain, parent=whole.domain.name))


class HwmonMeter(SysfsMeter):
    """All channels of the kernel's sensor chips (no graphics card's), or of one chip by name; one domain a channel."""

    name = "hwmon"
    automatic = True
    period_s = 0.02

    def __init__(self, argument: str = "", root: Path = ROOT) -> None:
        super().__init__(argument)
        self._root = root
        self._left_out: list[str] = []

    def probe(self) -> Probe:
        """Say whether it can be used, and which channels were left out of it."""
        found = super().probe()
        left_out = f"left out: {'; '.join(self._left_out)}"
        return replace(found, reason=left_out) if found.usable and self._left_out else found

    def open(self) -> None:
        """Find the channels and read them. Raises `MeterUnavailableError`: a bad option, none, or none to be read."""
        if self.is_open:
            return
        try:
            chip, shunt_ohm = self._options()
            channels = find_channels(self._root, chip, shunt_ohm)
        except (OSError, ValueError) as error:
            raise MeterUnavailableError(self.name, str(error)) from error
        if not channels:
            which = f"named '{chip}'" if chip else "but a graphics card's, if any,"
            raise MeterUnavailableError(self.name, f"no chip {which} under {self._root} measures power", HINT)
        gauges = _nested(self._readable(channels))
        slowest_s = max(gauge.domain.update_s for gauge in gauges)
        self.period_s = max(0.01, min(0.1, slowest_s))
        self.gauges, self.is_open = tuple(gauges), True

    def _readable(self, channels: list[Channel]) -> list[Gauge]:
        """Open the channels that answer. Raises `MeterUnavailableError` where none does, or one that did before."""
        known = {gauge.domain.name for gauge in self.gauges}
        gauges: list[Gauge] = []
        failed: dict[str, Exception] = {}
        for channel in channels:
            try:
                gauges.append(channel.opened())
            except (OSError, ValueError) as error:
                failed[channel.domain.name] = error
        # One that was being measured has failed and not been switched off: with it the meter has.
        if failed and (not gauges or known.intersection(failed)):
            for gauge in gauges:
                gauge.close()
            first = next(iter(failed.values()))
            raise MeterUnavailableError(self.name, str(first)) from first
        self._left_out = [f"{name} ({error})" for name, error in failed.items()]
        return gauges

    def settings(self) -> dict[str, Setting]:
        """Return the chip, the true shunt and the correction by which readings were multiplied."""
        chip, shunt_ohm = self._options()
        if shunt_ohm is None:
            return {"chip": chip} if chip else {}
        folders = {Path(gauge.files[0].path).parent for gauge in self.gauges}
        factors = [shunt_correction(folder, shunt_ohm) for folder in folders]
        correction: dict[str, Setting] = {"shunt_correction": factors[0]} if factors else {}
        return {"chip": chip, "shunt_ohm": shunt_ohm, **correction}

    def _options(self) -> tuple[str, float | None]:
        chip, options = split_argument(self.argument, {"shunt": ""})
        return chip, positive("shunt", options["shunt"]) if options["shunt"] else None
