"""The trigger pin: one output, active exactly in the measured window, for meters with a logic input.

gpiozero drives it (an extra, `pi`), imported when a pin is asked for. An external meter then cuts its own
trace at the pin's edges. Setting a pin from Python takes some tens of microseconds: the instants before and
after are kept (CLOCK_MONOTONIC, ns), so that the record says where the edge was and how sharply it is known.
"""

import importlib.util
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic_ns
from types import TracebackType
from typing import Any, Self

from harness.errors import TriggerUnavailableError

HINT_INSTALL = (
    "pip install 'edge-harness[pi]' (on Raspberry Pi OS: sudo apt install python3-gpiozero python3-lgpio)"
)
HINT_GROUP = "sudo usermod -aG gpio $USER (then log in again; and wire a pin that exists and is free)"
HINT_DEVICE_FILE = "sudo usermod -aG gpio $USER (then log in again)"

DEVICES = Path("/dev")
# What the pin drivers open: the kernel's character devices (lgpio), or the registers (RPi.GPIO, gpiozero's own).
_DEVICE_FILES = ("gpiochip*", "gpiomem*")
#: Names a pin driver to gpiozero; one that is a mock or on another machine needs no device file here.
_CHOSEN = "GPIOZERO_PIN_FACTORY"
# Makes the pin driver and asks it for the board, which touches no pin.
_LOOK = """
import sys, warnings
warnings.simplefilter("ignore")
try:
    import gpiozero
    gpiozero.Device.ensure_pin_factory()
    gpiozero.Device.pin_factory.board_info
except Exception as error:
    sys.exit(f"{type(error).__name__}: {error}".replace(chr(10), " "))
"""
_LOOK_S = 20.0


@dataclass(frozen=True, slots=True)
class Edge:
    """One edge of the pin: it happened between `before_ns` and `after_ns`."""

    active: bool
    before_ns: int
    after_ns: int

    @property
    def t_ns(self) -> int:
        """The middle of the interval."""
        return (self.before_ns + self.after_ns) // 2


class Trigger:
    """The output on a pin (BCM number), inactive until a window begins; `active_high` is its polarity.

    Raises `TriggerUnavailableError` where gpiozero, its pin driver or the pin itself is not there.
    """

    def __init__(self, pin: int, *, active_high: bool = True) -> None:
        self.pin, self.active_high = pin, active_high
        self.edges: list[Edge] = []
        self._device: Any = _open(pin, active_high)

    def set(self, active: bool) -> Edge:
        """Drive the pin and return the edge. Raises `TriggerUnavailableError` where the driver fails."""
        before_ns = monotonic_ns()
        try:
            self._device.value = active
        except Exception as error:  # lgpio raises a kind of its own, gpiozero several
            raise TriggerUnavailableError(self.pin, f"it cannot be driven: {error}") from error
        edge = Edge(active, before_ns, monotonic_ns())
        self.edges.append(edge)
        return edge

    @contextmanager
    def window(self) -> Iterator[Self]:
        """Hold the pin active inside the block; it falls however the block is left."""
        self.set(True)
        try:
            yield self
        finally:
            self.set(False)

    def close(self) -> None:
        """Leave the pin inactive and give it back; may be called twice."""
        device, self._device = self._device, None
        if device is not None:
            device.off()
            device.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def missing() -> str | None:
    """Return why no pin can be driven here, and what mends it after `; try: `; None where one can."""
    if _CHOSEN not in os.environ:
        files = sorted(file for name in _DEVICE_FILES for file in DEVICES.glob(name))
        if not files:
            return f"this machine shows no GPIO: there is no {DEVICES}/gpiochip*"
        if not any(os.access(file, os.R_OK | os.W_OK) for file in files):
            return f"this user may not open {files[0]}; try: {HINT_DEVICE_FILE}"
    if importlib.util.find_spec("gpiozero") is None:
        return f"gpiozero is not installed; try: {HINT_INSTALL}"
    failure = _driver_failure()
    return f"no pin driver works here: {failure}; try: {HINT_INSTALL}" if failure else None


def _driver_failure() -> str | None:
    """Return why gpiozero finds no pin driver, or no board it knows; None where it finds both.

    Asked of another process in a folder of its own: importing lgpio leaves a pipe where it is imported, and a thread.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                [sys.executable, "-P", "-c", _LOOK],
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=_LOOK_S,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
    if done.returncode == 0:
        return None
    return (done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"])[-1]


def _open(pin: int, active_high: bool) -> Any:
    try:
        # gpiozero warns for every pin driver it tries in vain; the last reason is in its error.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import gpiozero

            return gpiozero.DigitalOutputDevice(pin, active_high=active_high, initial_value=False)
    except ModuleNotFoundError as error:
        raise TriggerUnavailableError(pin, f"{error.name} is not installed", HINT_INSTALL) from error
    except ImportError as error:  # gpiozero.exc.BadPinFactory is one
        raise TriggerUnavailableError(pin, f"no pin driver works here: {error}", HINT_INSTALL) from error
    except Exception as error:  # PinUnknownPi, PinInvalidPin, GPIOPinInUse, lgpio.error: no common root
        raise TriggerUnavailableError(pin, f"{type(error).__name__}: {error}", HINT_GROUP) from error
