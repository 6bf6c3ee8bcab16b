"""What meters on a serial port share: asked, they answer a record of fixed length with power and an energy register."""

from abc import abstractmethod
from typing import ClassVar, Protocol

from power.base import Domain, Meter, Sample, now_ns
from power.errors import MeterReadError, MeterUnavailableError
from power.meters.serial_port import SerialPort

#: The registers count in mWh: 3.6 J a step, so they are a domain of their own that only long windows can use.
MWH_J = 3.6
_MAX_POWER_W = 150.0
#: What sellers' leaflets print after the percentage of a reading: ± so many steps of its last digit. With the UM25C and
#: TC66 it is 2 for voltage and 4 for current; what it is with the UM24C and UM34C is not known, the same is assumed.
VOLT_DIGITS, AMPERE_DIGITS = 2, 4
#: The volts of USB, before a meter has said its own; none of these meters works below 4 V.
_USUAL_V, _LOWEST_V = 5.0, 4.0


class Reading(Protocol):
    """What every answer holds: V, W, and the energy register in J."""

    @property
    def volt(self) -> float:
        """Voltage now, in V."""

    @property
    def power_w(self) -> float:
        """Power now, in W."""

    @property
    def register_j(self) -> float:
        """The energy register, in J."""


class SerialMeter(Meter):
    """A meter in a USB plug, asked over a serial port; a kind of it names its question and reads its answer."""

    baud: ClassVar[int]
    question: ClassVar[bytes]
    answer_bytes: ClassVar[int]
    #: What the answer most likely lacks where there is none.
    hint: ClassVar[str | None] = None

    def __init__(self, argument: str = "") -> None:
        super().__init__(argument)
        self._port: SerialPort | None = None
        #: Volts at the plug when it was opened: a step of the current is so many times as much power.
        self.volt = _USUAL_V

    @abstractmethod
    def parse(self, answer: bytes) -> Reading:
        """Return the reading in an answer. Raises `ValueError`."""

    def port_path(self) -> str:
        """Return the port that was named. Raises `MeterUnavailableError` for an argument that names none."""
        return self.argument

    def check(self) -> None:
        """Raise `MeterUnavailableError` where something else than the port is missing."""

    def first_answer(self, reading: Reading) -> None:
        """Take what the first answer tells of the meter. Raises `MeterUnavailableError`."""

    def open(self) -> None:
        """Open the port and ask once. Raises `MeterUnavailableError`: library, port, or no answer."""
        if self._port is not None:
            return
        path = self.port_path()
        self.check()
        self._port = SerialPort(self.name, path, self.baud)
        try:
            reading = self._ask()
            self.volt = max(_LOWEST_V, reading.volt)
            self.first_answer(reading)
        except MeterReadError as error:
            self.close()
            raise MeterUnavailableError(self.name, str(error), self.hint) from error
        except MeterUnavailableError:
            self.close()
            raise

    def read(self) -> list[Sample]:
        """Ask for one reading; its instant is the middle of the exchange."""
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

    def _ask(self) -> Reading:
        if self._port is None:
            raise MeterReadError(f"meter '{self.name}' is not open")
        try:
            return self.parse(self._port.ask(self.question, self.answer_bytes))
        except ValueError as error:
            raise MeterReadError(f"meter '{self.name}': {error}") from error


def plug_domains(
    *, update_s: float, resolution_w: float, gain_limit: float, offset_limit_w: float
) -> tuple[Domain, ...]:
    """Return the plug by integrated power, renewed every `update_s`, and inside it the plug by register."""
    covered = "everything fed through the meter's plug"
    return (
        Domain(
            "usb",
            "power",
            covered,
            update_s=update_s,
            resolution_w=resolution_w,
            gain_limit=gain_limit,
            offset_limit_w=offset_limit_w,
            max_power_w=_MAX_POWER_W,
        ),
        Domain(
            "usb-register",
            "energy",
            f"{covered}, as the meter itself counts it in mWh",
            parent="usb",
            update_s=0.5,
            resolution_j=MWH_J,
            gain_limit=gain_limit,
            offset_limit_w=offset_limit_w,
            max_power_w=_MAX_POWER_W,
        ),
    )
