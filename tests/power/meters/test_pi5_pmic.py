"""The Pi 5's rails: the firmware's lines, the mailbox message, the program in its place."""

import fcntl
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from power.errors import MeterReadError, MeterUnavailableError
from power.meters.pi5_pmic import (
    IOCTL_PROPERTY,
    Pi5PmicMeter,
    gencmd_answer,
    gencmd_message,
    parse_rails,
)

CAPTURE = Path(__file__).parents[2] / "data" / "power" / "pmic_read_adc.txt"


def test_twelve_rails_are_paired_and_the_input_voltage_is_left_out() -> None:
    rails = parse_rails(CAPTURE.read_text())
    assert len(rails) == 12
    assert rails["VDD_CORE"] == pytest.approx(1.5 * 0.89)
    assert "EXT5V" not in rails
    assert "BATT" not in rails


@given(st.text())
def test_no_text_crashes_the_parser(text: str) -> None:
    assert all(value >= 0.0 for value in parse_rails(text).values())


@pytest.mark.parametrize(
    "line", ["X_A current(1)=1.2.3A\nX_V volt(2)=1V", "X_A current(1)=.A\nX_V volt(1)=1V"]
)
def test_a_number_that_is_none_leaves_its_rail_out(line: str) -> None:
    assert parse_rails(line) == {}


def test_the_message_is_that_of_vcgencmd() -> None:
    message = gencmd_message("pmic_read_adc")
    size, code, tag, room, length, error = struct.unpack_from("=6I", message)
    assert (size, code, tag, room, length, error) == (len(message), 0, 0x00030080, 1024, 0, 0)
    assert message[24:38] == b"pmic_read_adc\0"
    assert message[-4:] == bytes(4)
    with pytest.raises(ValueError, match="0x80000001"):
        gencmd_answer(struct.pack("=II", len(message), 0x80000001) + message[8:])


class Firmware:
    """Answers the mailbox ioctl with the captured text; `text` may be changed under way."""

    def __init__(self, text: str) -> None:
        self.text = text

    def ioctl(self, fd: int, request: int, message: bytearray, mutate: bool) -> int:
        assert (request, mutate) == (IOCTL_PROPERTY, True)
        assert message[24:37] == b"pmic_read_adc"
        message[4:8] = (0x80000000).to_bytes(4, "little")
        data = self.text.encode()[:1024]
        message[24 : 24 + 1024] = data.ljust(1024, b"\0")
        return 0


@pytest.fixture
def firmware(monkeypatch: pytest.MonkeyPatch) -> Firmware:
    firmware = Firmware(CAPTURE.read_text())
    monkeypatch.setattr(fcntl, "ioctl", firmware.ioctl)
    return firmware


def test_rails_and_their_sum_by_the_mailbox(firmware: Firmware, tmp_path: Path) -> None:
    device = tmp_path / "vcio"
    device.touch()
    with Pi5PmicMeter(devices=(tmp_path / "vcio_gencmd", device)) as meter:
        board, *rails = meter.read()
        assert board.domain == "board"
        assert board.power_w == pytest.approx(sum(rail.power_w or 0.0 for rail in rails))
        assert {domain.parent for domain in meter.domains[1:]} == {"board"}
        assert "not the loads on the 5 V rail" in meter.domains[0].covers
        assert meter.settings()["access"] == str(device)
        firmware.text = firmware.text.replace("VDD_CORE_A", "VDD_CORE_X")
        with pytest.raises(MeterReadError, match="no value for VDD_CORE"):
            meter.read()


def test_a_pi_4_knows_no_rails(firmware: Firmware, tmp_path: Path) -> None:
    firmware.text = 'error=1 error_msg="Command not registered"'
    (tmp_path / "vcio").touch()
    with pytest.raises(MeterUnavailableError, match="only a Raspberry Pi 5"):
        Pi5PmicMeter(devices=(tmp_path / "vcio",)).open()


def test_the_program_serves_where_there_is_no_mailbox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "vcgencmd"
    program.write_text(f'#!/bin/sh\n[ "$1" = pmic_read_adc ] && cat {CAPTURE}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with Pi5PmicMeter(devices=()) as meter:
        assert len(meter.read()) == 13
        assert meter.settings()["access"] == str(program)
        program.write_text("#!/bin/sh\nexit 3\n")
        with pytest.raises(MeterReadError, match="exit status 3"):
            meter.read()


def test_elsewhere_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    probe = Pi5PmicMeter(devices=()).probe()
    assert "not a Raspberry Pi" in str(probe.reason)


def test_no_permission_names_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("power.meters.pi5_pmic.os.open", refuse)
    assert "usermod -aG video" in str(Pi5PmicMeter(devices=(Path("/dev/vcio"),)).probe().hint)
