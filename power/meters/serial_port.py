"""A serial port for meters that are asked and answer with a record of fixed length (pyserial, an extra)."""

import termios
from typing import Any

from power.errors import MeterReadError, MeterUnavailableError, cause_of

#: How long an answer may take; these meters answer within some tens of milliseconds.
TIMEOUT_S = 1.0
HINT_INSTALL = "pip install 'edge-harness[meters]'"
HINT_GROUP = "sudo usermod -aG dialout $USER (then log in again)"


class SerialPort:
    """An open serial port; every error names the meter and the port."""

    def __init__(self, meter: str, path: str, baud: int, timeout_s: float | None = None) -> None:
        self.meter, self.path = meter, path
        self._port = _open(meter, path, baud, TIMEOUT_S if timeout_s is None else timeout_s)

    def ask(self, question: bytes, size: int) -> bytes:
        """Drop what is left over, send `question` and return `size` bytes. Raises `MeterReadError`."""
        try:
            self._port.reset_input_buffer()
            self._port.write(question)
            answer = bytes(self._port.read(size))
        except (OSError, termios.error, ValueError, TypeError) as error:
            # pyserial reads None from a port that went away; one that was hung up cannot be flushed.
            raise MeterReadError(f"meter '{self.meter}': {self.path} is gone: {error}") from error
        if len(answer) != size:
            raise MeterReadError(f"meter '{self.meter}': {self.path} sent {len(answer)} of {size} bytes")
        return answer

    def close(self) -> None:
        """Close the port."""
        self._port.close()


def _open(meter: str, path: str, baud: int, timeout_s: float) -> Any:
    if not path:
        raise MeterUnavailableError(meter, "no serial port was named", f"--meter {meter}:/dev/ttyACM0")
    try:
        import serial
    except ImportError as error:
        raise MeterUnavailableError(meter, f"pyserial is not installed ({error})", HINT_INSTALL) from error
    try:
        return serial.Serial(path, baud, timeout=timeout_s, write_timeout=timeout_s)
    except (OSError, ValueError) as error:
        refused = getattr(error, "errno", None) == 13
        hint = HINT_GROUP if refused else None
        raise MeterUnavailableError(meter, f"{path} cannot be opened: {cause_of(error)}", hint) from error
