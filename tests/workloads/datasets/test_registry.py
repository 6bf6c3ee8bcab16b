"""Names, and fetching: from a server of this test's own, whole and checked or not at all."""

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from workloads.datasets import mnist, registry
from workloads.datasets.files import DataFile
from workloads.errors import DataCacheError, DataFetchError, UnknownNameError

CONTENT = bytes(range(256)) * 5000
GOOD, SHORT, LONG, OTHER = "/good", "/short", "/long", "/other"
ANSWERS = {GOOD: CONTENT, SHORT: CONTENT[:-1], LONG: CONTENT + b"x", OTHER: CONTENT[::-1]}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        content = ANSWERS.get(self.path)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        if self.path == "/good":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # who was sent too much hangs up
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        thread = threading.Thread(target=serving.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()
        thread.join()


def published(*urls: str) -> DataFile:
    md5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
    return DataFile("toy.bin", len(CONTENT), md5, hashlib.sha256(CONTENT).hexdigest(), "toys", urls)


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return monkeypatch


def fetch(publish: pytest.MonkeyPatch, into: Path, *urls: str) -> list[Path]:
    publish.setattr(mnist, "FILES", (published(*urls),))
    return registry.fetch("mnist", into)


def test_a_file_arrives_whole_and_checked(publish: pytest.MonkeyPatch, server: str, tmp_path: Path) -> None:
    assert fetch(publish, tmp_path / "new", server + GOOD) == [tmp_path / "new" / "toys" / "toy.bin"]
    assert (tmp_path / "new" / "toys" / "toy.bin").read_bytes() == CONTENT


def test_progress_is_told(publish: pytest.MonkeyPatch, server: str, tmp_path: Path) -> None:
    publish.setattr(mnist, "FILES", (published(server + GOOD),))
    seen: list[int] = []
    registry.fetch("mnist", tmp_path, lambda file, done_bytes: seen.append(done_bytes))
    assert seen == sorted(seen)
    assert seen[-1] == len(CONTENT)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (SHORT, "gave 1279999 of 1280000 bytes"),
        (LONG, "gave more than 1280000 bytes"),
        (OTHER, "gave other bytes than published"),
        ("/none", "answered 404"),
    ],
)
def test_anything_else_leaves_nothing(
    publish: pytest.MonkeyPatch, server: str, tmp_path: Path, path: str, message: str
) -> None:
    with pytest.raises(DataFetchError, match=message) as error:
        fetch(publish, tmp_path, server + path)
    assert f"put it at {tmp_path / 'toys' / 'toy.bin'}" in str(error.value)
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == []


def test_the_next_address_is_tried(publish: pytest.MonkeyPatch, server: str, tmp_path: Path) -> None:
    assert fetch(publish, tmp_path, server + "/none", server + OTHER, server + GOOD)


def test_without_a_network_it_says_so(publish: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(
        DataFetchError,
        match=r"cannot be reached \(Connection refused\): no network, or no such host.*Without a network",
    ):
        fetch(publish, tmp_path, "http://127.0.0.1:9/toy.bin")


def test_a_good_file_is_kept_and_a_damaged_one_replaced(
    publish: pytest.MonkeyPatch, server: str, tmp_path: Path
) -> None:
    path = tmp_path / "toys" / "toy.bin"
    path.parent.mkdir()
    path.write_bytes(CONTENT[:-5])
    assert fetch(publish, tmp_path, server + GOOD) == [path]
    assert path.read_bytes() == CONTENT
    assert fetch(publish, tmp_path, "http://127.0.0.1:9/not-asked") == [path]


def test_a_folder_that_cannot_be_written(publish: pytest.MonkeyPatch, server: str, tmp_path: Path) -> None:
    (tmp_path / "toys").write_bytes(b"a file, not a folder")
    with pytest.raises(DataCacheError, match=r"toy\.bin cannot be written"):
        fetch(publish, tmp_path, server + GOOD)


@pytest.mark.parametrize(
    ("name", "origin"),
    [
        ("imagenet", "image-net.org"),
        ("synthetic", "need no file"),
        ("cifar10-jpeg75", "a copy made from them"),
    ],
)
def test_what_nobody_publishes_says_where_it_comes_from(name: str, origin: str, tmp_path: Path) -> None:
    with pytest.raises(DataFetchError, match=origin):
        registry.fetch(name, tmp_path)


def test_every_row_loads_and_every_published_file_is_fully_described() -> None:
    assert {"mnist", "cifar10", "svhn", "imagenet", "synthetic"} <= set(registry.names())
    for name in registry.names():
        for alternative in registry.loader_of(name).files_of(name):
            for file in alternative:
                assert len(file.md5) == 32
                assert len(file.sha256) == 64
                assert file.size_bytes > 4000
                assert all(url.endswith("/" + file.name) for url in file.urls)


def test_unknown_names_list_the_known() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown data set 'minst'; there is: mnist, cifar10"):
        registry.prepare("minst", None)


def test_real_files_verify(real_data: Path) -> None:
    alternatives = registry.found("mnist", real_data, verify=True)
    assert [each.fault for each in alternatives[0]] == [None] * 4
    assert all(each.path for each in alternatives[0])
