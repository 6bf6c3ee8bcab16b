import tempfile

import pytest

from harness.sink import Sink
from results import store
from results.errors import DocumentWriteError


@pytest.fixture
def document(make_plan):
    from harness.opening import empty_document

    return empty_document(make_plan())


@pytest.fixture
def trial(make_plan):
    from harness.display import Quiet
    from harness.runner import trials

    return next(trials(make_plan(trainers=("lowmem",)), Quiet()))


def test_the_document_is_there_before_the_first_trial(document, tmp_path):
    sink = Sink(tmp_path / "run.json")
    sink.keep(document)
    assert store.read(tmp_path / "run.json") == document


def test_an_earlier_document_stays_until_there_is_a_trial(document, trial, tmp_path):
    path = tmp_path / "run.json"
    path.write_text("an earlier document")
    sink = Sink(path)
    sink.keep(document)
    assert (path.read_text(), sink.written) == ("an earlier document", False)
    assert {each.name for each in tmp_path.iterdir()} == {"run.json"}
    document.trials.append(trial)
    sink.keep(document)
    assert (store.read(path) == document, sink.written) == (True, True)


def test_a_disk_full_at_the_first_trial_loses_neither_document(document, trial, tmp_path, monkeypatch):
    path = tmp_path / "run.json"
    path.write_text("an earlier document")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    sink = Sink(path)
    sink.keep(document)
    write = store.write

    def full(document, place):
        if place == path:
            raise DocumentWriteError("no space left")
        write(document, place)

    monkeypatch.setattr(store, "write", full)
    document.trials.append(trial)
    sink.keep(document)
    assert path.read_text() == "an earlier document"
    assert sink.trouble == f"no space left; the document is in {sink.path}"
    assert store.read(sink.path) == document


def test_a_folder_is_no_file(document, tmp_path):
    with pytest.raises(DocumentWriteError, match="it is a folder"):
        Sink(tmp_path).keep(document)


def test_without_a_name_it_goes_to_the_folder_of_runs(document, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sink = Sink(None)
    sink.keep(document)
    sink.keep(document)
    assert [path.resolve() for path in (tmp_path / "runs").iterdir()] == [sink.path.resolve()]


def test_a_folder_that_cannot_be_written_to_is_an_error_at_once(document, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DocumentWriteError):
        Sink(tmp_path / "file" / "run.json").keep(document)


def test_a_disk_that_fills_up_later_loses_nothing(document, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "other"))
    (tmp_path / "other").mkdir()
    sink = Sink(tmp_path / "run.json")
    sink.keep(document)
    write = store.write

    def full(document, path):
        if path.parent == tmp_path:
            raise DocumentWriteError("no space left")
        write(document, path)

    monkeypatch.setattr(store, "write", full)
    sink.keep(document)
    assert sink.trouble == f"no space left; the document is in {sink.path}"
    assert store.read(sink.path) == document
