"""`harness history`: a folder of documents as an embedded database, and the trends in it.

SQLite and not DuckDB: the standard library's imports in 6 to 14 ms and 2 MiB, DuckDB 2.0 in 220 ms and
68 MiB on the same machine, and the only queries are "one metric over time", which an index answers.

The database is a cache of the folder: deleting it loses nothing, and a document that changes or goes is
taken up at the next load. A file that is not a document is named, skipped and left as it is.
"""

import sqlite3
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from results import store
from results.database_errors import foreign, trouble
from results.errors import FolderMissingError, HistoryError, ResultError
from results.files import shown
from results.fingerprint import fingerprint, machine_facts
from results.metrics import METRICS, Key, measure_setups
from results.schema import Document, Setting
from results.summary import Setup
from results.trends import change_points

DATABASE = "history.sqlite3"
_VERSION = 6
_APPLICATION = 0x48524E53
"""Says in the header of a database (`PRAGMA application_id`) that it is a history: another program's is not touched."""
_UNREAD = (-1, -1)
"""The size and time of no file: what could not be read is tried again, since rights and this program change, too."""
_BUSY_S = 60.0
"""How long a writer waits for another: a first load of 10,000 documents takes a few seconds."""

_Names = tuple[str, str, str, str]
"""What a series is known by: key, setup, metric, length."""

_TABLES = """
CREATE TABLE document (
    id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    created TEXT, machine TEXT, error TEXT
);
CREATE TABLE series (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, setup TEXT NOT NULL, metric TEXT NOT NULL,
    length TEXT NOT NULL, UNIQUE (key, setup, metric, length)
);
CREATE TABLE measurement (
    document INTEGER NOT NULL REFERENCES document (id) ON DELETE CASCADE,
    series INTEGER NOT NULL REFERENCES series (id), value REAL NOT NULL,
    PRIMARY KEY (document, series)
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class LoadReport:
    """What a load did: documents taken up, unchanged and gone; `skipped` maps each bad file to its cause."""

    loaded: int
    unchanged: int
    gone: int
    skipped: dict[str, str]


@dataclass(frozen=True)
class Point:
    """One document's median of a metric."""

    created: str
    path: str
    value: float


@dataclass(frozen=True)
class Trend:
    """A metric of one configuration on one machine over time, with the points at which it changed.

    `length` is how long was trained: accuracies of another length are another series. Other metrics do not depend on
    it, and have none.
    """

    key: Key
    setup: Setup
    machine: str
    metric: str
    length: dict[str, Setting]
    points: tuple[Point, ...]
    changes: tuple[int, ...]

    @property
    def values(self) -> list[float]:
        """Return the values in order of time."""
        return [point.value for point in self.points]

    @property
    def level(self) -> float:
        """Return the median since the last change."""
        return statistics.median(self.values[self.changes[-1] if self.changes else 0 :])


class History:
    """The documents below a folder, by way of their database.

    Args:
        folder: Searched with everything below it for `*.json`.
        database: Where the cache is kept; by default `history.sqlite3` in the folder. `:memory:` keeps none.

    Raises:
        HistoryError: No such folder, or the database cannot be used.
    """

    def __init__(self, folder: Path, database: Path | None = None) -> None:
        if not folder.is_dir():
            if folder.exists():
                raise FolderMissingError(f"'{folder}' is a file, not a folder; name the folder of documents")
            raise FolderMissingError(f"no folder '{folder}'; `harness run` writes documents to ./runs")
        self._folder = folder
        self._database = database or folder / DATABASE
        self._numbers: dict[_Names, int] = {}
        with self._errors():
            self._connection = sqlite3.connect(self._database, timeout=_BUSY_S, isolation_level=None)
            try:
                self._connection.execute("PRAGMA foreign_keys = ON")
                with self._transaction():
                    self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    def __enter__(self) -> "History":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def load(self) -> LoadReport:
        """Take up what is new or changed in the folder, drop what has gone.

        The folder is looked at inside the transaction: a second writer then sees what the first one saw,
        and takes nothing of it away.
        """
        self._numbers.clear()
        with self._errors(), self._transaction():
            rows = self._connection.execute("SELECT path, size, mtime_ns, error FROM document")
            known = {path: _UNREAD if error else (size, mtime) for path, size, mtime, error in rows}
            files = {name: (path, state) for name, path, state in self._files()}
            present = {name: state for name, (_, state) in files.items()}
            stale = [path for path in known if known[path] != present.get(path)]
            self._connection.executemany("DELETE FROM document WHERE path = ?", [(path,) for path in stale])
            fresh = [name for name in present if known.get(name) != present[name]]
            loaded = sum(self._take_up(name, *files[name]) for name in fresh)
            query = "SELECT path, error FROM document WHERE error IS NOT NULL ORDER BY path"
            skipped = dict(self._connection.execute(query).fetchall())
            gone = sum(path not in present for path in known)
            return LoadReport(loaded, len(present) - loaded - len(skipped), gone, skipped)

    def trends(self, metric: str | None = None, workload: str | None = None) -> list[Trend]:
        """Return the series of every configuration, or of one metric or workload, in a fixed order."""
        query = (
            "SELECT s.key, s.setup, d.machine, s.metric, s.length, d.created, d.path, m.value "
            "FROM measurement m JOIN document d ON d.id = m.document JOIN series s ON s.id = m.series "
            "WHERE (:metric IS NULL OR s.metric = :metric) "
            "ORDER BY s.key, s.setup, s.metric, s.length, d.machine, d.created, d.path"
        )
        series: dict[tuple[str, str, str, str, str], list[Point]] = {}
        with self._errors():
            for *names, created, path, value in self._connection.execute(query, {"metric": metric}):
                key, setup, machine, name, length = names
                series.setdefault((key, setup, machine, name, length), []).append(Point(created, path, value))
        trends = [_trend(*names, tuple(points)) for names, points in series.items() if names[3] in METRICS]
        return [trend for trend in trends if workload is None or trend.key.workload == workload]

    def _prepare(self) -> None:
        """Make the tables; a history of another version is emptied, since it can be had again.

        Raises HistoryError for a database that some other program made.
        """
        (application,) = self._connection.execute("PRAGMA application_id").fetchone()
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if (application, version) == (_APPLICATION, _VERSION):
            return
        (objects,) = self._connection.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()
        if objects and application != _APPLICATION:
            raise HistoryError(foreign(self._database))
        for table in ("measurement", "series", "document"):
            self._connection.execute(f"DROP TABLE IF EXISTS {table}")
        for statement in _TABLES.strip().rstrip(";").split(";"):
            self._connection.execute(statement)
        self._connection.execute(f"PRAGMA user_version = {_VERSION}")
        self._connection.execute(f"PRAGMA application_id = {_APPLICATION}")

    def _files(self) -> Iterator[tuple[str, Path, tuple[int, int]]]:
        """Yield each JSON file below the folder, but the hidden ones: its name, path, and size and time of change.

        The name is text, which a path need not be: the database takes nothing else.
        """
        for path in sorted(self._folder.rglob("*.json")):
            if path.name.startswith(".") or not path.is_file():
                continue
            status = path.stat()
            yield shown(str(path.relative_to(self._folder))), path, (status.st_size, status.st_mtime_ns)

    def _take_up(self, name: str, path: Path, state: tuple[int, int]) -> bool:
        """Insert one file's document, or the cause why it is none; return whether it is one."""
        insert = (
            "INSERT INTO document (path, size, mtime_ns, created, machine, error) VALUES (?, ?, ?, ?, ?, ?)"
        )
        try:
            document = store.read(path)
        except ResultError as error:
            self._connection.execute(insert, (name, *state, None, None, shown(str(error))))
            return False
        facts = (f"{document.created:%Y-%m-%dT%H:%M:%S.%fZ}", fingerprint(machine_facts(document)), None)
        row = self._connection.execute(insert, (name, *state, *facts))
        rows = ((row.lastrowid, self._series(names), value) for names, value in _measurements(document))
        self._connection.executemany("INSERT INTO measurement VALUES (?, ?, ?)", list(rows))
        return True

    def _series(self, names: _Names) -> int:
        """Return the number of a series, made where it is new; remembered within one load."""
        number = self._numbers.get(names)
        if number is None:
            self._connection.execute(
                "INSERT OR IGNORE INTO series (key, setup, metric, length) VALUES (?, ?, ?, ?)", names
            )
            query = "SELECT id FROM series WHERE key = ? AND setup = ? AND metric = ? AND length = ?"
            (number,) = self._connection.execute(query, names).fetchone()
            self._numbers[names] = number
        return int(number)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Run in one write transaction, waiting for another writer first."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn a failure of the database into an error with the next step."""
        try:
            yield
        except sqlite3.Error as error:
            raise HistoryError(trouble(error, self._database)) from error


def _measurements(document: Document) -> Iterator[tuple[_Names, float]]:
    """Yield the names of each series that the document measured, and its figure."""
    for measured in measure_setups([document]):
        key, setup = (msgspec.json.encode(part).decode() for part in (measured.key, measured.setup))
        for metric in measured.values:
            value = measured.figure(metric)
            if value is not None:
                length = measured.length() if metric == "test_accuracy" else {}
                yield (key, setup, metric, msgspec.json.encode(length).decode()), float(value)


def _trend(key: str, setup: str, machine: str, metric: str, length: str, points: tuple[Point, ...]) -> Trend:
    """Return one series with its change points; less than the metric's floor is no change."""
    values = [point.value for point in points]
    changes = tuple(change_points(values, METRICS[metric].floor))
    names = _decoded(key, Key), _decoded(setup, Setup), machine, metric, _decoded(length, dict)
    return Trend(*names, points, changes)


def _decoded(text: str, kind: Any) -> Any:
    """Return a named tuple from its JSON."""
    return msgspec.json.decode(text, type=kind)
