"""Unpacked copies appear as a whole or not at all, and are made once."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from workloads.datasets.cache import MANIFEST, STALE_S, Cache, Facts, Recipe
from workloads.errors import DataCacheError, DataCorruptError


class Bench:
    """A recipe that counts how often it is verified and built."""

    def __init__(self, folder: Path) -> None:
        self.source = folder / "source"
        self.source.write_bytes(b"source")
        self.verified = self.built = 0

    def recipe(self, build: Callable[[Path], Facts] | None = None) -> Recipe:
        return Recipe("toy", "0123456789abcdef0123", [self.source], self._verify, build or self._build)

    def _verify(self) -> None:
        self.verified += 1

    def _build(self, folder: Path) -> Facts:
        self.built += 1
        (folder / "items").write_bytes(b"items")
        return {"count": 5}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_copy_is_made_once(bench: Bench, cache_dir: Path) -> None:
    first = Cache(cache_dir).get(bench.recipe())
    assert Cache(cache_dir).get(bench.recipe()) == first
    folder, facts = first
    assert (folder / "items").read_bytes() == b"items"
    assert facts == {"count": 5}
    assert (bench.verified, bench.built) == (1, 1)
    assert [path.name for path in cache_dir.iterdir()] == ["toy-0123456789abcdef-v1"]


def test_a_changed_source_is_verified_again(bench: Bench, cache_dir: Path) -> None:
    Cache(cache_dir).get(bench.recipe())
    os.utime(bench.source, ns=(1, 1))
    for _ in range(2):
        Cache(cache_dir).get(bench.recipe())
    assert (bench.verified, bench.built) == (2, 1)


@pytest.mark.parametrize("damage", ["truncate", "remove", "manifest", "no manifest"])
def test_a_damaged_copy_is_made_again(bench: Bench, cache_dir: Path, damage: str) -> None:
    folder, _ = Cache(cache_dir).get(bench.recipe())
    match damage:
        case "truncate":
            (folder / "items").write_bytes(b"item")
        case "remove":
            (folder / "items").unlink()
        case "manifest":
            (folder / MANIFEST).write_text('{"files": []}')
        case _:
            (folder / MANIFEST).unlink()
    again, _ = Cache(cache_dir).get(bench.recipe())
    assert (again / "items").read_bytes() == b"items"
    assert bench.built == 2


@pytest.mark.parametrize("error", [DataCorruptError("bad"), KeyboardInterrupt()])
def test_a_build_that_fails_leaves_nothing(bench: Bench, cache_dir: Path, error: BaseException) -> None:
    def build(folder: Path) -> Facts:
        (folder / "items").write_bytes(b"half")
        raise error

    with pytest.raises(type(error)):
        Cache(cache_dir).get(bench.recipe(build))
    assert list(cache_dir.iterdir()) == []


def test_a_full_disk_names_folder_and_next_step(bench: Bench, cache_dir: Path) -> None:
    def build(folder: Path) -> Facts:
        with Path("/dev/full").open("wb") as full:
            full.write(b"items")
        return {}

    with pytest.raises(DataCacheError, match=r"No space left on device.*XDG_CACHE_HOME") as error:
        Cache(cache_dir).get(bench.recipe(build))
    assert str(cache_dir) in str(error.value)
    assert list(cache_dir.iterdir()) == []


def test_a_copy_that_another_run_finished_meanwhile_is_kept(bench: Bench, cache_dir: Path) -> None:
    def build(folder: Path) -> Facts:
        Cache(cache_dir).get(bench.recipe())
        (folder / "items").write_bytes(b"late!")
        return {"count": 5}

    folder, _ = Cache(cache_dir).get(bench.recipe(build))
    assert (folder / "items").read_bytes() == b"items"
    assert len(list(cache_dir.iterdir())) == 1


def test_what_killed_runs_left_is_removed_after_a_day(bench: Bench, cache_dir: Path) -> None:
    old, new = cache_dir / "toy-x-v1.tmp-old", cache_dir / "toy-x-v1.tmp-new"
    for path in (old, new):
        path.mkdir(parents=True)
    then = new.stat().st_mtime - STALE_S - 60
    os.utime(old, (then, then))
    Cache(cache_dir).get(bench.recipe())
    assert not old.exists()
    assert new.exists()


def test_the_default_folder_follows_xdg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert Cache().root == tmp_path / "xdg" / "edge-harness"


@pytest.mark.parametrize("home", ["relative", "file"])
def test_without_a_usable_home_a_private_temporary_folder_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", home if home == "relative" else str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    root = Cache().root
    assert root == tmp_path / f"edge-harness-{os.getuid()}"
    assert stat.S_IMODE(root.stat().st_mode) == 0o700


def test_a_planted_link_in_a_shared_folder_is_not_followed(tmp_path: Path) -> None:
    shared, elsewhere = tmp_path / "shared", tmp_path / "elsewhere"
    elsewhere.mkdir()
    shared.mkdir()
    shared.chmod(0o1777)
    (shared / "cache").symlink_to(elsewhere)
    with pytest.raises(DataCacheError, match="somebody else"):
        Cache(shared / "cache")


def test_a_named_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataCacheError, match=r"file/cache cannot be made"):
        Cache(tmp_path / "file" / "cache")
