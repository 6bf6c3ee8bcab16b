"""SVHN: pixel order, the digit 0, which files make which variant."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workloads.datasets import svhn
from workloads.datasets.base import prepare
from workloads.datasets.reader import BatchReader
from workloads.errors import DataCorruptError, DataMissingError

io = pytest.importorskip("scipy.io", reason="SciPy writes the files that are read here")


def make(
    path: Path, count: int, seed: int = 0, **changes: Any
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Write a file as the publisher's and return its images (N, 3, 32, 32) and labels 0 to 9."""
    random = np.random.default_rng(seed)
    arrays = {
        "X": random.integers(0, 256, (32, 32, 3, count), dtype=np.uint8),
        "y": random.integers(1, 11, (count, 1), dtype=np.uint8),
    }
    io.savemat(path, arrays | changes, do_compression=True)
    return arrays["X"].transpose(3, 2, 0, 1), arrays["y"][:, 0] % 10


@pytest.mark.parametrize("count", [1, 339, 340, 341, 700])
def test_images_become_rows_and_class_10_the_digit_0(tmp_path: Path, count: int) -> None:
    images, labels = make(tmp_path / "x.mat", count)
    assert svhn.unpack(tmp_path / "x.mat", tmp_path) == {"count": count}
    assert (tmp_path / "images").read_bytes() == images.tobytes()
    assert (tmp_path / "labels").read_bytes() == labels.tobytes()


def test_train_and_extra_are_one_split(tmp_path: Path) -> None:
    parts, expected = [], []
    for k, count in enumerate((7, 5)):
        folder = tmp_path / str(k)
        folder.mkdir()
        expected.append(make(folder / "x.mat", count, seed=k))
        parts.append((folder, svhn.unpack(folder / "x.mat", folder)["count"]))
    split = svhn.split_of(parts)
    images, labels = bytearray(12 * 3072), bytearray(12)
    with BatchReader(split, 12, shuffle=False) as reader:
        assert reader.read_into(images, labels) == 12
    assert images == b"".join(part[0].tobytes() for part in expected)
    assert labels == b"".join(part[1].tobytes() for part in expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X": np.zeros((32, 32, 1, 4), np.uint8)}, r"X has shape \(32, 32, 1, 4\)"),
        ({"X": np.zeros((28, 28, 3, 4), np.uint8)}, r"X has shape \(28, 28, 3, 4\)"),
        ({"y": np.array([[1], [2], [3]], np.uint8)}, "4 images but 3 labels"),
        ({"y": np.array([[1], [2], [0], [3]], np.uint8)}, "item 2 has label 0, not one of 1 to 10"),
        ({"y": np.array([[1], [2], [3], [11]], np.uint8)}, "item 3 has label 11"),
    ],
)
def test_wrong_content_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    make(tmp_path / "x.mat", 4, **changes)
    with pytest.raises(DataCorruptError, match=message):
        svhn.unpack(tmp_path / "x.mat", tmp_path)


def test_another_file_is_named(tmp_path: Path) -> None:
    io.savemat(tmp_path / "x.mat", {"X": np.zeros((32, 32, 3, 2), np.uint8)})
    with pytest.raises(DataCorruptError, match="no arrays X and y"):
        svhn.unpack(tmp_path / "x.mat", tmp_path)


def test_the_whole_way_with_files_of_the_right_checksums(
    tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for k, (attribute, count) in enumerate((("TRAIN", 6), ("EXTRA", 4), ("TEST", 3))):
        published = getattr(svhn, attribute)
        make(tmp_path / published.name, count, seed=k)
        raw = (tmp_path / published.name).read_bytes()
        monkeypatch.setattr(svhn, attribute, published._replace(
            size_bytes=len(raw),
            md5=hashlib.md5(raw, usedforsecurity=False).hexdigest(),
            sha256=hashlib.sha256(raw).hexdigest(),
        ))  # fmt: skip
    prepared = prepare("svhn", tmp_path, cache_dir)
    assert (prepared.variant, prepared.train.count, prepared.test.count) == ("full", 10, 3)
    (tmp_path / svhn.EXTRA.name).unlink()
    prepared = prepare("svhn", tmp_path, cache_dir)
    assert (prepared.variant, prepared.train.count) == ("without-extra", 6)
    assert "without extra" in prepared.description
    (tmp_path / svhn.TEST.name).unlink()
    with pytest.raises(DataMissingError, match=r"test_32x32\.mat.*harness data fetch svhn"):
        prepare("svhn", tmp_path, cache_dir)


def test_without_a_folder_the_synthetic_set_is_proposed(cache_dir: Path) -> None:
    with pytest.raises(DataMissingError, match=r"harness data fetch svhn.*--synthetic"):
        prepare("svhn", None, cache_dir)
