import errno
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from results import store
from results.errors import DocumentInvalidError, DocumentMissingError, DocumentWriteError
from results.schema import Document, Quality

Make = Callable[..., Any]
SAMPLE = (Path(__file__).parent.parent / "data" / "results" / "mlp-mnist.json").read_bytes()


def left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_is_read_again(document: Make, tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "run.json"
    store.write(document(), path)
    assert store.read(path) == document()
    assert left_over(path.parent) == ["run.json"]


def test_series_stay_on_one_line_and_strings_are_left_alone(document: Make, trial: Make) -> None:
    odd = document([trial(outcome="error", reason="[\n  1,\n  2\n] and [ 3 ]")])
    text = store.dumps(odd)
    assert '"train_loss": [2.3, 1.1, 0.7]' in text
    assert store.loads(text) == odd
    assert json.loads(text) == json.loads(msgspec.json.encode(odd))
    assert text.endswith("}\n")


def test_a_written_document_has_the_mode_of_the_umask(document: Make, tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        store.write(document(), tmp_path / "run.json")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "run.json").stat().st_mode) == 0o644


@pytest.mark.parametrize("number", [2**63, 10**400])
@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("training_peak_bytes", r"trials\[0\]\.memory\.training_peak_bytes"),
        ("modelled_bytes", r"trials\[0\]\.memory\.modelled_bytes"),
        ("cores", r"host\.cores"),
        ("steps", r"trials\[0\]\.settings"),
    ],
)
def test_a_whole_number_that_no_figure_can_be_made_of_is_refused_with_its_place(
    document: Make, trial: Make, number: int, name: str, place: str
) -> None:
    text = re.sub(rf'("{name}": )\d+', rf"\g<1>{number}", store.dumps(document([trial()])))
    with pytest.raises(DocumentInvalidError, match=rf"the file.*<= 9223372036854775807.*{place}"):
        store.loads(text, "the file")


def test_a_full_disk_loses_nothing(document: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.json"
    store.write(document(), path)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        DocumentWriteError, match=r"cannot write '.*run.json': No space left on device; .*--json"
    ):
        store.write(document([]), path)
    assert store.read(path) == document()
    assert left_over(tmp_path) == ["run.json"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_device_is_an_error(document: Make) -> None:
    with pytest.raises(DocumentWriteError, match="No space left on device"):
        store.write(document(), Path("/dev/full"))
    assert Path("/dev/full").is_char_device()


def test_a_device_is_written_to_and_not_replaced(document: Make) -> None:
    store.write(document(), Path("/dev/null"))
    assert Path("/dev/null").is_char_device()


def test_a_folder_is_not_overwritten(document: Make, tmp_path: Path) -> None:
    with pytest.raises(DocumentWriteError, match="it is a folder"):
        store.write(document(), tmp_path)
    assert left_over(tmp_path) == []


def test_a_file_in_place_of_the_folder(document: Make, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("mine")
    with pytest.raises(DocumentWriteError, match=r"runs' is a file, not a folder"):
        store.write(document(), tmp_path / "runs" / "run.json")
    assert (tmp_path / "runs").read_text() == "mine"


def test_an_unwritable_folder(document: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Root may write everywhere, so the refusal is the system call's, not the mode's.
    def refuse(*args: Any, **kwargs: Any) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(DocumentWriteError, match="Permission denied"):
        store.write(document(), tmp_path / "run.json")
    monkeypatch.undo()
    assert left_over(tmp_path) == []


def test_an_interrupted_write_leaves_the_old_document(
    document: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.json"
    store.write(document(), path)

    def interrupt(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        store.write(document([]), path)
    assert store.read(path) == document()
    assert left_over(tmp_path) == ["run.json"]


def test_a_symbolic_link_is_followed(document: Make, tmp_path: Path) -> None:
    (tmp_path / "latest.json").symlink_to(tmp_path / "real.json")
    store.write(document(), tmp_path / "latest.json")
    assert (tmp_path / "latest.json").is_symlink()
    assert store.read(tmp_path / "real.json") == document()


def test_a_loop_of_links_is_an_error(document: Make, tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(DocumentWriteError):
        store.write(document(), tmp_path / "a")
    assert left_over(tmp_path) == ["a", "b"]


def test_a_document_against_its_schema_is_not_written(document: Make, trial: Make, tmp_path: Path) -> None:
    wrong = document([trial(batch_size="100")])
    with pytest.raises(DocumentInvalidError, match=r"\$\.trials\[0\]\.batch_size"):
        store.write(wrong, tmp_path / "run.json")
    lone = document([trial(outcome="error", reason="\udcff")])
    with pytest.raises(DocumentInvalidError, match="surrogates"):
        store.write(lone, tmp_path / "run.json")
    assert left_over(tmp_path) == []


def test_reading_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DocumentMissingError, match=r"no result document '.*none.json'; `harness run"):
        store.read(tmp_path / "none.json")


def test_reading_a_folder_and_an_endless_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DocumentMissingError, match="is a folder; name a result document in it"):
        store.read(tmp_path)
    monkeypatch.setattr(store, "MAX_BYTES", 2**20)
    with pytest.raises(DocumentInvalidError, match="larger than 1 MiB"):
        store.read(Path("/dev/zero"))


def changed(document: Document, **head: Any) -> bytes:
    return msgspec.json.encode(msgspec.to_builtins(document) | head)


def test_errors_name_file_place_and_cause(document: Make, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(msgspec.json.encode(document())[:-20])
    with pytest.raises(DocumentInvalidError, match=r"run.json' is not a valid result document: .*truncated"):
        store.read(path)
    path.write_bytes(changed(document(), host=3))
    with pytest.raises(DocumentInvalidError, match=r"Expected `object`, got `int` - at `\$\.host`"):
        store.read(path)


def test_a_newer_version_says_to_upgrade(document: Make) -> None:
    with pytest.raises(DocumentInvalidError, match="schema version 2, this program reads up to 1; upgrade"):
        store.loads(changed(document(), schema_version=2, trials="something else by then"))


def test_another_kind_of_document(document: Make) -> None:
    with pytest.raises(DocumentInvalidError, match=r"is a 'harness.model', not a 'harness.result'"):
        store.loads(changed(document(), schema="harness.model"))


def test_default_path_sorts_by_time(tmp_path: Path) -> None:
    first = store.default_path(tmp_path, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    second = store.default_path(tmp_path, datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC))
    assert first.name.startswith("20260102T030405Z-")
    assert first.suffix == ".json"
    assert sorted([second, first]) == [first, second]


_WRITER = """
import sys
from pathlib import Path
from results import store

folder, source = map(Path, sys.argv[1:])
document = store.loads(source.read_bytes())
for _ in range(50):
    store.write(document, store.default_path(folder, document.created))
"""


def test_two_writers_of_the_same_second_lose_nothing(document: Make, tmp_path: Path) -> None:
    made, source, runs = document([]), tmp_path / "source.json", tmp_path / "runs"
    source.write_bytes(msgspec.json.encode(made))
    command = [sys.executable, "-P", "-c", _WRITER, str(runs), str(source)]
    writers = [subprocess.Popen(command) for _ in range(2)]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert len(left_over(runs)) == 100
    assert all(store.read(path) == made for path in runs.iterdir())


fuzz = settings(max_examples=300, deadline=None, derandomize=True)


@fuzz
@given(st.binary(max_size=400))
def test_any_bytes_are_refused_by_name(data: bytes) -> None:
    with pytest.raises(DocumentInvalidError, match="the text"):
        store.loads(data)


def test_deep_nesting_is_refused() -> None:
    deep = b'{"schema":"harness.result","schema_version":1,"x":' + b"[" * 10**6
    with pytest.raises(DocumentInvalidError):
        store.loads(deep)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value, the root left out."""
    inner = (
        list(value.items() if isinstance(value, dict) else enumerate(value))
        if isinstance(value, dict | list)
        else []
    )
    return [place for key, part in inner for place in [(*here, key), *places(part, (*here, key))]]


@settings(fuzz, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_mutated_documents_are_read_or_refused(document: Make, trial: Make, data: st.DataObject) -> None:
    quality = Quality(train_loss=[2.3], test_accuracy=0.5, test_items=10)
    whole = json.loads(msgspec.json.encode(document([trial(quality=quality)])))
    place = data.draw(st.sampled_from(places(whole)))
    part = whole
    for step in place[:-1]:
        part = part[step]
    if data.draw(st.booleans()):
        del part[place[-1]]
    else:
        part[place[-1]] = data.draw(json_values)
    try:
        read = store.loads(json.dumps(whole))
    except DocumentInvalidError as error:
        assert "the text" in str(error)
    else:
        assert store.loads(store.dumps(read)) == read


@fuzz
@given(st.data())
def test_flipped_and_cut_bytes_are_read_or_refused(data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(SAMPLE) - 1))
    cut = bytearray(SAMPLE)
    cut[position] = data.draw(st.integers(0, 255))
    for variant in (bytes(cut), SAMPLE[:position]):
        try:
            store.loads(variant)
        except DocumentInvalidError as error:
            assert "the text" in str(error)
