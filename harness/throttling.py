"""Whether the device slowed itself down while a trial ran: by the Raspberry Pi firmware's own word.

The word (Raspberry Pi documentation, `vcgencmd get_throttled`) says in bits 0 to 3 what is wrong now and in bits 16
to 19 what has been: since boot, or, where the kernel's raspberrypi-hwmon runs, in the last 2 s, because it asks every
2 s and has the firmware clear those bits (drivers/hwmon/raspberrypi-hwmon.c). The word is therefore looked at while the
trial runs, at least as often, and a bit of the past counts whenever it was not set at the look before. It is read from
the firmware driver's file, which shows what that driver was last told, else from the `vcgencmd` program; a kernel
without either tells under-voltage alone (hwmon `rpi_volt`, `in0_lcrit_alarm`).
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TypeVar

import msgspec

from harness import host
from results import schema

Row = TypeVar("Row", schema.Energy, schema.PhaseEnergy)

CAUSES = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
PLATFORM = Path("/sys/devices/platform")
# The firmware's node is a child of the device tree's `soc`, and named after it: soc/soc:firmware up to the Pi 4,
# soc@107c000000/soc@107c000000:firmware on a Pi 5. The second place is where a node without such a parent stands.
_FIRMWARE = ("soc*/soc*:firmware/get_throttled", "soc*:firmware/get_throttled")
HWMON = Path("/sys/class/hwmon")
_NOW = 0xF
_HINTS = {
    "under-voltage": "use a stronger power supply and a shorter cable",
    "frequency capped": "use a stronger power supply, or cool the device",
    "throttled": "cool the device, or let it rest between trials",
    "soft temperature limit": "cool the device, or let it rest between trials",
}
# The program costs a process. What the kernel's driver says holds for 2 s, whoever is asked.
_FILE_PERIOD_S, _DRIVER_PERIOD_S, _PROGRAM_PERIOD_S = 0.5, 1.5, 5.0


def word() -> int | None:
    """Return the firmware's throttling word, or None where nothing here reports one."""
    shown = _firmware(PLATFORM)
    value = None if shown is None else _file(shown, 16)
    if value is None:
        value = _program()
    return _alarm() if value is None else value


def causes(bits: int) -> list[str]:
    """Return in words what is wrong now by the low bits of a word."""
    return [cause for bit, cause in CAUSES.items() if bits >> bit & 1]


class Watch:
    """Looks at the throttling word and the machine's state before, during and after one trial.

    `governor_of_run` is the governor when the run began, which the document has of the machine; None: not known.
    """

    def __init__(self, governor_of_run: str | None = None) -> None:
        self._before = word()
        self._last = self._before or 0
        self._seen = self._last & _NOW
        self._load, self._temperature_c = os.getloadavg()[0], host.temperature_c()
        self._governor, self._governor_of_run = host.governor(), governor_of_run
        self._period_s = _period_s()
        self._due_s = time.monotonic()

    def look(self) -> None:
        """Look at the word if the last look is long enough ago; called often while the trial runs."""
        if self._before is None or time.monotonic() < self._due_s:
            return
        self._due_s = time.monotonic() + self._period_s
        self._note(word())

    def _note(self, bits: int | None) -> None:
        """Keep what a word says is wrong now, and what it says was and the word before did not."""
        if bits is not None:
            self._seen |= (bits & _NOW) | ((bits & ~self._last) >> 16 & _NOW)
            self._last = bits

    def end(self) -> schema.Validity:
        """Return the judgement of the trial that has just ended."""
        after, notes = word(), list(self._governed())
        throttled = None
        if self._before is not None and after is not None:
            self._note(after)
            found = causes(self._seen)
            throttled = bool(found)
            notes += found
        return schema.Validity(
            throttled=throttled,
            load=self._load,
            notes=notes,
            load_after=os.getloadavg()[0],
            temperature_before_c=self._temperature_c,
            temperature_after_c=host.temperature_c(),
        )

    def _governed(self) -> Iterator[str]:
        """Say how the governor changed: before the trial, since the run began, and in it."""
        before, after = self._governor, host.governor()
        if self._governor_of_run not in (None, before):
            yield f"the governor was {_quoted(self._governor_of_run)} when the run began, and {_quoted(before)} here"
        if after != before:
            yield f"the governor changed from {_quoted(before)} to {_quoted(after)} in the trial"


def _quoted(governor: str | None) -> str:
    return f"'{governor}'" if governor else "none"


def why_invalid(validity: schema.Validity) -> str | None:
    """Return in one line why a trial's figures are not the device's own, and what mends it; None where they are."""
    if not validity.throttled:
        return None
    found = [cause for cause in CAUSES.values() if cause in validity.notes]
    hints = dict.fromkeys(_HINTS[cause] for cause in found)
    return f"the device slowed itself down during the run ({', '.join(found)}): {'; '.join(hints)}"


def invalidated(row: Row, why: str) -> Row:
    """Return an energy row that says it is invalid; what was measured stays, beside the reason."""
    reason = f"invalid: {why}" + (f"; {row.reason}" if row.reason else "")
    return msgspec.structs.replace(row, reason=reason)


def _program() -> int | None:
    program = shutil.which("vcgencmd")
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, "get_throttled"], capture_output=True, text=True, timeout=5, check=True
        )
        return int(done.stdout.strip().removeprefix("throttled="), 16)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None  # the program is there and the firmware does not answer it


def _period_s() -> float:
    """Return how often to look, in s."""
    if _firmware(PLATFORM):
        return _FILE_PERIOD_S
    return _PROGRAM_PERIOD_S if _driver() is None else _DRIVER_PERIOD_S


@cache
def _firmware(platform: Path) -> Path | None:
    """Return the file that shows the firmware driver's word, None where there is none; looked for once a process."""
    return next((file for place in _FIRMWARE for file in sorted(platform.glob(place))), None)


def _driver() -> Path | None:
    """Return the folder of the kernel's own watch of the firmware, None where it does not run."""
    for chip in sorted(HWMON.glob("hwmon*")):
        try:
            name = (chip / "name").read_text().strip()
        except OSError:
            continue
        if name == "rpi_volt":
            return chip
    return None


def _alarm() -> int | None:
    """Return bit 0 from the kernel's own under-voltage alarm: whether there was any in its last 2 s."""
    driver = _driver()
    return None if driver is None else _file(driver / "in0_lcrit_alarm", 10)


def _file(path: Path, base: int) -> int | None:
    try:
        return int(path.read_text().strip("\0\n "), base)
    except (OSError, ValueError):
        return None
