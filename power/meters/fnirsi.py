"""`fnirsi`: the USB meters FNIRSI FNB48, C1, FNB58 and FNB48S, read from their HID device.

The protocol is not published; it was found out by their users. 64-byte reports both ways. Ours begin
with AA and a command and end with a checksum; theirs with AA 04 hold four samples, 10 ms apart, of 15 bytes,
little endian:

    u32 voltage in 10 µV, u32 current in 10 µA, u16 D+, u16 D- (mV), one byte, u16 temperature in 0.1 °C

The last byte is a CRC-8 (polynomial 0x39, initial value 0x42) over the bytes between the first and itself. A
report that fails it is left out, and a hole in the samples is seen by the integration.

    fnirsi                  the first one found
    fnirsi:/dev/hidraw2     this one
"""

import errno
import os
import re
import select
import stat
import struct
import time
from dataclasses import dataclass
from pathlib import Path

from power.base import Domain, Meter, Probe, Sample, Setting, now_ns
from power.errors import MeterReadError, MeterUnavailableError, cause_of
from power.options import split_argument

HIDRAW = Path("/sys/class/hidraw")
#: `uaccess` gives the device to who sits at the machine; one logged in over SSH has it by the group, which Debian and
#: Raspberry Pi OS have and put their first user into.
HINT_UDEV = (
    """echo 'KERNEL=="hidraw*", ATTRS{idVendor}=="2e3c|0483", MODE="0660", GROUP="plugdev", TAG+="uaccess"'"""
    " | sudo tee /etc/udev/rules.d/70-fnirsi.rules && sudo udevadm control --reload && sudo udevadm trigger"
    " (over SSH the user must be in the group: sudo usermod -aG plugdev $USER, then log in again)"
)

HINT_PLUG = "plug it in, or name /dev/hidrawN"

_SAMPLE = struct.Struct("<IIHHBH")
_REPORT_SIZE, _SAMPLES, _SPACING_NS = 64, 4, 10_000_000
_CORRUPT_LIMIT = 50
_HID_ID = re.compile(r"^HID_ID=\w+:0*([0-9A-Fa-f]{4}):0*([0-9A-Fa-f]{4})$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Model:
    """How a model is kept talking: the last command of the start, and how often it wants to be asked."""

    name: str
    third_command: int
    keep_alive_s: float


MODELS = {
    (0x0483, 0x003A): Model("FNB48", 0x83, 0.003),
    (0x0483, 0x003B): Model("C1", 0x83, 0.003),
    (0x2E3C, 0x5558): Model("FNB58", 0x82, 1.0),
    (0x2E3C, 0x0049): Model("FNB48S", 0x82, 1.0),
}
_BY_NAME = {model.name.lower(): model for model in MODELS.values()}


def crc8(data: bytes) -> int:
    """CRC-8 with polynomial 0x39 and initial value 0x42, most significant bit first."""
    crc = 0x42
    for byte in data:
        crc = _CRC_TABLE[crc ^ byte]
    return crc


def _crc_of_byte(byte: int) -> int:
    for _ in range(8):
        byte = ((byte << 1) ^ 0x39) & 0xFF if byte & 0x80 else byte << 1
    return byte


_CRC_TABLE = [_crc_of_byte(byte) for byte in range(256)]


def command(code: int) -> bytes:
    """Return the 64-byte report of a command."""
    body = bytes([code]).ljust(_REPORT_SIZE - 2, b"\0")
    return b"\xaa" + body + bytes([crc8(body)])


def parse_report(report: bytes) -> list[float] | None:
    """Return the powers of the four samples of a data report, in W; None for a report of another kind.

    Raises `ValueError` for a report that is cut off or fails its checksum.
    """
    if len(report) != _REPORT_SIZE or report[0] != 0xAA:
        raise ValueError(f"a report of {len(report)} bytes, or without its first byte AA")
    if crc8(report[1:-1]) != report[-1]:
        raise ValueError("a report fails its checksum")
    if report[1] != 0x04:
        return None
    rows = (_SAMPLE.unpack_from(report, 2 + i * _SAMPLE.size) for i in range(_SAMPLES))
    return [volts_e5 * 1e-5 * amps_e5 * 1e-5 for volts_e5, amps_e5, *_ in rows]


def find_devices(root: Path = HIDRAW) -> list[tuple[Path, Model]]:
    """Return the hidraw devices of known models."""
    found: list[tuple[Path, Model]] = []
    for folder in sorted(root.glob("hidraw*")):
        try:
            match = _HID_ID.search((folder / "device" / "uevent").read_text())
        except OSError:
            continue
        if match and (model := MODELS.get((int(match[1], 16), int(match[2], 16)))):
            found.append((Path("/dev") / folder.name, model))
    return found


class SampleClock:
    """Gives samples their times: evenly spaced as the meter takes them, held to the arrival of the reports.

    Reports arrive late by the USB schedule, never early; a jump of more than a report means that some
    were lost, and the clock starts anew there.
    """

    def __init__(self) -> None:
        self._last_ns: int | None = None

    def times_ns(self, arrival_ns: int, count: int) -> list[int]:
        """Return the times of `count` samples, the last of which has just arrived."""
        ideal_ns = arrival_ns
        if self._last_ns is not None:
            expected_ns = self._last_ns + count * _SPACING_NS
            error_ns = arrival_ns - expected_ns
            if abs(error_ns) < 2 * _SPACING_NS:
                ideal_ns = min(arrival_ns, expected_ns + error_ns // 10)
        self._last_ns = ideal_ns
        return [ideal_ns - (count - 1 - i) * _SPACING_NS for i in range(count)]


class FnirsiMeter(Meter):
    """A FNIRSI USB meter; one domain, what flows through its plug."""

    name = "fnirsi"
    streams = True
    period_s = 0.04

    def __init__(self, argument: str = "", hidraw: Path = HIDRAW) -> None:
        super().__init__(argument)
        self._hidraw = hidraw
        self._fd: int | None = None
        self._path, self._model = Path(), MODELS[0x2E3C, 0x5558]
        self._asked_s = 0.0
        self._clock = SampleClock()
        self._bad_in_a_row = 0
        self.corrupt_reports = 0

    @property
    def domains(self) -> tuple[Domain, ...]:
        """One domain. Its calibration is not documented openly: 0.7 % and 1 mW are assumed."""
        return (
            Domain(
                "usb",
                "power",
                covers="everything fed through the meter's plug, its own supply included",
                update_s=0.01,
                resolution_w=5e-5,
                gain_limit=0.007,
                offset_limit_w=0.001,
                max_power_w=300.0,
            ),
        )

    def probe(self) -> Probe:
        """Look for the device and open it; nothing is sent."""
        try:
            path, _ = self._find()
            os.close(self._open_device(path))
        except MeterUnavailableError as error:
            return Probe(self.name, False, error.reason, error.hint)
        return Probe(self.name, True, domains=self.domains)

    def open(self) -> None:
        """Open the device and start the stream. Raises `MeterUnavailableError`."""
        if self._fd is not None:
            return
        self._path, self._model = self._find()
        self._fd = self._open_device(self._path)
        self._clock, self._bad_in_a_row = SampleClock(), 0
        try:
            for code in (0x81, 0x82, self._model.third_command):
                self._send(code)
        except OSError as error:
            self.close()
            raise MeterUnavailableError(
                self.name, f"{self._path} does not take commands: {cause_of(error)}"
            ) from error

    def read(self) -> list[Sample]:
        """Wait for the next report, at most a second, and return its samples.

        Raises `MeterReadError` when the device is gone, silent for a second, or only sends corrupt reports.
        """
        report = self._next_report()
        arrival_ns = now_ns()
        try:
            powers_w = parse_report(report)
        except ValueError as error:
            self.corrupt_reports += 1
            self._bad_in_a_row += 1
            if self._bad_in_a_row >= _CORRUPT_LIMIT:
                raise MeterReadError(
                    f"meter '{self.name}': {self._bad_in_a_row} corrupt reports: {error}"
                ) from error
            return []
        self._bad_in_a_row = 0
        if powers_w is None:
            return []
        times_ns = self._clock.times_ns(arrival_ns, len(powers_w))
        return [Sample(t, "usb", power_w=p) for t, p in zip(times_ns, powers_w, strict=True)]

    def close(self) -> None:
        """Close the device."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def settings(self) -> dict[str, Setting]:
        """Return the device, the model and how many reports failed their checksum."""
        model = self._model.name
        return {"device": str(self._path), "model": model, "corrupt_reports": self.corrupt_reports}

    def _find(self) -> tuple[Path, Model]:
        try:
            place, options = split_argument(self.argument, {"model": ""})
            named = _BY_NAME[options["model"].lower()] if options["model"] else None
        except (ValueError, KeyError) as error:
            raise MeterUnavailableError(self.name, f"its argument is wrong: {error}") from error
        found = find_devices(self._hidraw)
        if place:
            known = dict(found)
            return Path(place), named or known.get(Path(place)) or MODELS[0x2E3C, 0x5558]
        if not found:
            raise MeterUnavailableError(self.name, "no FNIRSI meter is plugged in", HINT_PLUG)
        return found[0][0], named or found[0][1]

    def _open_device(self, path: Path) -> int:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except PermissionError as error:
            raise MeterUnavailableError(self.name, f"{path} may not be opened", HINT_UDEV) from error
        except OSError as error:
            raise MeterUnavailableError(self.name, f"{path} cannot be opened: {cause_of(error)}") from error
        # Commands are written to it: into a file that was named by mistake they must not go.
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise MeterUnavailableError(self.name, f"{path} is a file, not a device", HINT_PLUG)
        return descriptor

    def _send(self, code: int) -> None:
        if self._fd is not None:
            # hidraw wants the report's number first; 0 where reports are not numbered.
            os.write(self._fd, b"\0" + command(code))
            self._asked_s = time.monotonic()

    def _next_report(self) -> bytes:
        if self._fd is None:
            raise MeterReadError(f"meter '{self.name}' is not open")
        give_up_s = time.monotonic() + 1.0
        try:
            while time.monotonic() < give_up_s:
                if time.monotonic() - self._asked_s >= self._model.keep_alive_s:
                    self._send(0x83)
                due_s = min(self._asked_s + self._model.keep_alive_s, give_up_s)
                wait_s = max(0.0, due_s - time.monotonic())
                if select.select([self._fd], [], [], wait_s)[0]:
                    if report := os.read(self._fd, _REPORT_SIZE):
                        return report
                    raise OSError(errno.ENODEV, "end of file")
        except OSError as error:
            raise MeterReadError(f"meter '{self.name}': {self._path} is gone: {error}") from error
        raise MeterReadError(f"meter '{self.name}': {self._path} sends nothing")
