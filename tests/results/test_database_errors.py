"""The advice is right: only what is damaged is to be deleted."""

import os
import sqlite3
from pathlib import Path

import pytest

from results.database_errors import trouble
from results.errors import HistoryError
from results.history import DATABASE, History


def error(code: int) -> sqlite3.OperationalError:
    found = sqlite3.OperationalError("as SQLite says it")
    found.sqlite_errorcode = code
    return found


READONLY_DIRECTORY = sqlite3.SQLITE_READONLY_DIRECTORY


@pytest.mark.parametrize("code", [sqlite3.SQLITE_READONLY, READONLY_DIRECTORY, sqlite3.SQLITE_CANTOPEN])
@pytest.mark.parametrize("closed", ["folder", "file"])
def test_a_place_that_is_read_only_is_to_be_made_writable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, closed: str
) -> None:
    path = tmp_path / DATABASE
    path.touch()
    place = tmp_path if closed == "folder" else path
    monkeypatch.setattr(os, "access", lambda asked, mode: asked != place)  # root may write anywhere
    assert trouble(error(code), path) == (
        f"the history '{path}' cannot be used: '{place}' cannot be written to; make it writable, or name another "
        "place with --database F (:memory: keeps none)"
    )


@pytest.mark.parametrize(
    ("database", "cause"),
    [
        ("none/a.sqlite3", "there is no folder '{}/none'; make it, or name another place with --database F"),
        ("file/a.sqlite3", "'{}/file' is a file, not a folder; name another place with --database F"),
        ("folder", "it is a folder; name another place with --database F"),
    ],
)
def test_what_is_in_the_way_is_named(tmp_path: Path, database: str, cause: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(HistoryError) as raised:
        History(tmp_path, tmp_path / database)
    assert f"cannot be used: {cause.format(tmp_path)}" in str(raised.value)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (sqlite3.SQLITE_BUSY, "another program is writing to it; wait until that one ends, or"),
        (sqlite3.SQLITE_FULL, "as SQLite says it; make room on its disk, or"),
        (sqlite3.SQLITE_IOERR, "as SQLite says it; name another place with --database F"),
        (sqlite3.SQLITE_CORRUPT, "as SQLite says it; delete it (it is made again from the documents), or"),
    ],
)
def test_each_trouble_has_its_own_step(tmp_path: Path, code: int, words: str) -> None:
    assert words in trouble(error(code), tmp_path / DATABASE)
