"""Where a name leads to what is open already, it is written there and nothing is replaced."""

import os
from pathlib import Path

import pytest

from results.errors import DocumentWriteError
from results.files import descriptor_of, is_stream, write_whole


@pytest.mark.parametrize("name", ["/dev/fd/{}", "/proc/self/fd/{}", "{folder}/link"])
def test_an_open_file_keeps_what_was_written_before(tmp_path: Path, name: str) -> None:
    path = tmp_path / "log"
    with path.open("wb") as log:
        log.write(b"earlier\n")
        log.flush()
        (tmp_path / "link").symlink_to(f"/dev/fd/{log.fileno()}")
        target = Path(name.format(log.fileno(), folder=tmp_path))
        assert is_stream(target)
        write_whole(target, b"document\n")
        log.write(b"later\n")
    assert path.read_bytes() == b"earlier\ndocument\nlater\n"


def test_a_pipe_without_a_name_is_written_to() -> None:
    reading, writing = os.pipe()
    write_whole(Path(f"/dev/fd/{writing}"), b"document")
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read() == b"document"


@pytest.mark.parametrize("name", ["a.json/b", "a.json/b/c"])
def test_a_file_in_the_way_is_the_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.json").write_text("kept")
    with pytest.raises(DocumentWriteError) as raised:
        write_whole(Path(name), b"document")
    assert str(raised.value).startswith(f"cannot write '{name}': 'a.json' is a file, not a folder; ")
    assert Path("a.json").read_text() == "kept"


def test_other_names_are_files(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for path in (tmp_path, tmp_path / "file", tmp_path / "loop", Path("/dev/null")):
        assert descriptor_of(path) is None
    assert descriptor_of(Path("/dev/stdout")) == 1
