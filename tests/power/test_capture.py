"""Captures survive the way to the file and back; anything else is refused by line, never half read."""

import contextlib
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from power.base import Domain, now_ns
from power.capture import capture_text, read_capture
from power.errors import CaptureError, MeterReadError, MeterUnavailableError
from power.meters.replay import ReplayMeter
from power.recorder import Recorder
from power.series import Series

HEAD = (
    '{"schema": "power.capture", "version": 1, "meter": "fnirsi", "provenance": "measured",'
    ' "domains": [{"name": "usb", "kind": "power", "covers": ""}]}'
)


def recorded() -> list[Series]:
    power = Series(Domain("usb", "power", "the USB supply", gain_limit=0.005))
    counter = Series(Domain("package-0", "energy", "the package", wrap_j=100.0, max_power_w=50.0))
    for i in range(150):
        power.add(i * 10_000_000, 5.0 + 0.1 * (i % 3))
        counter.add(i * 10_000_000 + 1, (95.0 + 0.1 * i) % 100.0)
    return [power, counter]


def test_what_was_recorded_comes_back(tmp_path: Path) -> None:
    series = recorded()
    (tmp_path / "c.jsonl").write_text(capture_text("two", series))
    capture = read_capture(tmp_path / "c.jsonl")
    assert capture.meter == "two"
    assert [d.name for d in capture.domains] == ["usb", "package-0"]
    assert capture.domains[0] == series[0].domain
    assert capture.domains[1].wrap_j is None  # written unwrapped
    for one in series:
        samples = [s for s in capture.samples if s.domain == one.domain.name]
        assert [s.t_ns for s in samples] == list(one.t_ns)
        assert [s.value for s in samples] == list(one.values)


def test_a_replay_gives_the_recorded_energy_and_then_fails_as_an_unplugged_meter(tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_text(capture_text("two", recorded()))
    with Recorder([ReplayMeter(str(tmp_path / "c.jsonl"))], period_s=0.02) as recorder:
        start_ns = now_ns() + 50_000_000
        time.sleep(1.3)
        usb, package = recorder.energy(start_ns, start_ns + 1_200_000_000)
        assert usb.gross_j == pytest.approx(5.1 * 1.2, rel=0.01)
        assert package.gross_j == pytest.approx(10.0 * 1.2, rel=0.01)
        assert usb.provenance == "measured"
        time.sleep(0.5)
        over = recorder.energy(start_ns, start_ns + 1_700_000_000)[0]
    assert over.gross_j is None
    assert "is over" in str(over.reason)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a capture"),
        ("[]\n", "its first line"),
        ('{"schema": "power.capture", "version": 2}\n', "version 1"),
        (HEAD.replace("power.capture", "other") + "\n[1, 0, 1.0]\n", "its first line"),
        (HEAD + "\n", "holds no sample"),
        (HEAD + "\n[1, 1, 5.0]\n", "line 2"),
        (HEAD + "\n[1, -1, 5.0]\n", "line 2"),
        (HEAD + "\n[1, 0, 5.0]\n[0, 0, 5.0]\n", "line 3: earlier"),
        (HEAD + "\n[1, 0, NaN]\n", "finite"),
        (HEAD + "\n[1, 0, true]\n", "finite"),
        (HEAD + "\n[1, 0]\n", "line 2"),
        (HEAD + "\n[1, 0, 5.", "line 2"),
        (HEAD.replace('"kind": "power", ', "") + "\n[1, 0, 5.0]\n", "is not a capture"),
    ],
)
def test_what_is_no_capture_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.jsonl").write_text(text)
    with pytest.raises(CaptureError, match=message):
        read_capture(tmp_path / "bad.jsonl")
    assert not ReplayMeter(str(tmp_path / "bad.jsonl")).probe().usable


@given(st.binary(max_size=400), st.booleans())
def test_no_bytes_crash_the_reader(tmp_path_factory: pytest.TempPathFactory, data: bytes, head: bool) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.jsonl"
    path.write_bytes((HEAD + "\n").encode() + data if head else data)
    with contextlib.suppress(CaptureError):
        assert read_capture(path).samples


def test_a_replayed_script_does_not_become_a_measurement(tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_text(capture_text("mock", recorded(), "modelled"))
    with Recorder([ReplayMeter(str(tmp_path / "c.jsonl"))], period_s=0.02) as recorder:
        start_ns = now_ns() + 50_000_000
        time.sleep(1.3)
        usb, _ = recorder.energy(start_ns, start_ns + 1_200_000_000)
    assert usb.gross_j is not None
    assert usb.provenance == "modelled"


def test_replay_without_a_file_says_how() -> None:
    with pytest.raises(MeterUnavailableError, match="replay:FILE"):
        ReplayMeter().open()
    with pytest.raises(MeterUnavailableError, match="No such file"):
        ReplayMeter("/nowhere/at/all").open()
    with pytest.raises(MeterReadError, match="not open"):
        ReplayMeter("x").read()
