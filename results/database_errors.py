"""Why the database of `harness history` cannot be used, and what to do about it."""

import os
import sqlite3
from pathlib import Path

_ELSEWHERE = "name another place with --database F (:memory: keeps none)"
_AGAIN = "it is made again from the documents"


def trouble(error: sqlite3.Error, path: Path) -> str:
    """Return in one line what is wrong with the database at `path`, and the next step."""
    cause, step = _explained(error, path)
    return f"the history '{path}' cannot be used: {cause}; {step}"


def foreign(path: Path) -> str:
    """Return in one line that a database was made by something else, or by this program before it signed its own."""
    return (
        f"'{path}' is a database, but no history: it was left alone; delete it if it was one, or {_ELSEWHERE}"
    )


def _explained(error: sqlite3.Error, path: Path) -> tuple[str, str]:
    """Return the cause and the step; only a damaged database is helped by deleting it."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest is detail
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN):
        return _closed(error, path)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return "another program is writing to it", f"wait until that one ends, or {_ELSEWHERE}"
    if code == sqlite3.SQLITE_FULL:
        return str(error), f"make room on its disk, or {_ELSEWHERE}"
    if code == sqlite3.SQLITE_IOERR:  # a disk that fails, or no file at all
        return str(error), _ELSEWHERE
    if code == sqlite3.SQLITE_NOTADB:
        return str(error), f"delete it if it was a history ({_AGAIN}), or {_ELSEWHERE}"
    return str(error), f"delete it ({_AGAIN}), or {_ELSEWHERE}"


def _closed(error: sqlite3.Error, path: Path) -> tuple[str, str]:
    """Return why a database cannot be opened or written to: SQLite says that, and not what is in the way."""
    folder = path.parent
    if path.is_dir():
        return "it is a folder", _ELSEWHERE
    if folder.exists() and not folder.is_dir():
        return f"'{folder}' is a file, not a folder", _ELSEWHERE
    if not folder.is_dir():
        return f"there is no folder '{folder}'", f"make it, or {_ELSEWHERE}"
    for place, mode in ((folder, os.W_OK | os.X_OK), (path, os.R_OK | os.W_OK)):
        if place.exists() and not os.access(place, mode):
            return f"'{place}' cannot be written to", f"make it writable, or {_ELSEWHERE}"
    return str(error), f"make it and its folder writable, or {_ELSEWHERE}"
