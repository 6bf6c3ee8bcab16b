"""`rdtech:PORT`: the USB meters UM24C, UM25C and UM34C by RDTech, over their Bluetooth serial port.

Sent F0, they answer 130 bytes, big endian; the protocol was found out by their users. Used here:

    0    u16  model            4  u16  current (see the model's unit)      106  u32  energy, mWh (group 0)
    2    u16  voltage          6  u32  power, mW

Bind the port first: `sudo rfcomm bind 0 AA:BB:CC:DD:EE:FF`. About two fresh values a second. The register in
mWh steps by 3.6 J, so it is a domain of its own (inside the integrated one) that only long windows can use.
"""

import struct
from dataclasses import dataclass

from power.base import Domain, Meter, Probe, Sample, Setting, now_ns
from power.errors import MeterReadError, MeterUnavailableError
from power.meters.serial_port import SerialPort
from power.options import split_argument

SIZE = 130
HINT_BIND = "sudo rfcomm bind 0 AA:BB:CC:DD:EE:FF, then --meter um25c:/dev/rfcomm0"
_MWH_J = 3.6


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
    return Reading(model, volt, ampere, power_w, milliwatt_hours * _MWH_J)


class RdtechMeter(Meter):
    """A UM24C, UM25C or UM34C; the power through its plug, and its energy register."""

    name = "rdtech"
    period_s = 0.5

    def __init__(self, argument: str = "") -> None:
        super().__init__(argument)
        self._port: SerialPort | None = None
        self._model = MODELS[0x09C9]

    @property
    def domains(self) -> tuple[Domain, ...]:
        """The plug by integrated power, and inside it the plug by register."""
        gain = self._model.gain_limit
        covered = "everything fed through the meter's plug"
        return (
            Domain(
                "usb", "power", covered, update_s=0.5, resolution_w=1e-3, gain_limit=gain, max_power_w=150.0
            ),
            Domain(
                "usb-register",
                "energy",
                f"{covered}, as the meter itself counts it in mWh",
                parent="usb",
                update_s=0.5,
                resolution_j=_MWH_J,
                gain_limit=gain,
                max_power_w=150.0,
            ),
        )

    def probe(self) -> Probe:
        """Ask the meter once."""
        try:
            self.open()
        except MeterUnavailableError as error:
            return Probe(self.name, False, error.reason, error.hint)
        self.close()
        return Probe(self.name, True, domains=self.domains)

    def open(self) -> None:
        """Open the port and ask once, which tells the model. Raises `MeterUnavailableError`."""
        if self._port is not None:
            return
        path, wanted = self._options()
        if not path:
            raise MeterUnavailableError(self.name, "no serial port was named", HINT_BIND)
        self._port = SerialPort(self.name, path, 9600)
        try:
            self._model = self._ask().model
        except MeterReadError as error:
            self.close()
            raise MeterUnavailableError(self.name, str(error), HINT_BIND) from error
        if wanted not in ("", self._model.name):
            self.close()
            raise MeterUnavailableError(self.name, f"{path} is a {self._model.name}, not a {wanted}")

    def read(self) -> list[Sample]:
        """Ask for one reading."""
        before_ns = now_ns()
        reading = self._ask()
        t_ns = (before_ns + now_ns()) // 2
        return [
            Sample(t_ns, "usb", power_w=reading.power_w),
            Sample(t_ns, "usb-register", energy_j=reading.register_j),
        ]

    def close(self) -> None:
        """Close the port."""
        port, self._port = self._port, None
        if port is not None:
            port.close()

    def settings(self) -> dict[str, Setting]:
        """Return the port and the model that answered."""
        return {"port": self._options()[0], "model": self._model.name}

    def _options(self) -> tuple[str, str]:
        try:
            path, options = split_argument(self.argument, {"model": ""})
        except ValueError as error:
            raise MeterUnavailableError(self.name, str(error), HINT_BIND) from error
        return path, options["model"]

    def _ask(self) -> Reading:
        if self._port is None:
            raise MeterReadError(f"meter '{self.name}' is not open")
        try:
            return parse_answer(self._port.ask(b"\xf0", SIZE))
        except ValueError as error:
            raise MeterReadError(f"meter '{self.name}': {error}") from error
