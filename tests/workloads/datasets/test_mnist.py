"""MNIST: the packaged sample, the full set where HARNESS_DATA names it, and damaged copies of the files."""

import gzip
import shutil
from pathlib import Path

import pytest

from workloads.datasets import mnist
from workloads.datasets.base import PreparedDataset, Split, prepare
from workloads.datasets.reader import BatchReader
from workloads.errors import DataCorruptError, DataMissingError


def whole(split: Split) -> tuple[bytes, bytes]:
    images, labels = bytearray(split.count * split.image_bytes), bytearray(split.count)
    with BatchReader(split, split.count, shuffle=False) as reader:
        assert reader.read_into(images, labels) == split.count
    return bytes(images), bytes(labels)


@pytest.fixture
def sample(shared_cache: Path) -> PreparedDataset:
    return prepare("mnist", None, shared_cache)


def test_the_packaged_sample(sample: PreparedDataset) -> None:
    assert (sample.name, sample.variant, sample.shape, sample.classes) == ("mnist", "sample", (1, 28, 28), 10)
    assert (sample.train.count, sample.test.count) == (10_000, 2_000)
    assert "sample" in sample.description
    assert sum(path.stat().st_size for path in mnist.SAMPLES.iterdir()) < 3_000_000


def test_the_sample_is_balanced_as_it_comes_and_looks_like_digits(sample: PreparedDataset) -> None:
    images, labels = whole(sample.train)
    assert all(900 < labels.count(digit) < 1150 for digit in range(10))
    assert 30 < sum(images) / len(images) < 37  # MNIST's mean pixel is 33.3
    assert max(images) == 255


def test_the_sample_is_every_nth_official_item(
    sample: PreparedDataset, real_data: Path, shared_cache: Path
) -> None:
    full = prepare("mnist", real_data, shared_cache)
    for part, official, step in ((sample.train, full.train, 6), (sample.test, full.test, 5)):
        images, labels = whole(part)
        all_images, all_labels = whole(official)
        assert labels == all_labels[::step]
        picked = b"".join(all_images[k * 784 : (k + 1) * 784] for k in range(0, official.count, step))
        assert images == picked


def test_the_full_set(real_data: Path, shared_cache: Path) -> None:
    full = prepare("mnist", real_data, shared_cache)
    assert (full.variant, full.description) == ("full", "MNIST")
    assert (full.train.count, full.test.count) == (60_000, 10_000)
    images, labels = whole(full.test)
    with gzip.open(real_data / "mnist" / "t10k-images-idx3-ubyte.gz") as official:
        assert official.read()[16:] == images
    assert [labels.count(digit) for digit in range(10)] == [
        980,
        1135,
        1032,
        1010,
        982,
        892,
        958,
        1028,
        974,
        1009,
    ]


def test_a_data_folder_without_the_set_names_file_and_command(tmp_path: Path, cache_dir: Path) -> None:
    with pytest.raises(DataMissingError) as error:
        prepare("mnist", tmp_path, cache_dir)
    assert str(tmp_path / "mnist" / "train-images-idx3-ubyte.gz") in str(error.value)
    assert f"harness data fetch mnist --data-dir {tmp_path}" in str(error.value)


TRAIN_IMAGES, _, _, TEST_LABELS = mnist.SAMPLE_FILES


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a data folder whose MNIST is the packaged sample, published as such."""
    (tmp_path / "data" / "mnist").mkdir(parents=True)
    for file in mnist.SAMPLE_FILES:
        shutil.copyfile(mnist.SAMPLES / file.name, tmp_path / "data" / "mnist" / file.name)
    urls = ("http://127.0.0.1:9/",)
    published = tuple(file._replace(folder="mnist", urls=urls) for file in mnist.SAMPLE_FILES)
    monkeypatch.setattr(mnist, "FILES", published)
    return tmp_path / "data"


def test_a_truncated_file_is_named(copied: Path, cache_dir: Path) -> None:
    path = copied / "mnist" / TRAIN_IMAGES.name
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(DataCorruptError, match="has 1564731 bytes, the published file 1565731") as error:
        prepare("mnist", copied, cache_dir)
    assert str(path) in str(error.value)
    assert f"fetch mnist --data-dir {copied}'" in str(error.value)


def test_a_wrong_checksum_is_named(copied: Path, cache_dir: Path) -> None:
    path = copied / "mnist" / TEST_LABELS.name
    damaged = bytearray(path.read_bytes())
    damaged[500] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(DataCorruptError, match=f"published one {TEST_LABELS.sha256}"):
        prepare("mnist", copied, cache_dir)
    assert not list(cache_dir.glob("mnist-*"))


def test_damage_after_the_first_run_is_found_too(copied: Path, cache_dir: Path) -> None:
    prepare("mnist", copied, cache_dir)
    path = copied / "mnist" / TEST_LABELS.name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataCorruptError, match="t10k-every5-labels"):
        prepare("mnist", copied, cache_dir)


def test_files_directly_in_the_data_folder_serve_too(copied: Path, cache_dir: Path) -> None:
    for path in list((copied / "mnist").iterdir()):
        path.rename(copied / path.name)
    assert prepare("mnist", copied, cache_dir).train.count == 10_000
