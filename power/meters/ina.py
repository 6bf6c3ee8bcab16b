"""What is known of the INA chips that hwmon shows: their shunts, and the limits of their data sheets.

A chip of this family measures the voltage across a shunt. Its driver turns that into current by the shunt that it
assumes: what a device tree says, or else a default. It shows the value (µΩ) as `shunt_resistor`, that of the INA3221
one a channel, as `shunt1_resistor` to `shunt3_resistor`; the `ina238` driver (INA228, 237, 238) shows none on some
kernels, and its default was 10 mΩ once and is 2.5 mΩ now. What is really on the board the user says:

    shunt=0.1          100 mΩ, whatever the driver assumes and shows
    shunt=0.1/0.01     100 mΩ, where the driver assumes 10 mΩ and does not show it
"""

from pathlib import Path
from typing import NamedTuple

from power.options import positive

#: Gain limits: the chip's data sheet and a 1 % shunt; what is not listed is not known, 5 % is assumed.
_GAIN = {"ina219": 0.015, "ina220": 0.015, "ina226": 0.011, "ina230": 0.02, "ina231": 0.02}
_GAIN |= {"ina228": 0.011, "ina237": 0.015, "ina238": 0.011, "ina260": 0.005, "ina3221": 0.015}
#: Limits of the offset of the shunt's voltage at 25 °C, in V. TI's data sheets, *Electrical characteristics*: INA219
#: (SBOS448) and 220 (SBOS459) of grade A at PGA ÷8, which the driver sets; INA226 (SBOS547), 228 (SLYS021), 230
#: (SBOS601), 231 (SBOS644), 237 (SBOSA20), 238 (SLYS025), 3221 (SBOS576).
_OFFSET_V = {"ina219": 200e-6, "ina220": 200e-6, "ina226": 10e-6, "ina230": 50e-6, "ina231": 50e-6}
_OFFSET_V |= {"ina228": 1e-6, "ina237": 50e-6, "ina238": 5e-6, "ina3221": 80e-6}
#: The INA260 (SBOS656) has its shunt inside and states the offset as a current, in A.
_OFFSET_A = {"ina260": 5e-3}
#: Power step over the shunt step, and the shunt step in V: power LSB = factor · step / shunt.
_STEPS = {"ina219": (20, 10e-6), "ina220": (20, 10e-6)}
_STEPS |= dict.fromkeys(("ina226", "ina230", "ina231"), (25, 2.5e-6))
#: Where nothing else is known: the smallest shunt (Ω) that a driver assumes, as the limit is widest then; the V of USB.
_SMALLEST_OHM, _USUAL_V = 2.5e-3, 5.0


class Shunt(NamedTuple):
    """What the user says of a shunt, in Ω: what it is, and what the driver assumes where it does not show it."""

    true_ohm: float
    assumed_ohm: float | None = None


def stated(text: str) -> Shunt | None:
    """Return what `shunt=TRUE` or `shunt=TRUE/ASSUMED` says; None for nothing. Raises `ValueError`."""
    if not text:
        return None
    true, separator, assumed = text.partition("/")
    return Shunt(positive("shunt", true), positive("shunt", assumed) if separator else None)


def correction(folder: Path, number: int, shunt: Shunt | None) -> float:
    """Return assumed over true shunt: what readings of current, power and energy are to be multiplied by.

    Raises `ValueError` where the driver does not show what it assumes and nobody says it, or both do and differ.
    """
    if shunt is None:
        return 1.0
    shown_ohm = _shown_ohm(folder, number)
    if shown_ohm is None and shunt.assumed_ohm is None:
        raise ValueError(
            f"{folder.name} has no shunt_resistor: its driver does not show what it assumes; "
            f"say it too, as shunt={shunt.true_ohm:g}/0.01 where it assumes 10 mΩ"
        )
    if shown_ohm is not None and shunt.assumed_ohm not in (None, shown_ohm):
        raise ValueError(
            f"{folder.name} shows that its driver assumes {shown_ohm:g} Ω, not {shunt.assumed_ohm:g} Ω: "
            f"say shunt={shunt.true_ohm:g} alone"
        )
    return (shown_ohm or shunt.assumed_ohm or shunt.true_ohm) / shunt.true_ohm


def gain_limit(chip: str) -> float:
    """Return the limit of the relative error of power."""
    return _GAIN.get(chip, 0.05)


def offset_limit_w(folder: Path, chip: str, number: int, shunt: Shunt | None) -> float:
    """Return the limit of the constant error of power, in W: that of the current, at the voltage there is now.

    0 for a chip that is not listed: what it is, is not known, and 5 % of gain stand for everything.
    """
    if chip in _OFFSET_A:
        return _OFFSET_A[chip] * _bus_v(folder, number)
    if chip not in _OFFSET_V:
        return 0.0
    ohm = shunt.true_ohm if shunt else _shown_ohm(folder, number) or _SMALLEST_OHM
    return _OFFSET_V[chip] / ohm * _bus_v(folder, number)


def resolution_w(folder: Path, chip: str, number: int, shunt: Shunt | None) -> float:
    """Return the step of the power register, in W; 0 where it is not known."""
    ohm = shunt.true_ohm if shunt else _shown_ohm(folder, number)
    if chip not in _STEPS or ohm is None:
        return 0.0
    factor, step_v = _STEPS[chip]
    return factor * step_v / ohm


def _shown_ohm(folder: Path, number: int) -> float | None:
    for name in (f"shunt{number}_resistor", "shunt_resistor"):
        file = folder / name
        if file.exists():
            return positive(f"{folder.name}/{name}", file.read_text().strip()) * 1e-6
    return None


def _bus_v(folder: Path, number: int) -> float:
    """The voltage of a channel; that of USB where the chip shows none or does not answer."""
    try:
        return abs(int((folder / f"in{number}_input").read_text())) * 1e-3 or _USUAL_V
    except (OSError, ValueError):
        return _USUAL_V
