import contextlib
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from results import store
from results.errors import DocumentInvalidError, HistoryError
from results.history import DATABASE, History
from results.history_table import history_view
from results.metrics import Key
from results.schema import Quality

Make = Callable[..., Any]
MIB = 2**20
START = datetime(2026, 1, 1, tzinfo=UTC)


def fill(folder: Path, document: Make, trial: Make, peaks: list[int], first: int = 0) -> list[Path]:
    paths = []
    for day, peak in enumerate(peaks, start=first):
        created = START + timedelta(days=day)
        path = folder / f"{day:05d}.json"
        store.write(document([trial("standard"), trial("lowmem", peak=peak * MIB)], created=created), path)
        paths.append(path)
    return paths


def peak_of(history: History, trainer: str = "lowmem") -> Any:
    (found,) = [t for t in history.trends("training_peak_bytes") if t.key.trainer == trainer]
    return found


def test_a_folder_becomes_series_in_order_of_time(document: Make, trial: Make, tmp_path: Path) -> None:
    fill(tmp_path / "sub", document, trial, [42, 41], first=5)
    fill(tmp_path, document, trial, [40])
    with History(tmp_path) as history:
        report = history.load()
        assert (report.loaded, report.unchanged, report.gone, report.skipped) == (3, 0, 0, {})
        trend = peak_of(history)
    assert trend.key == Key("mlp-mnist", "lowmem", "torch", 100)
    assert trend.setup.optimizer == "adam"
    assert [value / MIB for value in trend.values] == [40, 42, 41]
    assert trend.points[1].path == "sub/00005.json"
    assert trend.points[0].created.startswith("2026-01-01T00:00:00")


def test_the_second_load_reads_what_changed_only(document: Make, trial: Make, tmp_path: Path) -> None:
    paths = fill(tmp_path, document, trial, [40, 41, 42])
    with History(tmp_path) as history:
        history.load()
    paths[0].unlink()
    fill(tmp_path, document, trial, [50], first=1)
    fill(tmp_path, document, trial, [43], first=9)
    with History(tmp_path) as history:
        report = history.load()
        assert (report.loaded, report.unchanged, report.gone) == (2, 1, 1)
        assert [value / MIB for value in peak_of(history).values] == [50, 42, 43]
        assert history.load().loaded == 0


def test_a_corrupt_document_is_named_and_skipped(document: Make, trial: Make, tmp_path: Path) -> None:
    paths = fill(tmp_path, document, trial, [40, 41])
    broken = paths[1].read_bytes()[:100]
    paths[1].write_bytes(broken)
    (tmp_path / "other.json").write_text("{}")
    with History(tmp_path) as history:
        for _ in range(2):
            report = history.load()
            assert set(report.skipped) == {"00001.json", "other.json"}
            assert "truncated" in report.skipped["00001.json"]
        assert (report.loaded, report.unchanged) == (0, 1)
        assert len(peak_of(history).points) == 1
        assert paths[1].read_bytes() == broken, "what is skipped is left as it is"
        fill(tmp_path, document, trial, [41], first=1)
        assert set(history.load().skipped) == {"other.json"}
        assert len(peak_of(history).points) == 2


def test_what_could_not_be_read_is_tried_again(
    document: Make, trial: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, document, trial, [40])

    def refuse(path: Path) -> Any:
        raise DocumentInvalidError(f"'{path}' cannot be read: Permission denied")

    with History(tmp_path) as history:
        monkeypatch.setattr(store, "read", refuse)
        assert "Permission denied" in history.load().skipped["00000.json"]
        monkeypatch.undo()  # rights are no part of what a file is known by: its size and time are as before
        assert (history.load().loaded, history.load().unchanged) == (1, 1)
        assert len(peak_of(history).points) == 1


def test_a_number_beyond_64_bits_is_skipped_and_blocks_nothing(
    document: Make, trial: Make, tmp_path: Path
) -> None:
    paths = fill(tmp_path, document, trial, [40, 41])
    text = paths[1].read_text()
    paths[1].write_text(text.replace(str(41 * MIB), str(2**63)))
    with History(tmp_path) as history:
        assert "Expected `int` <= 9223372036854775807" in history.load().skipped["00001.json"]
        assert len(peak_of(history).points) == 1


def test_machines_and_setups_are_kept_apart(document: Make, trial: Make, host: Make, tmp_path: Path) -> None:
    store.write(document([trial()]), tmp_path / "a.json")
    store.write(document([trial()], host=host(cores=4)), tmp_path / "b.json")
    store.write(document([trial(), trial(threads=1)]), tmp_path / "c.json")
    with History(tmp_path) as history:
        history.load()
        trends = history.trends("training_peak_bytes")
        assert sorted(len(trend.points) for trend in trends) == [1, 1, 2]
        assert history.trends("training_peak_bytes", workload="cnv-svhn") == []
    store.write(document([trial(settings={"accumulate": 4})]), tmp_path / "a.json")
    with History(tmp_path) as history:
        history.load()
        trends = history.trends("training_peak_bytes")
        assert sorted((trend.setup.accumulate, len(trend.points)) for trend in trends) == [
            (1, 1),
            (1, 1),
            (1, 1),
            (4, 1),
        ]
        assert {trend.metric for trend in history.trends()} >= {"step_s", "test_accuracy", "modelled_bytes"}


def test_accuracies_of_trainings_of_another_length_are_another_series(
    document: Make, trial: Make, tmp_path: Path, shown: Make
) -> None:
    for day, steps in enumerate([60, 60, 6, 6, 60]):
        quality = Quality(train_loss=[], test_accuracy=0.97 if steps == 60 else 0.2, test_items=10)
        settings = {"steps": steps, "epochs": None}
        created = START + timedelta(days=day)
        store.write(
            document([trial(settings=settings, quality=quality)], created=created), tmp_path / f"{day}.json"
        )
    with History(tmp_path) as history:
        report = history.load()
        trends = history.trends()
    accuracies = {trend.length["steps"]: trend.values for trend in trends if trend.metric == "test_accuracy"}
    assert accuracies == {60: [0.97] * 3, 6: [0.2] * 2}
    (peak,) = [trend for trend in trends if trend.metric == "training_peak_bytes"]
    assert (len(peak.points), peak.length) == (5, {}), "memory does not depend on the length"
    text = shown(history_view(trends, report))
    assert "  60 steps" in text
    assert "  6 steps" in text


def test_a_change_is_found_and_put_in_words(document: Make, trial: Make, tmp_path: Path, shown: Make) -> None:
    fill(tmp_path, document, trial, [40] * 8 + [50] * 8)
    (tmp_path / "odd.json").write_text("no")
    with History(tmp_path) as history:
        report = history.load()
        trends = history.trends()
    trend = next(t for t in trends if t.key.trainer == "lowmem" and t.metric == "training_peak_bytes")
    assert (trend.changes, trend.level) == ((8,), 50 * MIB)
    text = shown(history_view(trends, report))
    assert max(map(len, text.splitlines())) <= 80
    flat = " ".join(text.split())
    assert (
        "lowmem training_peak_bytes: 40.0 MiB → 50.0 MiB (+25.0 %) since 2026-01-09 00:00 UTC, 00008.json"
        in flat
    )
    assert "▁▁▁▁▁▁▁▁████████" in text
    assert "skipped odd.json: " in flat
    assert "documents: 16 new, 0 known, 1 skipped" in flat


_LOADER = """
import sys
from pathlib import Path
from results import store
from results.history import History

folder, source, start = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
document = store.loads(source.read_bytes())
for number in range(start, start + 100):
    store.write(document, folder / f"{number:05d}.json")
    if number % 10 == 0:
        with History(folder) as history:
            history.load()
with History(folder) as history:
    history.load()
"""


def test_two_writers_at_once_lose_nothing(document: Make, tmp_path_factory: pytest.TempPathFactory) -> None:
    tmp_path, source = tmp_path_factory.mktemp("runs"), tmp_path_factory.mktemp("source") / "document"
    source.write_text(store.dumps(document()))
    command = [sys.executable, "-P", "-c", _LOADER, str(tmp_path), str(source)]
    writers = [subprocess.Popen([*command, str(start)]) for start in (0, 1000)]
    assert [writer.wait() for writer in writers] == [0, 0]
    with History(tmp_path) as history:
        report = history.load()
        assert report.loaded + report.unchanged == 200
        assert report.skipped == {}
        assert len(peak_of(history).points) == 200


def test_a_database_that_is_none_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_bytes(b"this is no database" * 100)
    with pytest.raises(
        HistoryError, match="cannot be used: file is not a database; delete it if it was a history"
    ):
        History(tmp_path)
    with pytest.raises(HistoryError, match="no folder"):
        History(tmp_path / "none")


def test_the_database_of_another_program_is_left_alone(document: Make, trial: Make, tmp_path: Path) -> None:
    fill(tmp_path, document, trial, [40])
    other = tmp_path / "other.sqlite3"
    with contextlib.closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE document (something TEXT)")
        connection.execute("INSERT INTO document VALUES ('dear')")
        connection.commit()
    before = other.read_bytes()
    with pytest.raises(HistoryError, match="is a database, but no history: it was left alone"):
        History(tmp_path, other)
    assert other.read_bytes() == before


def test_a_database_of_another_version_is_made_again(document: Make, trial: Make, tmp_path: Path) -> None:
    fill(tmp_path, document, trial, [40])
    History(tmp_path).close()
    connection = sqlite3.connect(tmp_path / DATABASE)
    connection.execute("DROP TABLE measurement")
    connection.execute("PRAGMA user_version = 99")
    connection.commit()
    connection.close()
    with History(tmp_path) as history:
        assert history.load().loaded == 1


def test_no_database_is_kept_where_none_is_wanted(document: Make, trial: Make, tmp_path: Path) -> None:
    fill(tmp_path, document, trial, [40])
    with History(tmp_path, Path(":memory:")) as history:
        assert history.load().loaded == 1
    assert not (tmp_path / DATABASE).exists()


@pytest.mark.slow
def test_ten_thousand_documents_load_in_ten_seconds(document: Make, tmp_path: Path) -> None:
    data = store.dumps(document()).encode()
    for number in range(10_000):
        (tmp_path / f"{number}.json").write_bytes(data)
    begin = time.process_time()  # the work, not the wait for a busy machine
    with History(tmp_path) as history:
        assert history.load().loaded == 10_000
    assert time.process_time() - begin < 10.0
