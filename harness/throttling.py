"""Whether the device slowed itself down while a trial ran: by the Raspberry Pi firmware's own word.

The word (Raspberry Pi documentation, `vcgencmd get_throttled`) says in bits 0 to 3 what is wrong now and in bits 16
to 19 what has been since boot. Sticky bits that were set before the trial say nothing of it, so the word is looked at
while the trial runs too. It is read from the firmware driver's file, else from the `vcgencmd` program; a kernel without
either tells under-voltage alone (hwmon `rpi_volt`, `in0_lcrit_alarm`).
"""

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import TypeVar

import msgspec

from harness import host
from results import schema

Row = TypeVar("Row", schema.Energy, schema.PhaseEnergy)

CAUSES = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
FIRMWARE = Path("/sys/devices/platform/soc/soc:firmware/get_throttled")
HWMON = Path("/sys/class/hwmon")
_NOW = 0xF
_HINTS = {
    "under-voltage": "use a stronger power supply and a shorter cable",
    "frequency capped": "use a stronger power supply, or cool the device",
    "throttled": "cool the device, or let it rest between trials",
    "soft temperature limit": "cool the device, or let it rest between trials",
}
# A file costs a call of the firmware, the program a process as well.
_FILE_PERIOD_S, _PROGRAM_PERIOD_S = 0.5, 5.0


def word() -> int | None:
    """Return the firmware's throttling word, or None where nothing here reports one."""
    value = _file(FIRMWARE, 16)
    if value is None:
        value = _program()
    return _alarm() if value is None else value


def causes(bits: int) -> list[str]:
    """Return in words what is wrong now by the low bits of a word."""
    return [cause for bit, cause in CAUSES.items() if bits >> bit & 1]


class Watch:
    """Looks at the throttling word and the machine's state before, during and after one trial."""

    def __init__(self) -> None:
        self._before = word()
        self._seen = (self._before or 0) & _NOW
        self._load, self._temperature_c = os.getloadavg()[0], host.temperature_c()
        self._governor = host.governor()
        self._period_s = _FILE_PERIOD_S if FIRMWARE.exists() else _PROGRAM_PERIOD_S
        self._due_s = time.monotonic()

    def look(self) -> None:
        """Look at the word if the last look is long enough ago; called often while the trial runs."""
        if self._before is None or time.monotonic() < self._due_s:
            return
        self._due_s = time.monotonic() + self._period_s
        self._seen |= (word() or 0) & _NOW

    def end(self) -> schema.Validity:
        """Return the judgement of the trial that has just ended."""
        after, notes = word(), []
        governor = host.governor()
        if governor != self._governor:
            notes.append(f"the governor changed from '{self._governor}' to '{governor}' in the trial")
        throttled = None
        if self._before is not None and after is not None:
            found = causes(self._seen | after & _NOW | (after & ~self._before) >> 16)
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


def _alarm() -> int | None:
    """Return bit 0 and its sticky twin from the kernel's own under-voltage alarm, which keeps what it saw once."""
    for chip in sorted(HWMON.glob("hwmon*")):
        try:
            name = (chip / "name").read_text().strip()
        except OSError:
            continue
        if name == "rpi_volt":
            return _file(chip / "in0_lcrit_alarm", 10)
    return None


def _file(path: Path, base: int) -> int | None:
    try:
        return int(path.read_text().strip("\0\n "), base)
    except (OSError, ValueError):
        return None
