"""A file in the way of a place is named, by every option that names a place to write to or a file to read."""

import pytest

from results import store

RUN = ("run", "--steps", 1, "--warmup", 0, "--repeats", 1, "--meter", "none", "--trainer", "lowmem")


@pytest.fixture
def file(make_plan, tmp_path, monkeypatch):
    """A document `a.json` in the present folder, which stays as it is."""
    from harness.opening import empty_document

    monkeypatch.chdir(tmp_path)
    store.write(empty_document(make_plan()), tmp_path / "a.json")
    before = (tmp_path / "a.json").read_bytes()
    yield tmp_path / "a.json"
    assert (tmp_path / "a.json").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ((*RUN, "--json", "a.json/x"), 1),
        ((*RUN, "--json", "a.json/x/y"), 1),
        ((*RUN, "--checkpoint", "a.json/x"), 2),
        (("fit", "mlp-mnist", "--device", "host", "--trainer", "lowmem", "--json", "a.json/x"), 1),
        (("model", "mlp-mnist", "--json", "a.json/x"), 1),
        (("list", "trainers", "--json", "a.json/x"), 1),
        (("report", "a.json", "-o", "a.json/x"), 1),
        (("history", ".", "--database", "a.json/x"), 1),
        (("history", "a.json"), 2),
        (("show", "a.json/x"), 1),
        (("baseline", "show", "--baseline", "a.json/x"), 1),
        (("data", "fetch", "mnist", "--data-dir", "a.json/x"), 2),
    ],
    ids=lambda words: " ".join(map(str, words)) if isinstance(words, tuple) else "",
)
def test_the_cause_is_the_file_in_the_way(harness_main, file, arguments, status):
    ended = harness_main(*arguments)
    assert (ended.status, "'a.json' is a file, not a folder" in ended.err) == (status, True), ended.err
    assert ended.err.count("\n") == 1
