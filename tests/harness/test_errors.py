"""Every known error has one exit code of the contract, and the command line says it in one line."""

import pytest

from harness.errors import ExitCode, exit_code_of
from results import errors as result_errors
from workloads import errors as workload_errors


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (workload_errors.ExtraMissingError("needs pillow"), ExitCode.USAGE),
        (workload_errors.DataError("no such file"), ExitCode.ERROR),
        (result_errors.ReportError("needs plotly"), ExitCode.USAGE),
        (result_errors.DocumentMissingError("none"), ExitCode.USAGE),
        (result_errors.FolderMissingError("none"), ExitCode.USAGE),
        (result_errors.DocumentInvalidError("no JSON"), ExitCode.ERROR),
        (result_errors.HistoryError("no database"), ExitCode.ERROR),
        (result_errors.BaselineMissingError("none"), ExitCode.NOT_COMPARABLE),
        (result_errors.BaselineInvalidError("no TOML"), ExitCode.ERROR),
        (result_errors.BaselineRequestError("no reason"), ExitCode.USAGE),
        (result_errors.NoisyRunError("too noisy"), ExitCode.INVALID_RUN),
    ],
)
def test_the_code_of_an_error(error, code):
    assert exit_code_of(error) == code


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").touch()
    (tmp_path / "cut").write_text('{"schema": "harness.result"')
    (tmp_path / "binary").write_bytes(bytes(range(128, 256)))
    (tmp_path / "loop").symlink_to("loop")


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(("name", "code"), [
    ("missing", 2), ("folder", 2), ("empty", 1), ("cut", 1), ("binary", 1), ("loop", 1),
])  # fmt: skip
@pytest.mark.parametrize("verb", [
    ("show", "{}"), ("compare", "{}", "{}"), ("check", "{}"), ("report", "{}", "-o", "page.html"),
    ("baseline", "update", "{}", "--reason", "why"),
], ids=lambda words: words[0])  # fmt: skip
def test_a_document_that_cannot_be_read_is_one_line(harness_main, verb, name, code):
    ended = harness_main(*(word.format(name) for word in verb))
    assert ended.status == code
    assert ended.err.startswith("harness: error: ")
    assert ended.err.count("\n") == 1
    assert f"'{name}'" in ended.err


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(("name", "code"), [("missing", 5), ("folder", 5), ("cut", 1), ("binary", 1)])
def test_a_baseline_file_that_cannot_be_read_is_one_line(harness_main, name, code):
    ended = harness_main("baseline", "show", "--baseline", name)
    assert (ended.status, ended.err.count("\n")) == (code, 1)
    assert f"'{name}'" in ended.err
