"""The unmodified program against emulated devices: what the kernel shows, byte for byte, under umockdev."""

import json
import shutil
import struct
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from power.meters import fnirsi, tc66

HERE = Path(__file__).parent
DATA = HERE.parent / "data" / "power"
CHILD = [sys.executable, str(HERE / "umockdev_child.py")]
SYSTEM_PYTHON = "/usr/bin/python3"

pytestmark = pytest.mark.skipif(
    shutil.which("umockdev-run") is None, reason="umockdev is not installed (apt install umockdev)"
)


def umockdev(*options: str | Path, child: list[str]) -> dict[str, Any]:
    return run_child(["umockdev-run", *map(str, options), "--"], child)


def run_child(wrapper: list[str], child: list[str]) -> dict[str, Any]:
    command = [*wrapper, *CHILD, *child]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    document["by_domain"] = {row["domain"]: row for row in document["rows"]}
    return document


def undisturbed(*options: str | Path, child: list[str]) -> dict[str, Any]:
    """As `umockdev`, again where this machine stood still: to refuse such a window is right, and tested elsewhere."""
    for _ in range(3):
        document = umockdev(*options, child=child)
        if not any("samples are missing" in (row["reason"] or "") for row in document["rows"]):
            break
    return document


def power_w(row: dict[str, Any]) -> float:
    assert row["gross_j"] is not None, row["reason"]
    return float(row["gross_j"] / row["duration_s"])


def escaped(data: bytes) -> bytes:
    """Escape bytes as umockdev's scripts want them: control characters and the caret itself."""
    return b"".join(b"^" + bytes([c + 64]) if c < 32 else b"^`" if c == 94 else bytes([c]) for c in data)


def script(path: Path, lines: list[tuple[str, int, bytes]]) -> Path:
    path.write_bytes(b"".join(b"%s %d %s\n" % (op.encode(), ms, escaped(data)) for op, ms, data in lines))
    return path


def test_ten_watts_across_a_wraparound_two_sockets_memory_and_psys(reader_kind: str) -> None:
    # package-0 and psys stand 5 J and 9 J before their end.
    watts = {"0": 10, "0:0": 6, "0:1": 2, "1": 7, "1:0": 2, "2": 25}
    zones = [f"intel-rapl:{zone}={watt}" for zone, watt in watts.items()]
    tree = DATA / "rapl-two-sockets.umockdev"
    document = umockdev("-d", tree, child=["powercap", "0.1", "5", *zones])
    assert document["reader"] == reader_kind
    rows = document["by_domain"]
    powers = {name: power_w(row) for name, row in rows.items()}
    truth = {"package-0": 10, "core-0": 6, "dram-0": 2, "package-1": 7, "dram-1": 2, "psys": 25}
    assert powers["package-0"] == pytest.approx(10.00, rel=1e-3)
    assert powers == pytest.approx(truth, rel=3e-3)
    assert {name: row["parent"] for name, row in rows.items() if row["parent"] != "psys"} == {
        "psys": None,
        "core-0": "package-0",
    }


@pytest.mark.skipif(find_spec("pyRAPL") is None, reason="pyRAPL (the meters extra) is not installed")
def test_the_real_pyrapl_on_two_sockets_with_memory() -> None:
    watts = {"0": 10, "0:1": 3, "1": 7, "1:0": 2}
    zones = [f"intel-rapl:{zone}={watt}" for zone, watt in watts.items()]
    trees = ("-d", DATA / "rapl-two-sockets.umockdev", "-d", DATA / "two-sockets-cpu.umockdev")
    rows = umockdev(*trees, child=["pyrapl", "0.1", "2", *zones])["by_domain"]
    truth = {"package-0": 10.0, "package-1": 7.0, "dram-0": 3.0, "dram-1": 2.0}
    assert {name: power_w(row) for name, row in rows.items()} == pytest.approx(truth, rel=0.01)


def test_hwmon_with_a_corrected_shunt(reader_kind: str) -> None:
    document = undisturbed("-d", DATA / "hwmon.umockdev", child=["hwmon:ina219,shunt=0.1", "0.1", "5"])
    assert document["reader"] == reader_kind
    assert power_w(document["by_domain"]["ina219-1"]) == pytest.approx(2.5)
    assert document["settings"]["shunt_correction"] == pytest.approx(0.1)


def test_hwmon_rails_inside_their_input(reader_kind: str) -> None:
    document = undisturbed("-d", DATA / "hwmon.umockdev", child=["hwmon:ina3221", "0.1", "5"])
    assert document["reader"] == reader_kind
    rows = document["by_domain"]
    assert set(rows) == {"ina3221-VDD_IN", "ina3221-VDD_CPU"}  # the sums over the channels are none
    assert power_w(rows["ina3221-VDD_IN"]) == pytest.approx(10.0)
    assert power_w(rows["ina3221-VDD_CPU"]) == pytest.approx(6.0)
    assert rows["ina3221-VDD_CPU"]["parent"] == "ina3221-VDD_IN"


def has_introspection() -> bool:
    code = "import gi; gi.require_version('UMockdev', '1.0'); from gi.repository import UMockdev"
    try:
        done = subprocess.run([SYSTEM_PYTHON, "-c", code], capture_output=True, timeout=20, check=False)
    except OSError:
        return False
    return done.returncode == 0


introspection = pytest.mark.skipif(not has_introspection(), reason="no gir1.2-umockdev-1.0 with python3-gi")


def emulated(program: str, described: Path, answers: Path, child: list[str]) -> dict[str, Any]:
    """Run the child where a program of the testbed's own answers for the device."""
    given = [SYSTEM_PYTHON, str(HERE / program), str(described), str(answers)]
    return run_child(["umockdev-wrapper", *given], child)


@introspection
@pytest.mark.parametrize("nodes", [("vcio",), ("vcio_gencmd",), ("vcio", "vcio_gencmd")], ids=" and ".join)
def test_the_mailbox_of_a_raspberry_pi_5(tmp_path: Path, nodes: tuple[str, ...]) -> None:
    mailbox = (DATA / "vcio.umockdev").read_text()
    described = tmp_path / "mailbox.umockdev"
    described.write_text("".join(mailbox.replace("vcio", node) for node in nodes))
    child = ["pi5-pmic", "0.2", "6", "--hurried"]
    document = emulated("emulate_vcio.py", described, DATA / "pmic_read_adc.txt", child)
    rows = document["by_domain"]
    assert power_w(rows["VDD_CORE"]) == pytest.approx(1.5 * 0.89)
    # The rail that reads 0 A is not shown as 0 J.
    assert "0 W throughout" in rows.pop("DDR_VDDQ")["reason"]
    rails = [power_w(row) for row in rows.values() if row["parent"] == "board"]
    assert len(rails) == 11
    assert power_w(rows["board"]) == pytest.approx(sum(rails))
    # Where there are both, the one that the group `video` may open for certain.
    assert document["settings"]["access"] == f"/dev/{nodes[-1]}"


def fnb58_report(volt: float, ampere: float, after_ms: int) -> bytes:
    sample = struct.pack("<IIHHBH", round(volt * 1e5), round(ampere * 1e5), 600, 600, 1, 251)
    body = (b"\x04" + 4 * sample).ljust(61, b"\0") + bytes([after_ms])
    return b"\xaa" + body + bytes([fnirsi.crc8(body)])


def test_an_fnb58_with_corrupt_and_lost_reports(tmp_path: Path) -> None:
    lines = [("w", 0, b"\0" + fnirsi.command(code)) for code in (0x81, 0x82, 0x82)]
    corrupt = (4, 20)
    for i in range(75):
        if i and i % 25 == 0:
            lines.append(("w", 0, b"\0" + fnirsi.command(0x83)))  # asked for more once a second
        late_ms = 80 if i == 40 else 40  # one report was lost before this one
        good = fnb58_report(5.0, 2.0, late_ms)
        lines.append(("r", 10, good[:-1] + b"\x01" if i in corrupt else good))
    played = script(tmp_path / "fnb58.script", lines)
    options = ("-d", DATA / "fnb58.umockdev", "-s", f"/dev/hidraw0={played}")
    document = umockdev(*options, child=["fnirsi", "0.3", "2.2", "--paced"])
    row = document["by_domain"]["usb"]
    assert power_w(row) == pytest.approx(10.0, rel=1e-6)
    assert row["longest_gap_s"] == pytest.approx(0.05)
    assert document["settings"]["model"] == "FNB58"
    assert document["settings"]["corrupt_reports"] == len(corrupt)


@introspection
def test_an_fnb58_that_is_pulled_out_and_comes_back_as_another_device(tmp_path: Path) -> None:
    # The first report after it was plugged in tells how long it was away, as far as a byte can.
    answers = tmp_path / "fnb58.reports"
    answers.write_bytes(fnb58_report(5.0, 2.0, 255) + fnb58_report(5.0, 2.0, 40))
    child = ["fnirsi", "0.3", "2.2,2.2", "--paced"]
    document = emulated("emulate_fnb58.py", DATA / "fnb58.umockdev", answers, child)
    lost, good = document["rows"]
    assert (lost["gross_j"], lost["net_j"], lost["provenance"]) == (None, None, "unavailable")
    assert lost["reason"].startswith("the meter failed: meter 'fnirsi': /dev/hidraw0 is gone: ")
    assert good["gross_j"] == pytest.approx(10.0 * good["duration_s"], rel=1e-6)
    assert good["reason"] == "no net energy: idle before: none was taken; idle after: none was taken"
    assert document["failures"] == 1
    assert document["settings"] == {"device": "/dev/hidraw1", "model": "FNB58", "corrupt_reports": 0}


def tty(tmp_path: Path, name: str) -> Path:
    description = tmp_path / f"{name}.umockdev"
    lines = (
        f"P: /devices/virtual/tty/{name}",
        f"N: {name}",
        f"E: DEVNAME=/dev/{name}",
        "E: SUBSYSTEM=tty",
        "",
    )
    description.write_text("\n".join(lines) + "\n")
    return description


def um25c(tmp_path: Path, answers: int) -> list[str | Path]:
    """Describe one at 10 W; its register counts half a second of that an answer."""
    pytest.importorskip("serial", reason="pyserial (the meters extra) is not installed")
    head = struct.pack(">HHHI", 0x09C9, 5000, 20000, 10000).ljust(20, b"\0")
    tail = bytes(104) + b"\xff\xf1"
    lines = []
    for i in range(answers):
        answer = head + struct.pack(">I", round(i * 10.0 * 0.5 / 3.6)) + tail
        lines += [("w", 0, b"\xf0"), ("r", 1, answer)]
    played = script(tmp_path / "um25c.script", lines)
    return ["-d", tty(tmp_path, "rfcomm0"), "-s", f"/dev/rfcomm0={played}"]


def test_a_um25c_on_its_serial_port(tmp_path: Path) -> None:
    # Two fresh values a second: 2 s are refused, and what would do is said.
    document = umockdev(*um25c(tmp_path, 400), child=["um25c:/dev/rfcomm0", "0.6", "2"])
    assert document["last"]["usb"] == pytest.approx(10.0)
    row = document["by_domain"]["usb"]
    assert row["gross_j"] is None
    achieved_s = max(0.5, document["span_s"] / document["inside"][0])
    assert row["needed_s"] == pytest.approx(100 * achieved_s)


def test_the_energy_of_a_um25c_in_a_minute(tmp_path: Path) -> None:
    document = umockdev(*um25c(tmp_path, 2000), child=["um25c:/dev/rfcomm0", "0.6", "60", "--hurried"])
    row, register = document["by_domain"]["usb"], document["by_domain"]["usb-register"]
    assert row["duration_s"] == pytest.approx(document["span_s"])
    assert row["gross_j"] == pytest.approx(10.0 * document["span_s"])
    assert row["samples"] >= 100
    # Polls come at random times around each half second, after which this register counts every one alike.
    assert register["gross_j"] == pytest.approx(10.0 * document["span_s"], rel=0.1)
    assert register["parent"] == "usb"


def tc66c(tmp_path: Path, answers: int) -> list[str | Path]:
    """Describe one at 10 W, whose register stands still."""
    pytest.importorskip("serial", reason="pyserial (the meters extra) is not installed")
    ciphers = pytest.importorskip("cryptography.hazmat.primitives.ciphers", reason="cryptography is missing")
    first = b"pac1TC661.14".ljust(48, b"\0") + struct.pack("<3I", 50_000, 200_000, 100_000)
    blocks = [block.ljust(60, b"\0") for block in (first, b"pac2", b"pac3")]
    plain = b"".join(block + struct.pack("<I", tc66.crc16_modbus(block)) for block in blocks)
    encryptor = ciphers.Cipher(ciphers.algorithms.AES(tc66.KEY), ciphers.modes.ECB()).encryptor()
    answer = encryptor.update(plain) + encryptor.finalize()
    played = script(tmp_path / "tc66.script", [("w", 0, b"getva"), ("r", 1, answer)] * answers)
    return ["-d", tty(tmp_path, "ttyACM0"), "-s", f"/dev/ttyACM0={played}"]


def test_a_tc66c_on_its_serial_port(tmp_path: Path) -> None:
    options = tc66c(tmp_path, 2000)
    # Ten fresh values a second: what is read shows in 2 s, whose energy is refused.
    for _ in range(3):
        document = umockdev(*options, child=["tc66c:/dev/ttyACM0", "0.3", "2"])
        if document["inside"][0] > 12 * document["span_s"]:  # else this machine stood still
            break
    assert document["last"]["usb"] == pytest.approx(10.0)
    assert document["inside"][0] > 12 * document["span_s"]
    row = document["by_domain"]["usb"]
    assert (row["gross_j"], row["needed_s"]) == (None, pytest.approx(10.0))


def test_the_energy_of_a_tc66c(tmp_path: Path) -> None:
    document = umockdev(*tc66c(tmp_path, 3000), child=["tc66c:/dev/ttyACM0", "0.3", "12", "--hurried"])
    row, register = document["by_domain"]["usb"], document["by_domain"]["usb-register"]
    assert row["duration_s"] == pytest.approx(document["span_s"])
    assert row["gross_j"] == pytest.approx(10.0 * document["span_s"])
    assert row["samples"] >= 200
    assert (register["gross_j"], register["needed_s"]) == (None, pytest.approx(50.0))


def test_a_meter_named_and_absent_says_what_mends_it() -> None:
    command = ["umockdev-run", "--", *CHILD, "powercap", "0", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 1
    assert "sudo modprobe intel_rapl_msr" in done.stderr
