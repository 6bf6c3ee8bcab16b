"""Every meter by name: one row each, imported when asked for, so that an absent library costs nobody."""

from importlib import import_module

from power.base import Meter, Probe
from power.errors import MeterUnavailableError, UnknownMeterError

#: name → "module:class"; in the order in which `doctor` shows them and the automatic choice is made.
ROWS: dict[str, str] = {
    "powercap": "power.meters.powercap:PowercapMeter",
    "perf": "power.meters.perf:PerfMeter",
    "pi5-pmic": "power.meters.pi5_pmic:Pi5PmicMeter",
    "hwmon": "power.meters.hwmon:HwmonMeter",
    "pyrapl": "power.meters.pyrapl:PyRaplMeter",
    "fnirsi": "power.meters.fnirsi:FnirsiMeter",
    "rdtech": "power.meters.rdtech:RdtechMeter",
    "tc66": "power.meters.tc66:Tc66Meter",
    "shelly": "power.meters.shelly:ShellyMeter",
    "tasmota": "power.meters.tasmota:TasmotaMeter",
    "nvml": "power.meters.nvml:NvmlMeter",
    "joulescope": "power.meters.joulescope:JoulescopeMeter",
    "replay": "power.meters.replay:ReplayMeter",
    "mock": "power.meters.mock:MockMeter",
    "none": "power.meters.none:NoneMeter",
}

ALIASES: dict[str, str] = {
    "rapl": "powercap",
    "um24c": "rdtech",
    "um25c": "rdtech",
    "um34c": "rdtech",
    "tc66c": "tc66",
    "fnb58": "fnirsi",
    "fnb48": "fnirsi",
}


def names() -> list[str]:
    """Return the names of all meters (aliases left out)."""
    return list(ROWS)


def make(spec: str) -> Meter:
    """Return the meter of `name` or `name:argument`, not yet opened.

    Raises `UnknownMeterError` for a name without a row. An alias that names a model passes it on, so that
    `um25c:/dev/rfcomm0` is `rdtech:/dev/rfcomm0` read with the UM25C's scale.
    """
    name, _, argument = spec.partition(":")
    row = ROWS.get(ALIASES.get(name, name))
    if row is None:
        raise UnknownMeterError(name, [*ROWS, *ALIASES])
    module, _, attribute = row.partition(":")
    kind: type[Meter] = getattr(import_module(module), attribute)
    if name.startswith("um"):
        argument = f"{argument},model={name}" if argument else f"model={name}"
    return kind(argument)


def open_meter(spec: str) -> Meter:
    """Return the meter of `name` or `name:argument`, open.

    Raises `UnknownMeterError`, or `MeterUnavailableError` with the command that mends it. A named meter
    never falls back to another.
    """
    meter = make(spec)
    meter.open()
    return meter


def probe(spec: str) -> Probe:
    """Return what `doctor` says of one meter; a probe that fails is itself a finding, not a crash."""
    meter = make(spec)
    try:
        return meter.probe()
    except MeterUnavailableError as error:
        return Probe(meter.name, False, error.reason, error.hint)
    except OSError as error:
        return Probe(meter.name, False, f"probing failed: {error}")


def probe_all() -> list[Probe]:
    """Probe every registered meter on this machine; nothing is changed, nothing on the network is asked."""
    return [probe(name) for name in ROWS]


def automatic() -> str | None:
    """Return the name of the first usable meter that may be chosen without being asked for, or None."""
    for name in ROWS:
        if make(name).automatic and probe(name).usable:
            return name
    return None
