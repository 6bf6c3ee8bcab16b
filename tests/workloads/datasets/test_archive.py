"""CIFAR-10's archives: whatever order the members have, and whatever else is in them."""

import gzip
import io
import tarfile
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workloads.datasets import archive
from workloads.datasets.archive import RECORD_BYTES, Member
from workloads.errors import DataCorruptError

PARTS = {"train": (Member("one.bin", 3), Member("two.bin", 300)), "test": (Member("test.bin", 2),)}


def records(count: int, seed: int) -> bytes:
    rows = np.random.default_rng(seed).integers(0, 256, (count, RECORD_BYTES), dtype=np.uint8)
    rows[:, 0] %= 10
    return rows.tobytes()


CONTENT = {"one.bin": records(3, 1), "two.bin": records(300, 2), "test.bin": records(2, 3)}


def pack(path: Path, members: Sequence[tuple[str, bytes | tarfile.TarInfo]]) -> Path:
    with tarfile.open(path, "w:gz", compresslevel=1) as out:
        for name, content in members:
            if isinstance(content, tarfile.TarInfo):
                content.name = name
                out.addfile(content)
            else:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                out.addfile(info, io.BytesIO(content))
    return path


@cache  # to compress a megabyte of noise takes longer than to read it
def sound_archive() -> bytes:
    """Return the archive of the whole set."""
    with tempfile.TemporaryDirectory() as folder:
        return pack(Path(folder) / "in.tar.gz", list(CONTENT.items())).read_bytes()


def extract(tmp_path: Path, members: Sequence[tuple[str, bytes | tarfile.TarInfo]]) -> dict[str, bytes]:
    into = tmp_path / "into"
    into.mkdir(exist_ok=True)
    archive.extract(pack(tmp_path / "in.tar.gz", members), PARTS, into)
    return {path.name: path.read_bytes() for path in into.iterdir()}


def folder_info() -> tarfile.TarInfo:
    info = tarfile.TarInfo()
    info.type = tarfile.DIRTYPE
    return info


def link_info(target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo()
    info.type, info.linkname = tarfile.SYMTYPE, target
    return info


@pytest.mark.parametrize("order", [("one.bin", "two.bin", "test.bin"), ("test.bin", "two.bin", "one.bin")])
def test_records_come_in_the_order_of_the_set_not_of_the_archive(
    tmp_path: Path, order: tuple[str, ...]
) -> None:
    members: list[tuple[str, bytes | tarfile.TarInfo]] = [
        ("set", folder_info()),
        ("set/readme.html", b"hello"),
        *((f"set/{n}", CONTENT[n]) for n in order),
    ]
    assert extract(tmp_path, members) == {
        "train": CONTENT["one.bin"] + CONTENT["two.bin"],
        "test": CONTENT["test.bin"],
    }


def test_no_path_of_an_archive_is_followed(tmp_path: Path) -> None:
    members: list[tuple[str, bytes | tarfile.TarInfo]] = [
        ("../../outside.bin", b"x"),
        ("/absolute/one.bin", CONTENT["one.bin"]),
        ("../two.bin", CONTENT["two.bin"]),
        ("link/test.bin", link_info("/etc/passwd")),
        ("test.bin", CONTENT["test.bin"]),
    ]
    assert set(extract(tmp_path, members)) == {"train", "test"}
    assert {path.name for path in tmp_path.iterdir()} == {"in.tar.gz", "into"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("two.bin", CONTENT["two.bin"][:-1], r"two\.bin has 921899 bytes, not 300 records of 3073"),
        ("one.bin", b"", r"one\.bin has 0 bytes"),
        ("test.bin", b"\x0a" + CONTENT["test.bin"][1:], r"test\.bin: item 0 has label 10"),
        (
            "two.bin",
            CONTENT["two.bin"][: 299 * RECORD_BYTES] + b"\xff" + CONTENT["two.bin"][299 * RECORD_BYTES + 1 :],
            r"two\.bin: item 299 has label 255",
        ),
        ("test.bin", None, r"no sound test\.bin"),
        ("test.bin", link_info("one.bin"), r"no sound test\.bin"),
    ],
)
def test_wrong_members_are_named(
    tmp_path: Path, name: str, content: bytes | tarfile.TarInfo | None, message: str
) -> None:
    members = [(k, content if k == name else v) for k, v in CONTENT.items()]
    with pytest.raises(DataCorruptError, match=message) as error:
        extract(tmp_path, [(k, v) for k, v in members if v is not None])
    assert "in.tar.gz" in str(error.value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.data())
def test_cut_or_damaged_archives_are_refused_or_whole(tmp_path: Path, data: st.DataObject) -> None:
    path, raw = tmp_path / "in.tar.gz", bytearray(sound_archive())
    if data.draw(st.booleans()):
        raw = raw[: data.draw(st.integers(0, len(raw) - 1))]
    else:
        raw[data.draw(st.integers(0, 2000))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(raw)
    into = tmp_path / "fuzz"
    into.mkdir(exist_ok=True)
    try:
        archive.extract(path, PARTS, into)
    except DataCorruptError as error:
        assert "in.tar.gz" in str(error)
        return
    assert (into / "train").stat().st_size == 303 * RECORD_BYTES


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(st.data())
def test_damaged_headers_are_refused_or_whole(tmp_path: Path, data: st.DataObject) -> None:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as out:
        for name in ("x" * 120, "test.bin"):
            info = tarfile.TarInfo(name)
            info.size, info.pax_headers = len(CONTENT["test.bin"]), {"comment": "anything", "size": "6146"}
            out.addfile(info, io.BytesIO(CONTENT["test.bin"]))
    raw = bytearray(plain.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, 1600))] = data.draw(st.sampled_from(b"0179-=\n \0\x80\xffxLKgS"))
    path, into = tmp_path / "in.tar.gz", tmp_path / "fuzz"
    path.write_bytes(gzip.compress(raw, 1))
    into.mkdir(exist_ok=True)
    try:
        archive.extract(path, {"test": PARTS["test"]}, into)
    except DataCorruptError as error:
        assert "in.tar.gz" in str(error)
        return
    assert (into / "test").stat().st_size == 2 * RECORD_BYTES


@given(st.binary(max_size=600))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
def test_foreign_files_are_refused(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "x.tar.gz").write_bytes(raw)
    with pytest.raises(DataCorruptError, match=r"x\.tar\.gz"):
        archive.extract(tmp_path / "x.tar.gz", PARTS, tmp_path)
