"""`hwmon`: every sensor chip the kernel knows, read in the one way the kernel describes them.

Kernel document: Documentation/hwmon/sysfs-interface.rst. A chip is a folder /sys/class/hwmon/hwmonN with
`name` and, a channel: `energyN_input` (µJ, a counter), `powerN_input` or `powerN_average` (µW), `inN_input`
(mV) and `currN_input` (mA), `*_label`. The best there is of a channel is taken, in this order. This covers
INA219, 226, 228, 238, 260 (`ina2xx`, `ina238`), INA3221 and the rails of a Jetson, ChargerLAB POWER-Z
(`powerz`), PMBus supplies and ACPI power meters.

    hwmon                          every chip that measures power, but no graphics card
    hwmon:amdgpu                   a graphics card, which must be asked for: it measures no training on the processor
    hwmon:ina219,shunt=0.1         one chip, whose board carries 100 mΩ
    hwmon:ina228,shunt=0.015/0.01  one whose driver assumes 10 mΩ and does not show it, where the board carries 15 mΩ

The INA drivers assume a shunt (10 mΩ, mostly, unless a device tree says otherwise), while many boards carry 100 mΩ:
then every reading is ten times too high. `shunt` is the true one (see `ina`); the correction stands in the record.

A channel that cannot be read when the meter is opened is left out, and named: a channel of an INA3221 that the device
tree switches off has its files and answers -ENODATA. One that fails later is a failed reading of the meter.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from power.base import Domain, Kind, Probe, Setting
from power.errors import MeterUnavailableError
from power.meters import ina
from power.meters.ina import Shunt
from power.options import split_argument
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


class Channel(NamedTuple):
    """A channel as its chip describes it, not yet read: its value is the product of the files times `factor`.

    `correction`, a part of the factor, is that of the shunt.
    """

    domain: Domain
    files: tuple[Path, ...]
    factor: float
    correction: float

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


def find_channels(root: Path = ROOT, chip: str = "", shunt: Shunt | None = None) -> list[Channel]:
    """Return the channels that measure energy or power, of those named `chip`, or of all but graphics cards.

    Raises `OSError` or `ValueError` for a chip that cannot be described.
    """
    folders = sorted(root.glob("hwmon*"), key=lambda path: (len(path.name), path.name))
    chips = [(folder, (folder / "name").read_text().strip()) for folder in folders]
    wanted = [(folder, name) for folder, name in chips if (name == chip if chip else name not in _GRAPHICS)]
    return _unique([c for folder, name in wanted for c in _channels(folder, name, shunt)])


def _channels(folder: Path, chip: str, shunt: Shunt | None) -> list[Channel]:
    kinds: dict[int, set[str]] = {}
    for path in sorted(folder.iterdir()):
        if match := _CHANNEL.match(path.name):
            kinds.setdefault(int(match[2]), set()).add(match[1])
    numbers = [number for number in sorted(kinds) if number <= _LAST.get(chip, number)]
    found = [_channel(folder, chip, number, kinds[number], shunt) for number in numbers]
    return [channel for channel in found if channel is not None]


def _channel(folder: Path, chip: str, number: int, kinds: set[str], shunt: Shunt | None) -> Channel | None:
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
        resolution_w=ina.resolution_w(folder, chip, number, shunt),
        resolution_j=1e-6 if kind == "energy" else 0.0,
        gain_limit=ina.gain_limit(chip),
        offset_limit_w=ina.offset_limit_w(folder, chip, number, shunt),
    )
    correction = ina.correction(folder, number, shunt)
    return Channel(domain, files, factor * correction, correction)


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


def _mending(error: Exception) -> str | None:
    """Return the command for a file that only root may read, as the kernel has it of some counters."""
    if isinstance(error, PermissionError) and error.filename:
        return f"sudo chmod a+r {error.filename} (until the next boot; or run as root)"
    return None


class HwmonMeter(SysfsMeter):
    """All channels of the kernel's sensor chips (no graphics card's), or of one chip by name; one domain a channel."""

    name = "hwmon"
    automatic = True
    period_s = 0.02

    def __init__(self, argument: str = "", root: Path = ROOT) -> None:
        super().__init__(argument)
        self._root = root
        self._left_out: list[str] = []
        self._corrections: dict[str, float] = {}

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
            chip, shunt = self._options()
            channels = find_channels(self._root, chip, shunt)
        except (OSError, ValueError) as error:
            raise MeterUnavailableError(self.name, str(error)) from error
        if not channels:
            which = f"named '{chip}'" if chip else "but a graphics card's, if any,"
            raise MeterUnavailableError(self.name, f"no chip {which} under {self._root} measures power", HINT)
        gauges = _nested(self._readable(channels))
        self._corrections = {channel.domain.name: channel.correction for channel in channels}
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
            raise MeterUnavailableError(self.name, str(first), _mending(first)) from first
        self._left_out = [
            f"{name} ({error}{f'; try: {hint}' if (hint := _mending(error)) else ''})"
            for name, error in failed.items()
        ]
        return gauges

    def settings(self) -> dict[str, Setting]:
        """Return the chip, the shunt as stated, and by what readings were multiplied, a channel where they differ."""
        chip, shunt = self._options()
        if shunt is None:
            return {"chip": chip} if chip else {}
        known: dict[str, Setting] = {"chip": chip, "shunt_ohm": shunt.true_ohm}
        if shunt.assumed_ohm is not None:
            known["shunt_assumed_ohm"] = shunt.assumed_ohm
        factors = {gauge.domain.name: self._corrections[gauge.domain.name] for gauge in self.gauges}
        if len(set(factors.values())) == 1:
            return known | {"shunt_correction": next(iter(factors.values()))}
        return known | {f"shunt_correction {name}": factor for name, factor in factors.items()}

    def _options(self) -> tuple[str, Shunt | None]:
        chip, options = split_argument(self.argument, {"shunt": ""})
        return chip, ina.stated(options["shunt"])
