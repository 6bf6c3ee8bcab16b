"""`pi5-pmic`: the power-management chip of the Raspberry Pi 5, asked through the firmware's mailbox.

The firmware answers the text command `pmic_read_adc` (mailbox property 0x00030080, "get gencmd result"; the
message is that of the `vcgencmd` program) with lines such as

    VDD_CORE_A current(7)=1.50000000A
         VDD_CORE_V volt(15)=0.89000000V

Twelve rails have a current and a voltage; they are paired by name. Not covered is what hangs on the 5 V rail:
USB devices, HATs, NVMe, and the losses before the chip (EXT5V has a voltage only). About 21 fresh values a
second. No data sheet states an error: ± 5 % is assumed.

The device `/dev/vcio_gencmd` (newer kernels) or `/dev/vcio` is open to the group `video`; where neither is
there, the `vcgencmd` program is run for every reading, which costs some milliseconds of CPU time.
"""

import fcntl
import os
import re
import shutil
import struct
import subprocess
from math import isfinite
from pathlib import Path

from power.base import Domain, Meter, Sample, Setting, now_ns
from power.errors import MeterReadError, MeterUnavailableError

DEVICES = (Path("/dev/vcio_gencmd"), Path("/dev/vcio"))
HINT_GROUP = "sudo usermod -aG video $USER (then log in again)"
WHOLE = "board"

_GET_GENCMD_RESULT = 0x00030080
_ROOM = 1024
#: _IOWR(100, 0, char *): direction 3, size of a pointer, type 100, number 0.
IOCTL_PROPERTY = (3 << 30) | (struct.calcsize("P") << 16) | (100 << 8)
_LINE = re.compile(r"^\s*(\w+)_([AV])\s+(?:current|volt)\(\d+\)=([0-9.]+)[AV]\s*$", re.MULTILINE)
_UPDATE_S, _GAIN = 1 / 21, 0.05


def parse_rails(text: str) -> dict[str, float]:
    """Return the power of every rail that has both a current and a voltage, in W; others are left out."""
    parts: dict[tuple[str, str], float] = {}
    for rail, kind, number in _LINE.findall(text):
        try:
            value = float(number)
        except ValueError:
            continue
        if isfinite(value):
            parts[rail, kind] = value
    rails = dict.fromkeys(rail for rail, _ in parts)
    both = [rail for rail in rails if (rail, "A") in parts and (rail, "V") in parts]
    return {rail: parts[rail, "A"] * parts[rail, "V"] for rail in both}


def gencmd_message(command: str) -> bytearray:
    """Return the mailbox message that asks the firmware to run a text command."""
    text = command.encode().ljust(_ROOM, b"\0")
    size = 6 * 4 + _ROOM + 4
    return bytearray(struct.pack("=6I", size, 0, _GET_GENCMD_RESULT, _ROOM, 0, 0) + text + bytes(4))


def gencmd_answer(message: bytes | bytearray) -> str:
    """Return the text in an answered mailbox message. Raises `ValueError` where the firmware refused."""
    code = int.from_bytes(message[4:8], "little")
    if code != 0x80000000:
        raise ValueError(f"the mailbox answered {code:#010x}")
    return bytes(message[24 : 24 + _ROOM]).split(b"\0", 1)[0].decode("ascii", "replace")


class Pi5PmicMeter(Meter):
    """The rails of a Raspberry Pi 5 and their sum, `board`."""

    name = "pi5-pmic"
    automatic = True
    period_s = _UPDATE_S

    def __init__(self, argument: str = "", devices: tuple[Path, ...] = DEVICES) -> None:
        super().__init__(argument)
        self._devices = devices
        self._fd: int | None = None
        self._access = ""
        self._rails: tuple[str, ...] = ()

    @property
    def domains(self) -> tuple[Domain, ...]:
        """The board (the sum of its measured rails) and each rail inside it."""
        if not self._rails:
            return ()
        covered = f"the sum of {', '.join(self._rails)}; not the loads on the 5 V rail (USB, HAT, NVMe)"
        rails = [self._domain(rail, f"the rail {rail} behind the PMIC", WHOLE) for rail in self._rails]
        return (self._domain(WHOLE, covered, None), *rails)

    def open(self) -> None:
        """Find a way to the firmware and the rails it knows. Raises `MeterUnavailableError`."""
        if self._access:
            return
        self._access = self._find_access()
        try:
            self._rails = tuple(parse_rails(self._ask()))
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            self.close()
            raise MeterUnavailableError(self.name, f"the firmware does not answer: {error}") from error
        if not self._rails:
            self.close()
            raise MeterUnavailableError(self.name, "the firmware knows no rails (only a Raspberry Pi 5 does)")

    def read(self) -> list[Sample]:
        """Return one sample a rail and one of their sum."""
        before_ns = now_ns()
        try:
            powers = parse_rails(self._ask())
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise MeterReadError(f"meter '{self.name}': {error}") from error
        t_ns = (before_ns + now_ns()) // 2
        if missing := [rail for rail in self._rails if rail not in powers]:
            raise MeterReadError(f"meter '{self.name}': no value for {', '.join(missing)}")
        rails = [Sample(t_ns, rail, power_w=powers[rail]) for rail in self._rails]
        return [Sample(t_ns, WHOLE, power_w=sum(powers[rail] for rail in self._rails)), *rails]

    def close(self) -> None:
        """Close the mailbox."""
        fd, self._fd, self._access = self._fd, None, ""
        if fd is not None:
            os.close(fd)

    def settings(self) -> dict[str, Setting]:
        """Return the way to the firmware and the rails that are covered."""
        return {"access": self._access, "rails": ", ".join(self._rails)}

    def _find_access(self) -> str:
        """Open the first mailbox there is; else name the program. Raises `MeterUnavailableError`."""
        for device in self._devices:
            try:
                self._fd = os.open(device, os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            except PermissionError as error:
                raise MeterUnavailableError(self.name, f"{device} may not be opened", HINT_GROUP) from error
            except OSError as error:
                raise MeterUnavailableError(self.name, f"{device} cannot be opened: {error}") from error
            return str(device)
        if program := shutil.which("vcgencmd"):
            return program
        raise MeterUnavailableError(self.name, "no firmware mailbox and no vcgencmd: not a Raspberry Pi")

    def _ask(self) -> str:
        if self._fd is None:
            command = [self._access, "pmic_read_adc"]
            return subprocess.run(command, capture_output=True, text=True, timeout=2.0, check=True).stdout
        message = gencmd_message("pmic_read_adc")
        fcntl.ioctl(self._fd, IOCTL_PROPERTY, message, True)
        return gencmd_answer(message)

    def _domain(self, name: str, covered: str, parent: str | None) -> Domain:
        return Domain(name, "power", covered, parent, update_s=_UPDATE_S, gain_limit=_GAIN, max_power_w=100.0)
