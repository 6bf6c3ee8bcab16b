"""`rdtech:PORT`: the USB meters UM24C, UM25C and UM34C by RDTech, over their Bluetooth serial port.

Sent F0, they answer 130 bytes, big endian; the protocol was found out by their users (sigrok's wiki, *RDTech UM
series*; the parsers umxxc-parser and rd-usb). Used here:

    0    u16  model            4  u16  current (see the model's unit)      14       u16  selected group, 0 to 9
    2    u16  voltage          6  u32  power, mW                           20 + 8g  u32  energy of group g, mWh

The meter counts into the group that is selected at its buttons. (At 106 is another register, which counts only while
the current is above a threshold set there.) Where another group is selected meanwhile, a reading fails: neither
register holds the energy then.

Bind the port first: `sudo rfcomm bind 0 AA:BB:CC:DD:EE:FF`. About two fresh values a second. The register in
mWh steps by 3.6 J, so it is a domain of its own (inside the integrated one) that only long windows can use.
"""

import struct
from dataclasses import dataclass

from power.base import Domain, Setting
from power.errors import MeterUnavailableError
from power.meters import serial_meter
from power.meters.serial_meter import AMPERE_DIGITS, MWH_J, VOLT_DIGITS, SerialMeter, plug_domains
from power.options import split_argument

SIZE = 130
_GROUP_AT, _ENERGY_AT, _GROUPS = 14, 20, 10
HINT_BIND = "sudo rfcomm bind 0 AA:BB:CC:DD:EE:FF (then --meter um25c:/dev/rfcomm0)"


@dataclass(frozen=True, slots=True)
class Model:
    """A model: volts and amperes a step, and the relative limit of its power by the seller's leaflet, without digits.

    UM25C: ± (0.05 % + 2 digits) of voltage, ± (0.1 % + 4 digits) of current; the others ± 0.5 % and ± 1 %.
    """

    name: str
    volt: float
    ampere: float
    gain_limit: float


MODELS = {
    0x0963: Model("um24c", 1e-2, 1e-3, 0.015),
    0x09C9: Model("um25c", 1e-3, 1e-4, 0.0015),
    0x0D4C: Model("um34c", 1e-2, 1e-3, 0.015),
}


@dataclass(frozen=True, slots=True)
class Reading:
    """One answer: the model, V, A, W, the selected group, and its energy register in J."""

    model: Model
    volt: float
    ampere: float
    power_w: float
    group: int
    register_j: float


def parse_answer(answer: bytes) -> Reading:
    """Return the reading in a 130-byte answer.

    The answers carry no checksum over the data, so the power is held against voltage times current (they
    agree within their rounding). Raises `ValueError` for what is not an answer of a known model.
    """
    if len(answer) != SIZE:
        raise ValueError(f"an answer of {len(answer)} bytes, not {SIZE}")
    code, volts, amps, milliwatts = struct.unpack_from(">HHHI", answer)
    model = MODELS.get(code)
    if model is None:
        raise ValueError(f"an answer that begins with {code:#06x}, no known model")
    (group,) = struct.unpack_from(">H", answer, _GROUP_AT)
    if group >= _GROUPS:
        raise ValueError(f"a selected group of {group}, where there are {_GROUPS}: a corrupt answer")
    (milliwatt_hours,) = struct.unpack_from(">I", answer, _ENERGY_AT + 8 * group)
    volt, ampere, power_w = volts * model.volt, amps * model.ampere, milliwatts * 1e-3
    rounding_w = 0.002 + model.volt * ampere + model.ampere * volt
    if abs(power_w - volt * ampere) > rounding_w:
        raise ValueError(f"{power_w} W beside {volt} V and {ampere} A: a corrupt answer")
    return Reading(model, volt, ampere, power_w, group, milliwatt_hours * MWH_J)


class RdtechMeter(SerialMeter):
    """A UM24C, UM25C or UM34C; the power through its plug, and its energy register."""

    name = "rdtech"
    period_s = 0.5
    baud = 9600
    question, answer_bytes = b"\xf0", SIZE
    hint = HINT_BIND

    def __init__(self, argument: str = "") -> None:
        super().__init__(argument)
        self._model = MODELS[0x09C9]
        self._group: int | None = None

    @property
    def domains(self) -> tuple[Domain, ...]:
        """The plug by integrated power, and inside it the plug by register.

        The digits of the current are an offset, at the voltage there was at opening; those of the voltage a gain.
        """
        model = self._model
        return plug_domains(
            update_s=0.5,
            resolution_w=1e-3,
            gain_limit=model.gain_limit + VOLT_DIGITS * model.volt / self.volt,
            offset_limit_w=AMPERE_DIGITS * model.ampere * self.volt,
        )

    def open(self) -> None:
        """As every serial meter; opened again, it may have another group selected. Raises `MeterUnavailableError`."""
        if self._port is None:
            self._group = None
        super().open()

    def parse(self, answer: bytes) -> Reading:
        """Return the reading in an answer. Raises `ValueError`, also where another group was selected meanwhile."""
        reading = parse_answer(answer)
        if self._group not in (None, reading.group):
            raise ValueError(
                f"group {reading.group} is selected in place of group {self._group}: "
                "select it again at the meter's buttons, and measure anew"
            )
        return reading

    def port_path(self) -> str:
        """Return the port that was named. Raises `MeterUnavailableError` with how to bind one."""
        path, _ = self._options()
        if not path:
            raise MeterUnavailableError(self.name, "no serial port was named", HINT_BIND)
        return path

    def first_answer(self, reading: serial_meter.Reading) -> None:
        """Take the model that answered. Raises `MeterUnavailableError` where another one was named."""
        path, wanted = self._options()
        if isinstance(reading, Reading):
            self._model, self._group = reading.model, reading.group
        if wanted not in ("", self._model.name):
            raise MeterUnavailableError(self.name, f"{path} is a {self._model.name}, not a {wanted}")

    def settings(self) -> dict[str, Setting]:
        """Return the port, the model that answered, and the group whose register is read."""
        known: dict[str, Setting] = {"port": self._options()[0], "model": self._model.name}
        return known if self._group is None else known | {"group": self._group}

    def _options(self) -> tuple[str, str]:
        try:
            path, options = split_argument(self.argument, {"model": ""})
        except ValueError as error:
            raise MeterUnavailableError(self.name, str(error), HINT_BIND) from error
        return path, options["model"]
