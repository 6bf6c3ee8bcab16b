"""CIFAR-10: which archive serves, what it says it is, and the archives of HARNESS_DATA."""

import hashlib
import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest

from workloads.datasets import cifar10
from workloads.datasets.archive import RECORD_BYTES, Member
from workloads.datasets.base import PreparedDataset, prepare
from workloads.datasets.reader import BatchReader
from workloads.errors import DataCorruptError, DataMissingError

MEMBER_MD5 = {  # of the members of HARNESS_DATA's archives, as their publisher lists them
    "cifar10-jpeg75": [
        (10_000, "5a5142663b2c457eb7edf61944cf14cd"),
        (10_000, "a03813b579934887e19fffa24f57e096"),
        (10_000, "9338b8beb58f9f053aa7e7f6d2ca26a1"),
        (10_000, "5d6a4b059305fb3437429da7d5355351"),
        (10_000, "b543e7acd6f6cab339de5ace5ae323ae"),
        (10_000, "11e2161f06e495577766fe4411c65d23"),
    ],
    "cifar10-lossless-subset": [
        (4_000, "07704ae233cc40e200a600eed4f4e13c"),
        (1_017, "dba81ae79c6bb902054ffa93f0a5ba49"),
        (1_017, "ce8b36aa75ea547b647c849f5a3faac8"),
        (1_017, "9548927dc715700d733c40695d94a590"),
        (1_017, "76194cdcb36d1a469e54752268defd4a"),
        (1_017, "6ac134a1c8e0e152e254c10d0fc92b6f"),
    ],
}


def records_of(prepared: PreparedDataset, part: str) -> bytes:
    split = prepared.train if part == "train" else prepared.test
    return Path(split.labels.segments[0].path).read_bytes()


@pytest.mark.parametrize("name", MEMBER_MD5)
def test_every_member_has_its_published_bytes(name: str, real_data: Path, shared_cache: Path) -> None:
    prepared = prepare(name, real_data, shared_cache)
    assert prepared.variant == name.removeprefix("cifar10-")
    both, start = records_of(prepared, "train") + records_of(prepared, "test"), 0
    for count, md5 in MEMBER_MD5[name]:
        member = both[start * RECORD_BYTES : (start + count) * RECORD_BYTES]
        assert hashlib.md5(member, usedforsecurity=False).hexdigest() == md5
        start += count
    assert start * RECORD_BYTES == len(both)


def test_the_jpeg_copy_says_what_it_is_and_agrees_with_the_exact_subset(
    real_data: Path, shared_cache: Path
) -> None:
    jpeg = prepare("cifar10", real_data, shared_cache)
    exact = prepare("cifar10-lossless-subset", real_data, shared_cache)
    assert jpeg.description == "CIFAR-10 (JPEG quality 75)"
    images = {name: bytearray(1000 * 3072) for name in ("jpeg", "exact")}
    labels = {name: bytearray(1000) for name in ("jpeg", "exact")}
    for name, prepared in (("jpeg", jpeg), ("exact", exact)):
        with BatchReader(prepared.test, 1000, shuffle=False) as reader:
            reader.read_into(images[name], labels[name])
    assert labels["jpeg"] == labels["exact"]
    pixels = [np.frombuffer(images[name], np.uint8).astype(np.int16) for name in ("jpeg", "exact")]
    assert 5 < np.abs(pixels[0] - pixels[1]).mean() < 7  # 5.8 of 255 over all exact images


def batch(count: int, seed: int) -> tuple[bytes, bytes]:
    """Return the same records in both official layouts: binary, and a pickle of numpy's."""
    rows = np.random.default_rng(seed).integers(0, 256, (count, RECORD_BYTES), dtype=np.uint8)
    rows[:, 0] %= 10
    document = {b"labels": rows[:, 0].tolist(), b"data": np.ascontiguousarray(rows[:, 1:])}
    return rows.tobytes(), pickle.dumps(document, 4)


def pack(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz", compresslevel=1) as out:
        for name, content in members.items():
            info = tarfile.TarInfo(f"folder/{name}")
            info.size = len(content)
            out.addfile(info, io.BytesIO(content))
    return path


def test_both_official_layouts_give_the_same_records(tmp_path: Path) -> None:
    batches = [batch(3, 1), batch(4, 2), batch(2, 3)]
    outputs = []
    for pickled in (False, True):
        form = cifar10.FORMS[pickled]._replace(
            train=(Member("a", 3, pickled), Member("b", 4, pickled)), test=(Member("c", 2, pickled),)
        )
        path = pack(
            tmp_path / f"{pickled}.tar.gz", {n: b[pickled] for n, b in zip("abc", batches, strict=True)}
        )
        into = tmp_path / str(pickled)
        into.mkdir()
        assert cifar10.unpack(form, path, into) == {"train": 7, "test": 2}
        outputs.append({part: (into / part).read_bytes() for part in ("train", "test")})
    assert outputs[0] == outputs[1] == {"train": batches[0][0] + batches[1][0], "test": batches[2][0]}


def test_a_pickle_of_another_length_is_named(tmp_path: Path) -> None:
    form = cifar10.FORMS[1]._replace(train=(Member("a", 3, True),), test=(Member("c", 2, True),))
    path = pack(tmp_path / "x.tar.gz", {"a": batch(3, 1)[1], "c": batch(1, 1)[1]})
    with pytest.raises(
        DataCorruptError, match=r"x\.tar\.gz: c has 1 labels and 3072 pixel bytes, not 2 images"
    ):
        cifar10.unpack(form, path, tmp_path)


def test_the_official_archives_come_first_and_each_name_has_its_own() -> None:
    official = [form.file.name for form in cifar10.forms_of("cifar10")]
    assert official[:2] == ["cifar-10-binary.tar.gz", "cifar-10-python.tar.gz"]
    assert len(official) == 4
    assert [f.variant for f in cifar10.forms_of("cifar10-jpeg75")] == ["jpeg75"]
    assert [f.variant for f in cifar10.forms_of("cifar10-lossless-subset")] == ["lossless-subset"]
    assert all(sum(m.records for m in form.train) == 50_000 for form in cifar10.FORMS[:3])


@pytest.mark.parametrize("name", ["cifar10", "cifar10-jpeg75"])
def test_a_folder_without_it_names_file_and_command(name: str, tmp_path: Path, cache_dir: Path) -> None:
    with pytest.raises(DataMissingError) as error:
        prepare(name, tmp_path, cache_dir)
    assert "cifar-10-jpeg75-binary.tar.gz" in str(error.value)
    assert f"harness data fetch cifar10 --data-dir {tmp_path}" in str(error.value)


def test_without_a_folder_the_synthetic_set_is_proposed(cache_dir: Path) -> None:
    with pytest.raises(DataMissingError, match=r"HARNESS_DATA.*--synthetic"):
        prepare("cifar10", None, cache_dir)


def test_a_foreign_file_under_the_official_name_is_refused(tmp_path: Path, cache_dir: Path) -> None:
    pack(tmp_path / "cifar-10-binary.tar.gz", {"data_batch_1.bin": b"x"})
    with pytest.raises(DataCorruptError, match="the published file 170052171: truncated, or another file"):
        prepare("cifar10", tmp_path, cache_dir)
