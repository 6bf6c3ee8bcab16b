"""Attributes are cheap while they change, and found again by name when they do not."""

from pathlib import Path

import pytest

from power.sysfs import Attribute


def test_values_written_in_place_and_put_there_by_rename_are_both_seen(tmp_path: Path) -> None:
    file = tmp_path / "energy_uj"
    file.write_text("1\n")
    attribute = Attribute(str(file))
    assert attribute.read() == b"1\n"
    file.write_text("2\n")
    assert attribute.read() == b"2\n"
    for value in ("3\n", "4\n", "5\n"):
        (tmp_path / "next").write_text(value)
        (tmp_path / "next").rename(file)
        assert attribute.read() == value.encode()
    assert attribute.read() == b"5\n"
    attribute.close()
    attribute.close()


def test_what_is_gone_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "power1_input"
    file.write_text("1\n")
    attribute = Attribute(str(file))
    attribute.read()
    file.unlink()
    with pytest.raises(FileNotFoundError):
        attribute.read()
    attribute.close()
    with pytest.raises(OSError, match="Bad file"):
        attribute.read()
