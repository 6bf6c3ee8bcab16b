"""FNIRSI meters: reports, checksums, losses, unplugging; a socket that keeps reports apart is the device."""

import contextlib
import os
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from power.base import now_ns
from power.errors import MeterReadError, MeterUnavailableError
from power.meters import fnirsi
from power.meters.fnirsi import MODELS, FnirsiMeter, SampleClock, command, crc8, find_devices, parse_report
from power.recorder import Recorder


def report(*samples: tuple[float, float]) -> bytes:
    body = b"\x04" + b"".join(
        struct.pack("<IIHHBH", round(v * 1e5), round(i * 1e5), 600, 600, 1, 251) for v, i in samples
    )
    body = body.ljust(62, b"\0")
    return b"\xaa" + body + bytes([crc8(body)])


STEADY = report(*[(5.0, 2.0)] * 4)


def test_the_checksum_is_that_of_the_known_commands() -> None:
    # As every logger for these meters sends them.
    assert [command(code)[-1] for code in (0x81, 0x82, 0x83)] == [0x8E, 0x96, 0x9E]
    assert crc8(b"123456789") == 0x4B
    assert len(command(0x81)) == 64


def test_four_samples_of_a_report() -> None:
    powers = parse_report(report((5.0, 1.0), (5.1, 2.0), (20.0, 5.0), (0.0, 0.0)))
    assert powers == pytest.approx([5.0, 10.2, 100.0, 0.0])
    other = b"\xaa\x03" + bytes(61)
    assert parse_report(other + bytes([crc8(other[1:])])) is None


@given(st.integers(1, 62), st.integers(1, 255))
def test_every_flipped_byte_is_found(place: int, change: int) -> None:
    data = bytearray(STEADY)
    data[place] ^= change
    with pytest.raises(ValueError, match="checksum"):
        parse_report(bytes(data))


@given(st.binary(max_size=80))
def test_no_bytes_crash_the_parser(data: bytes) -> None:
    try:
        powers = parse_report(data)
    except ValueError:
        return
    assert powers is None or len(powers) == 4


def test_the_sample_clock_is_even_never_ahead_and_starts_anew_after_a_loss() -> None:
    clock = SampleClock()
    arrivals = [1_000_000_000 + i * 40_000_000 + (i % 3) * 3_000_000 for i in range(50)]
    times = [t for arrival in arrivals for t in clock.times_ns(arrival, 4)]
    steps = [b - a for a, b in pairwise(times)]
    assert min(steps) > 8_000_000
    assert max(steps) < 12_000_000
    late = arrivals[-1] + 400_000_000
    assert clock.times_ns(late, 4) == [late - 30_000_000, late - 20_000_000, late - 10_000_000, late]


class Emulator:
    """The meter's side of the cable."""

    def __init__(self) -> None:
        self.host, self.device = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.received: list[bytes] = []
        self.corrupt_every = 0
        self.lose = range(0)
        self.sent_ns: deque[int] = deque()
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.work)

    def work(self) -> None:
        self.device.setblocking(False)
        next_s, count = time.monotonic(), 0
        while not self.stop.is_set():
            with contextlib.suppress(OSError):
                self.received.append(self.device.recv(100))
            if self.received and time.monotonic() >= next_s:
                next_s, count = max(next_s + 0.04, time.monotonic() - 0.02), count + 1
                if count not in self.lose:
                    bad = self.corrupt_every and count % self.corrupt_every == 0
                    self.sent_ns.append(count * 40_000_000)
                    self.device.send(STEADY[:-1] + b"\0" if bad else STEADY)
            time.sleep(0.001)


class PluggedMeter(FnirsiMeter):
    """The meter at the host's end; `arrived_ns` is when the last report was sent by the emulator's even clock."""

    def __init__(self, emulator: Emulator, model: str = "FNB58") -> None:
        super().__init__(f"/dev/hidraw9,model={model}")
        self.emulator = emulator
        self.arrived_ns = 0

    def _open_device(self, path: Path) -> int:
        return os.dup(self.emulator.host.fileno())

    def _next_report(self) -> bytes:
        report = super()._next_report()
        self.arrived_ns = self.emulator.sent_ns.popleft()
        return report

    def await_ns(self, t_ns: int) -> None:
        """Wait until a report of that time has come."""
        end_s = time.monotonic() + 60.0
        while self.arrived_ns < t_ns:
            assert time.monotonic() < end_s, "the emulator sends nothing"
            time.sleep(0.005)


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    emulator = Emulator()
    emulator.thread.start()
    yield emulator
    emulator.stop.set()
    emulator.thread.join()
    emulator.host.close()
    emulator.device.close()


def test_ten_watts_are_recovered_with_corrupt_and_lost_reports(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.corrupt_every, emulator.lose = 30, range(20, 21)
    meter = PluggedMeter(emulator)
    # The times of arrival are the emulator's own, so that a busy machine makes no gap that was not there.
    monkeypatch.setattr(fnirsi, "now_ns", lambda: meter.arrived_ns)
    begin_s = time.monotonic()
    with Recorder([meter]) as recorder:
        meter.await_ns(2_900_000_000)
        (row,) = recorder.energy(300_000_000, 2_800_000_000, wait_s=60.0)
    asked = int(time.monotonic() - begin_s)  # once a second of real time
    # Until the recorder has stopped more are sent and read than the window holds.
    corrupt = meter.arrived_ns // 40_000_000 // emulator.corrupt_every
    assert row.gross_j == pytest.approx(10.0 * 2.5, rel=1e-3)
    assert row.rate_hz == pytest.approx(96.0, abs=2.0)
    assert row.longest_gap_s == pytest.approx(0.05)
    assert meter.corrupt_reports == corrupt >= 2
    assert [data[:3].hex() for data in emulator.received[:3]] == ["00aa81", "00aa82", "00aa82"]
    assert [data[:3].hex() for data in emulator.received[3:]] == ["00aa83"] * len(emulator.received[3:])
    assert 1 <= len(emulator.received[3:]) <= asked


@pytest.mark.parametrize("model", ["FNB48", "C1"])
def test_some_are_kept_alive_every_3_ms(emulator: Emulator, model: str) -> None:
    with PluggedMeter(emulator, model) as meter:
        begin_s = time.monotonic()
        while len(emulator.received) < 40 and time.monotonic() < begin_s + 60.0:
            meter.read()
        span_s = time.monotonic() - begin_s
    assert [data[:3].hex() for data in emulator.received[2:]] == ["00aa83"] * len(emulator.received[2:])
    assert 40 <= len(emulator.received) <= 3 + span_s / 0.003


def test_a_meter_that_is_pulled_out_fails_and_one_put_back_goes_on(emulator: Emulator) -> None:
    meter = PluggedMeter(emulator)
    with Recorder([meter]) as recorder:
        meter.await_ns(200_000_000)
        start_ns = now_ns()
        emulator.stop.set()
        emulator.thread.join()
        emulator.device.close()
        time.sleep(0.4)
        (row,) = recorder.energy(start_ns, now_ns(), wait_s=0.2)
        assert row.gross_j is None
        assert "the meter failed" in str(row.reason)
        emulator.host.close()
        fresh = Emulator()
        meter.emulator = fresh
        fresh.thread.start()
        meter.arrived_ns = 0
        meter.await_ns(200_000_000)
        series = recorder.series("fnirsi", "usb")
        assert series.t_ns[-1] > start_ns
        assert series.values[-1] == pytest.approx(10.0)
        assert recorder.overhead()[0].failures == 1
        fresh.stop.set()
        fresh.thread.join()
    for end in (fresh.host, fresh.device):
        end.close()


def test_a_silent_and_a_babbling_device_fail(emulator: Emulator) -> None:
    emulator.lose = range(10_000)
    with PluggedMeter(emulator) as meter, pytest.raises(MeterReadError, match="sends nothing"):
        meter.read()
    emulator.lose, emulator.corrupt_every = range(0), 1
    meter = PluggedMeter(emulator)
    meter.open()
    with pytest.raises(MeterReadError, match="50 corrupt reports"):
        for _ in range(200):
            meter.read()
    meter.close()


#: Model → its numbers, the third command of its start, and how often it wants to be asked, in s.
KINDS = {
    "FNB48": ("00000483:0000003A", "00aa83", 0.003),
    "C1": ("00000483:0000003B", "00aa83", 0.003),
    "FNB58": ("00002E3C:00005558", "00aa82", 1.0),
    "FNB48S": ("00002E3C:00000049", "00aa82", 1.0),
}


@pytest.mark.parametrize("name", KINDS)
def test_each_model_is_known_by_its_numbers_started_and_asked_in_its_way(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers, third, keep_alive_s = KINDS[name]
    folder = tmp_path / "hidraw3" / "device"
    folder.mkdir(parents=True)
    (folder / "uevent").write_text(f"HID_ID=0003:{numbers}\n")
    host, device = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    clock = SimpleNamespace(at_s=100.0)
    monkeypatch.setattr(fnirsi, "time", SimpleNamespace(monotonic=lambda: clock.at_s))
    monkeypatch.setattr(FnirsiMeter, "_open_device", lambda self, path: os.dup(host.fileno()))

    def commands() -> list[str]:
        with contextlib.suppress(BlockingIOError):
            return [device.recv(100)[:3].hex(), *commands()]
        return []

    device.setblocking(False)
    with host, device, FnirsiMeter("", tmp_path) as meter:
        assert meter.settings() == {"device": "/dev/hidraw3", "model": name, "corrupt_reports": 0}
        assert commands() == ["00aa81", "00aa82", third]
        for later_s, asked in ((0.0, []), (0.9 * keep_alive_s, []), (0.1001 * keep_alive_s, ["00aa83"])):
            clock.at_s += later_s
            device.send(STEADY)
            assert [sample.power_w for sample in meter.read()] == pytest.approx([10.0] * 4)
            assert commands() == asked


def test_devices_are_found_by_their_numbers(tmp_path: Path) -> None:
    for i, hid in enumerate(("0003:0000046D:0000C31C", "0003:00002E3C:00005558", "0003:00000483:0000003A")):
        folder = tmp_path / f"hidraw{i}" / "device"
        folder.mkdir(parents=True)
        (folder / "uevent").write_text(f"DRIVER=hid-generic\nHID_ID={hid}\nHID_NAME=x\n")
    found = find_devices(tmp_path)
    assert found == [
        (Path("/dev/hidraw1"), MODELS[0x2E3C, 0x5558]),
        (Path("/dev/hidraw2"), MODELS[0x0483, 0x003A]),
    ]


def test_a_probe_opens_the_meter_and_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    host, device = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with host, device:
        monkeypatch.setattr(FnirsiMeter, "_open_device", lambda *_: os.dup(host.fileno()))
        assert FnirsiMeter("/dev/hidraw9").probe().usable
        device.setblocking(False)
        with pytest.raises(BlockingIOError):
            device.recv(100)


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no FNIRSI meter is plugged in" in str(FnirsiMeter("", tmp_path).probe().reason)
    with pytest.raises(MeterUnavailableError, match="cannot be opened"):
        FnirsiMeter("/nowhere/hidraw0").open()
    with pytest.raises(MeterUnavailableError, match="argument is wrong"):
        FnirsiMeter("/dev/null,model=FNB99").open()

    file = tmp_path / "run.json"
    file.write_text("mine")
    with pytest.raises(MeterUnavailableError, match=r"run\.json is a file, not a device"):
        FnirsiMeter(str(file)).open()
    assert file.read_text() == "mine"  # the commands that start a meter are not written over it

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("power.meters.fnirsi.os.open", refuse)
    hint = str(FnirsiMeter("/dev/hidraw0").probe().hint)
    assert "udevadm" in hint
    assert 'GROUP="plugdev"' in hint  # where nobody sits at the machine, "uaccess" gives the device to nobody
