"""RDTech's serial meters: real pyserial on a pseudo-terminal, an emulator at the other end."""

import contextlib
import os
import struct
import threading
import tty
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from power.base import Meter
from power.errors import MeterReadError, MeterUnavailableError
from power.meters import rdtech, tc66
from power.registry import make

pytest.importorskip("serial", reason="pyserial (the meters extra) is not installed")
ciphers = pytest.importorskip(
    "cryptography.hazmat.primitives.ciphers", reason="cryptography is not installed"
)


def um25c(volt: float, ampere: float, mwh: int, code: int = 0x09C9) -> bytes:
    head = struct.pack(">HHHI", code, round(volt * 1e3), round(ampere * 1e4), round(volt * ampere * 1e3))
    return head.ljust(106, b"\0") + struct.pack(">I", mwh).ljust(22, b"\0") + b"\xff\xf1"


def tc66_plain(volt: float, ampere: float, mwh: int) -> bytes:
    first = b"pac1TC661.14" + struct.pack("<I", 4711)
    first = first.ljust(48, b"\0") + struct.pack(
        "<3I", *(round(x) for x in (volt * 1e4, ampere * 1e5, volt * ampere * 1e4))
    )
    second = b"pac2" + struct.pack("<4I", 100, 0, 7, mwh)[:8] + struct.pack("<I", mwh)
    blocks = (first, second, b"pac3")
    return b"".join(
        b.ljust(60, b"\0") + struct.pack("<I", tc66.crc16_modbus(b.ljust(60, b"\0"))) for b in blocks
    )


def encrypt(plain: bytes) -> bytes:
    encryptor = ciphers.Cipher(ciphers.algorithms.AES(tc66.KEY), ciphers.modes.ECB()).encryptor()
    return bytes(encryptor.update(plain) + encryptor.finalize())


class Line:
    """A pseudo-terminal whose far end answers questions."""

    def __init__(self) -> None:
        self.far, near = os.openpty()
        tty.setraw(self.far)
        tty.setraw(near)
        self.path, self.near = os.ttyname(near), near
        self.answer: Callable[[bytes], bytes] = lambda _: b""
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def work(self) -> None:
        try:
            while question := os.read(self.far, 64):
                os.write(self.far, self.answer(question))
        except OSError:
            pass

    def hang_up(self) -> None:
        os.close(self.near)
        os.close(self.far)


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    with contextlib.suppress(OSError):
        line.hang_up()


def values(meter: Meter) -> dict[str, float]:
    return {sample.domain: sample.value for sample in meter.read()}


def test_um25c(line: Line) -> None:
    line.answer = lambda question: um25c(5.08, 1.2345, 1234) if question == b"\xf0" else b""
    with make(f"um25c:{line.path}") as meter:
        assert values(meter) == pytest.approx({"usb": 6.271, "usb-register": 1234 * 3.6})
        assert meter.settings() == {"port": line.path, "model": "um25c"}
        assert meter.domains[1].parent == "usb"


def test_a_um34c_is_not_a_um25c(line: Line) -> None:
    line.answer = lambda _: um25c(5.0, 0.0, 0, code=0x0D4C)
    assert make(f"rdtech:{line.path}").probe().usable
    with pytest.raises(MeterUnavailableError, match="is a um34c, not a um25c"):
        make(f"um25c:{line.path}").open()


def test_tc66(line: Line) -> None:
    line.answer = lambda question: encrypt(tc66_plain(9.0, 1.5, 55)) if question == b"getva" else b""
    with make(f"tc66c:{line.path}") as meter:
        assert values(meter) == pytest.approx({"usb": 13.5, "usb-register": 55 * 3.6})
        assert meter.name == "tc66"


def test_the_known_answer_of_the_checksum() -> None:
    assert tc66.crc16_modbus(b"123456789") == 0x4B37


@pytest.mark.parametrize("name", ["um25c", "tc66"])
def test_silence_short_and_corrupt_answers_fail_and_the_next_good_one_counts(line: Line, name: str) -> None:
    good = um25c(5.0, 1.0, 0) if name == "um25c" else encrypt(tc66_plain(5.0, 1.0, 0))
    line.answer = lambda _: good
    with make(f"{name}:{line.path}") as meter:
        for bad in (
            b"",
            good[:50],
            b"\0" * len(good),
            good[:40] + b"\xff" * 30 + good[70:],
            b"\x55" * len(good),
        ):
            line.answer = lambda _, bad=bad: bad  # type: ignore[misc]
            if bad == good[:40] + b"\xff" * 30 + good[70:] and name == "um25c":
                continue  # beyond the measured fields: this protocol has no checksum to tell
            with pytest.raises(MeterReadError):
                meter.read()
        line.answer = lambda _: good
        assert values(meter)["usb"] == pytest.approx(5.0)


@pytest.mark.parametrize("name", ["um25c", "tc66"])
def test_a_line_that_is_cut_is_a_failed_reading(line: Line, name: str) -> None:
    good = um25c(5.0, 1.0, 0) if name == "um25c" else encrypt(tc66_plain(5.0, 1.0, 0))
    line.answer = lambda _: good
    meter = make(f"{name}:{line.path}")
    meter.open()
    os.close(line.far)
    with pytest.raises(MeterReadError):
        meter.read()
    meter.close()
    with pytest.raises(MeterReadError, match="not open"):
        meter.read()


def test_a_corrupt_um_answer_shows_in_its_own_arithmetic() -> None:
    answer = bytearray(um25c(5.0, 1.0, 0))
    answer[2] ^= 0x10
    with pytest.raises(ValueError, match="corrupt answer"):
        rdtech.parse_answer(bytes(answer))


@given(st.binary(min_size=0, max_size=200))
def test_no_bytes_crash_the_parsers(data: bytes) -> None:
    for parse in (rdtech.parse_answer, tc66.parse_plain, lambda d: tc66.parse_plain(tc66.decrypt(d))):
        with pytest.raises(ValueError, match=r"answer|block"):
            parse(data)


@given(st.binary(min_size=128, max_size=128))
def test_a_um_answer_of_the_right_size_is_a_reading_or_refused(rest: bytes) -> None:
    try:
        reading = rdtech.parse_answer(b"\x09\xc9" + rest)
    except ValueError:
        return
    assert reading.power_w >= 0.0


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "rfcomm bind" in str(make("um25c").probe().hint)
    assert "no serial port was named" in str(make("tc66").probe().reason)
    assert "cannot be opened" in str(make("tc66:/nowhere/tty").probe().reason)
    monkeypatch.setitem(__import__("sys").modules, "serial", None)
    assert "edge-harness[meters]" in str(make("um25c:/dev/rfcomm0").probe().hint)
    monkeypatch.setitem(__import__("sys").modules, "cryptography", None)
    assert "cryptography is not installed" in str(make("tc66:/dev/ttyACM0").probe().reason)
