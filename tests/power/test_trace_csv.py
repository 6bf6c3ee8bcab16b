"""Traces in the columns, units, delimiters and times that programs of meters export; and what is no trace."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from power.errors import CaptureError
from power.trace_csv import read_trace


def written(folder: Path, text: str) -> Path:
    path = folder / "trace.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text",
    [
        "Time(s),Voltage(V),Current(A),Power(W)\n0,5,1,5\n0.5,5,2,10\n1,5,1,5\n",
        "\ufeffFNIRSI export, device FNB58\n\nTime (ms);Power (mW)\n100;5000,0\n600;10000,0\n1100;5000,0\n",
        "t\tV\tI\n0\t5\t1\n0.5\t5\t2\n1.0\t5\t1\n",
        "Timestamp,Current [mA],Voltage [V]\n10:00:59.5,1000,5\n10:01:00.0,2000,5\n10:01:00.5,1000,5\n",
        "timestamp,power_W\n2026-01-01T00:00:00.0,5\n2026-01-01 00:00:00.5,10\n2026/01/01 00:00:01,5\n\n",
        "elapsed (us),watts\n0,5\n500000,10\n1000000,5\n",
    ],
)
def test_what_programs_export(tmp_path: Path, text: str) -> None:
    series = read_trace(written(tmp_path, text), gain_limit=0.01)
    assert list(series.t_ns) == [0, 500_000_000, 1_000_000_000]
    assert list(series.values) == pytest.approx([5.0, 10.0, 5.0])
    assert (series.domain.update_s, series.domain.gain_limit) == (pytest.approx(0.5), 0.01)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no line that names"),
        ("time,temperature\n1,2\n", "no line that names"),
        ("time,voltage\n1,2\n", "no line that names"),
        ("time,power\n0,1\n1,much\n2,1\n", "line 3: could not convert"),
        ("time,power\n0,1\n1\n2,1\n", "line 3"),
        ("time,power\n0,1\n1,nan\n2,1\n", "line 3: not a finite number"),
        ("time,power\n0,1\n1,1\n", "2 samples, too few"),
        ("time,power\n0,1\n5,1\n1,1\n", "go backwards, by 4 s"),
        ("time,power\n0,1\n0,1\n0,1\n", "stand still"),
    ],
)
def test_what_is_no_trace_is_refused_by_line_and_reason(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(CaptureError, match=reason):
        read_trace(written(tmp_path, text))


def test_no_text_and_no_file(tmp_path: Path) -> None:
    (tmp_path / "trace.csv").write_bytes(b"\xff\xfe\x00time")
    with pytest.raises(CaptureError, match="no text"):
        read_trace(tmp_path / "trace.csv")
    with pytest.raises(FileNotFoundError):
        read_trace(tmp_path / "none.csv")


@given(st.text(max_size=200), st.sampled_from(["", "time,power\n", "t;v;i\n"]))
def test_no_text_crashes_the_reader(tmp_path_factory: pytest.TempPathFactory, text: str, head: str) -> None:
    path = written(tmp_path_factory.mktemp("trace"), (head + text).encode(errors="replace").decode())
    try:
        series = read_trace(path)
    except CaptureError:
        return
    assert len(series) >= 1
