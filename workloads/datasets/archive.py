"""CIFAR-10's archives: the wanted members, by name, in one pass, checked, as one file of records a split.

Nothing is extracted by the path an archive gives: only the last part of a member's name is looked at,
only regular files of the right length are read, and where their records go is decided here.
"""

import gzip
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final, NamedTuple, cast

from workloads.datasets.pickles import read_batch
from workloads.errors import DataCorruptError

CLASSES: Final = 10
IMAGE_BYTES: Final = 3 * 32 * 32
RECORD_BYTES: Final = 1 + IMAGE_BYTES
BLOCK_RECORDS: Final = 256
# A batch of the Python version also has 10,000 file names; a longer file is not one.
PICKLE_BYTES_MAX: Final = 2 * RECORD_BYTES


class Member(NamedTuple):
    """A file of an archive: last part of its name, number of records, and whether it is a pickle."""

    name: str
    records: int
    pickled: bool = False


class _Place(NamedTuple):
    member: Member
    part: str
    first_record: int


def extract(path: Path, parts: Mapping[str, tuple[Member, ...]], folder: Path) -> None:
    """Write the members' records, in the order of the members, into one file a part of `folder`.

    The order of the members in the archive does not matter; it is read once, as a stream.

    Raises:
        DataCorruptError: not an archive, truncated, a member missing, twice, or of another length, a
            label that is no class, a pickle with anything but a batch in it.
    """
    places = {place.member.name: place for place in _places(parts)}
    for part in parts:
        (folder / part).touch()
    try:
        # tarfile's own gzip stream does not check the CRC, and fails on a cut header with a TypeError.
        with gzip.open(path) as unpacked, tarfile.open(fileobj=unpacked, mode="r|") as opened:
            for info in opened:
                place = places.pop(PurePosixPath(info.name).name, None) if info.isreg() else None
                if place is not None:
                    _copy(opened, info, place, folder, path)
                if not places:
                    return
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataCorruptError(f"{path} is not a sound .tar.gz archive: {error}") from error
    raise DataCorruptError(f"{path} has no sound {', '.join(sorted(places))}; it is another archive, or cut")


def check_labels(labels: bytes, first: int, where: str) -> None:
    """Raise DataCorruptError naming the first record whose label is no class."""
    if max(labels) >= CLASSES:
        k, value = next((k, value) for k, value in enumerate(labels) if value >= CLASSES)
        raise DataCorruptError(f"{where}: item {first + k} has label {value}, not one of 0 to {CLASSES - 1}")


def _places(parts: Mapping[str, tuple[Member, ...]]) -> Iterator[_Place]:
    for part, members in parts.items():
        first = 0
        for member in members:
            yield _Place(member, part, first)
            first += member.records


def _copy(opened: tarfile.TarFile, info: tarfile.TarInfo, place: _Place, folder: Path, path: Path) -> None:
    stream = opened.extractfile(info)
    assert stream is not None  # a regular file always has one
    copy = _copy_pickle if place.member.pickled else _copy_records
    with (folder / place.part).open("r+b") as out:
        out.seek(place.first_record * RECORD_BYTES)
        copy(cast(BinaryIO, stream), info.size, place.member.records, out, f"{path}: {place.member.name}")


def _copy_records(stream: BinaryIO, size: int, records: int, out: BinaryIO, where: str) -> None:
    if size != records * RECORD_BYTES:
        raise DataCorruptError(f"{where} has {size} bytes, not {records} records of {RECORD_BYTES}")
    for first in range(0, records, BLOCK_RECORDS):
        wanted = min(BLOCK_RECORDS, records - first) * RECORD_BYTES
        block = stream.read(wanted)
        if len(block) != wanted:
            raise DataCorruptError(f"{where} ends inside item {first + len(block) // RECORD_BYTES}")
        check_labels(block[::RECORD_BYTES], first, where)
        out.write(block)


def _copy_pickle(stream: BinaryIO, size: int, records: int, out: BinaryIO, where: str) -> None:
    if size > records * PICKLE_BYTES_MAX:
        raise DataCorruptError(f"{where} has {size} bytes, too many for {records} images")
    labels, pixels = read_batch(stream.read(), where)
    if len(labels) != records or len(pixels) != records * IMAGE_BYTES:
        raise DataCorruptError(
            f"{where} has {len(labels)} labels and {len(pixels)} pixel bytes, not {records} images"
        )
    check_labels(labels, 0, where)
    for k in range(records):
        out.write(labels[k : k + 1])
        out.write(pixels[k * IMAGE_BYTES : (k + 1) * IMAGE_BYTES])
