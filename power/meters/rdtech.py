"""`rdtech:PORT`: the USB meters UM24C, UM25C and UM34C by RDTech, over their Bluetooth serial port.

Sent F0, they answer 130 bytes, big endian; the protocol was found out by their users. Used here:

    0    u16  model            4  u16  current (see the model's unit)      106  u32  energy, mWh (group 0)
    2    u16  voltage          6  u32  power, mW

Bind the port first: `sudo rfcomm bind 0 AA:BB:CC:DD:EE:FF`. About two fresh values a second. The register in
mWh steps by 3.6 J, so it is a domain of its own (inside the integrated one) that only long windows can use.
"""

import struct
from dataclasses import dataclass

from power.base import Domain, Setting
from power.errors import MeterUnavailableError
from power.meters import serial_meter
from power.meters.serial_meter import MWH_J, SerialMeter, plug_domains
from power.options import split_argument

SIZE = 130
HINT_BIND = "sudo rfcomm bind 0 AA:BB:CC:DD:EE:FF (then --meter um25c:/dev/rfcomm0)"


@dataclass(frozen=True, slots=True)
class Model:
    """A model: volts and amperes a step, and the relative limit of its power by the seller's leaflet."""

    name: str
    volt: float
    ampere: float
    gain_limit: float


MODELS = {
    0x0963: Model("um24c", 1e-2, 1e-3, 0.015),
    0x09C9: Model("um25c", 1e-3, 1e-4, 0.002),
    0x0D4C: Model("um34c", 1e-2, 1e-3, 0.015),
}


@dataclass(frozen=True, slots=True)
class Reading:
    """One answer: the model, V, A, W, and the energy register in J."""

    model: Model
    volt: float
    ampere: float
    power_w: float
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
    (milliwatt_hours,) = struct.unpack_from(">I", answer, 106)
    volt, ampere, power_w = volts * model.volt, amps * model.ampere, milliwatts * 1e-3
    rounding_w = 0.002 + model.volt * ampere + model.ampere * volt
    if abs(power_w - volt * ampere) > rounding_w:
        raise ValueError(f"{power_w} W beside {volt} V and {ampere} A: a corrupt answer")
    return Reading(model, volt, ampere, power_w, milliwatt_hours * MWH_J)


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

    @property
    def domains(self) -> tuple[Domain, ...]:
        """The plug by integrated power, and inside it the plug by register."""
        return plug_domains(update_s=0.5, resolution_w=1e-3, gain_limit=self._model.gain_limit)

    def parse(self, answer: bytes) -> Reading:
        """Return the reading in an answer. Raises `ValueError`."""
        return parse_answer(answer)

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
            self._model = reading.model
        if wanted not in ("", self._model.name):
            raise MeterUnavailableError(self.name, f"{path} is a {self._model.name}, not a {wanted}")

    def settings(self) -> dict[str, Setting]:
        """Return the port and the model that answered."""
        return {"port": self._options()[0], "model": self._model.name}

    def _options(self) -> tuple[str, str]:
        try:
            path, options = split_argument(self.argument, {"model": ""})
        except ValueError as error:
            raise MeterUnavailableError(self.name, str(error), HINT_BIND) from error
        return path, options["model"]
