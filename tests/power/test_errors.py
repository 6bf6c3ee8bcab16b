"""A named thing that is not there is said without the system's numbers, and once."""

from pathlib import Path
from urllib.error import URLError

import pytest

from power.errors import cause_of
from power.registry import make


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (FileNotFoundError(2, "No such file or directory", "a"), "No such file or directory"),
        (
            OSError(2, "could not open port a: [Errno 2] No such file or directory: 'a'"),
            "No such file or directory",
        ),
        (OSError("it speaks for itself"), "it speaks for itself"),
        (URLError(ConnectionRefusedError(111, "Connection refused")), "Connection refused"),
        (URLError(OSError(-2, "Name or service not known")), "Name or service not known"),
        (ValueError("no number"), "no number"),
    ],
)
def test_the_cause_of_an_error(error: Exception, words: str) -> None:
    assert cause_of(error) == words


@pytest.mark.parametrize("meter", ["replay", "fnirsi", "tc66"])
def test_a_place_that_is_not_there(tmp_path: Path, meter: str) -> None:
    pytest.importorskip("serial", reason="pyserial is not installed")
    reason = str(make(f"{meter}:{tmp_path / 'none'}").probe().reason)
    assert "No such file or directory" in reason
    assert "Errno" not in reason
    assert reason.count("none") == 1
