"""RDTech's serial meters: real pyserial on a pseudo-terminal, an emulator at the other end."""

import os
import select
import struct
import threading
import tty
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from power.base import Meter
from power.errors import MeterReadError, MeterUnavailableError
from power.meters import rdtech, serial_port, tc66
from power.registry import make

pytest.importorskip("serial", reason="pyserial (the meters extra) is not installed")
ciphers = pytest.importorskip(
    "cryptography.hazmat.primitives.ciphers", reason="cryptography is not installed"
)


#: Model → its code, and the steps of its voltage and current in V and A (sigrok's wiki, *RDTech UM series*).
UM = {"um24c": (0x0963, 1e-2, 1e-3), "um25c": (0x09C9, 1e-3, 1e-4), "um34c": (0x0D4C, 1e-2, 1e-3)}
um_models = pytest.mark.parametrize("model", UM)


def um(volt: float, ampere: float, mwh: int, model: str = "um25c", group: int = 0) -> bytes:
    """An answer in which every group but the selected one holds 7 mAh and 999 mWh, and the recording 0 mWh."""
    code, volt_step, ampere_step = UM[model]
    steps = round(volt / volt_step), round(ampere / ampere_step)
    head = struct.pack(">HHHI", code, *steps, round(volt * ampere * 1e3))
    groups = b"".join(struct.pack(">II", 7, mwh if g == group else 999) for g in range(10))
    measured = head + struct.pack(">HHH", 25, 77, group) + groups
    return measured.ljust(128, b"\0") + b"\xff\xf1"


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
    """A pseudo-terminal whose far end answers questions; what is still on its way can be waited for."""

    def __init__(self) -> None:
        self.far, self.near = os.openpty()
        tty.setraw(self.far)
        tty.setraw(self.near)
        self.path = os.ttyname(self.near)
        self.answer: Callable[[bytes], bytes] = lambda _: b""
        self.answered = threading.Semaphore(0)
        self.stop = os.eventfd(0)
        self.thread = threading.Thread(target=self.work)
        self.thread.start()

    def work(self) -> None:
        ends = select.poll()
        ends.register(self.far, select.POLLIN)
        ends.register(self.stop, select.POLLIN)
        while not any(fd == self.stop for fd, _ in ends.poll()):
            os.write(self.far, self.answer(os.read(self.far, 64)))
            self.answered.release()

    def cut(self) -> None:
        """Pull the plug at the far end: nobody answers any more, and the port is hung up."""
        if self.thread.is_alive():
            os.eventfd_write(self.stop, 1)
            self.thread.join()
            os.close(self.far)
            os.close(self.stop)

    def close(self) -> None:
        self.cut()
        os.close(self.near)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that is on its way comes in time, however busy the machine is."""
    monkeypatch.setattr(serial_port, "TIMEOUT_S", 60.0)


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.close()


def values(meter: Meter) -> dict[str, float]:
    return {sample.domain: sample.value for sample in meter.read()}


@um_models
def test_the_models_by_rdtech(line: Line, model: str) -> None:
    answer = um(5.08, 1.234, 1234, model)
    line.answer = lambda question: answer if question == b"\xf0" else b""
    with make(f"{model}:{line.path}") as meter:
        assert values(meter) == pytest.approx({"usb": 6.269, "usb-register": 1234 * 3.6})
        assert meter.settings() == {"port": line.path, "model": model, "group": 0}
        assert meter.domains[1].parent == "usb"
    reading = rdtech.parse_answer(answer)
    assert (reading.volt, reading.ampere) == pytest.approx((5.08, 1.234))


@um_models
def test_the_register_is_that_of_the_selected_group_below_any_threshold(line: Line, model: str) -> None:
    line.answer = lambda _: um(5.0, 0.1, 42, model, group=3)
    with make(f"{model}:{line.path}") as meter:
        assert values(meter)["usb-register"] == pytest.approx(42 * 3.6)
        line.answer = lambda _: um(5.0, 0.1, 42, model, group=9)
        with pytest.raises(MeterReadError, match="group 9 is selected in place of group 3"):
            meter.read()
    assert meter.settings()["group"] == 3
    with meter:
        assert meter.settings()["group"] == 9
    with pytest.raises(ValueError, match="selected group of 10"):
        rdtech.parse_answer(um(5.0, 0.1, 42, model, group=10))


@um_models
def test_a_model_is_not_taken_for_another(line: Line, model: str) -> None:
    line.answer = lambda _: um(5.0, 0.0, 0, model)
    assert make(f"rdtech:{line.path}").probe().usable
    for other in UM.keys() - {model}:
        with pytest.raises(MeterUnavailableError, match=f"is a {model}, not a {other}"):
            make(f"{other}:{line.path}").open()


@pytest.mark.parametrize(
    ("answer", "gain", "offset_w"),
    [
        (um(5.0, 1.0, 0), 0.0015 + 2 * 1e-3 / 5, 4 * 1e-4 * 5),
        (um(9.0, 1.0, 0, "um24c"), 0.015 + 2 * 1e-2 / 9, 4 * 1e-3 * 9),
        (um(20.0, 1.0, 0, "um34c"), 0.015 + 2 * 1e-2 / 20, 4 * 1e-3 * 20),
        (um(0.0, 0.0, 0), 0.0015 + 2 * 1e-3 / 4, 4 * 1e-4 * 4),
    ],
    ids=["um25c", "um24c at 9 V", "um34c at 20 V", "nothing"],
)
def test_the_digits_of_a_leaflet_are_a_gain_and_an_offset(
    line: Line, answer: bytes, gain: float, offset_w: float
) -> None:
    line.answer = lambda _: answer
    with make(f"rdtech:{line.path}") as meter:
        for domain in meter.domains:
            assert domain.gain_limit == pytest.approx(gain)
            assert domain.offset_limit_w == pytest.approx(offset_w)


def test_tc66(line: Line) -> None:
    line.answer = lambda question: encrypt(tc66_plain(9.0, 1.5, 55)) if question == b"getva" else b""
    with make(f"tc66c:{line.path}") as meter:
        assert values(meter) == pytest.approx({"usb": 13.5, "usb-register": 55 * 3.6})
        assert meter.name == "tc66"
        assert meter.domains[0].offset_limit_w == pytest.approx(4 * 1e-5 * 9.0)


def test_the_known_answer_of_the_checksum() -> None:
    assert tc66.crc16_modbus(b"123456789") == 0x4B37


@pytest.mark.parametrize("name", ["um25c", "tc66"])
def test_corrupt_answers_fail_and_the_next_good_one_counts(line: Line, name: str) -> None:
    good = good_answer(name)
    bad = [b"\0" * len(good), b"\x55" * len(good)]
    if name == "tc66":  # beyond the measured fields the other protocol has no checksum to tell
        bad.append(good[:40] + b"\xff" * 30 + good[70:])
    line.answer = lambda _: good
    with make(f"{name}:{line.path}") as meter:
        for answer in bad:
            line.answer = lambda _, answer=answer: answer  # type: ignore[misc]
            with pytest.raises(MeterReadError):
                meter.read()
        line.answer = lambda _: good
        assert values(meter)["usb"] == pytest.approx(5.0)


@pytest.mark.parametrize("name", ["um25c", "tc66"])
@pytest.mark.parametrize("kept", [0, 50])
def test_silence_and_half_an_answer_fail_and_the_next_good_one_counts(
    line: Line, name: str, kept: int
) -> None:
    good = good_answer(name)
    line.answer = lambda _: good[:kept]
    question, size = (b"\xf0", rdtech.SIZE) if name == "um25c" else (b"getva", tc66.SIZE)
    port = serial_port.SerialPort(name, line.path, 9600, timeout_s=0.2)
    with pytest.raises(MeterReadError, match=rf"sent (0|{kept}) of {size} bytes"):
        port.ask(question, size)
    # The half may be on its way still: it is waited for, so that the next question finds a quiet line.
    assert line.answered.acquire(timeout=60)
    port.close()
    line.answer = lambda _: good
    with make(f"{name}:{line.path}") as meter:
        assert values(meter)["usb"] == pytest.approx(5.0)


def good_answer(name: str) -> bytes:
    return um(5.0, 1.0, 0) if name == "um25c" else encrypt(tc66_plain(5.0, 1.0, 0))


@pytest.mark.parametrize("name", ["um25c", "tc66"])
def test_a_line_that_is_cut_is_a_failed_reading(line: Line, name: str) -> None:
    good = good_answer(name)
    line.answer = lambda _: good
    meter = make(f"{name}:{line.path}")
    meter.open()
    line.cut()
    with pytest.raises(MeterReadError):
        meter.read()
    meter.close()
    with pytest.raises(MeterReadError, match="not open"):
        meter.read()


@um_models
def test_a_corrupt_um_answer_shows_in_its_own_arithmetic(model: str) -> None:
    answer = bytearray(um(5.0, 1.0, 0, model))
    answer[2] ^= 0x10
    with pytest.raises(ValueError, match="corrupt answer"):
        rdtech.parse_answer(bytes(answer))


@given(st.binary(min_size=0, max_size=200))
def test_no_bytes_crash_the_parsers(data: bytes) -> None:
    for parse in (rdtech.parse_answer, tc66.parse_plain, lambda d: tc66.parse_plain(tc66.decrypt(d))):
        with pytest.raises(ValueError, match=r"answer|block"):
            parse(data)


@given(st.sampled_from(sorted(UM)), st.binary(min_size=128, max_size=128))
def test_a_um_answer_of_the_right_size_is_a_reading_or_refused(model: str, rest: bytes) -> None:
    try:
        reading = rdtech.parse_answer(struct.pack(">H", UM[model][0]) + rest)
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
