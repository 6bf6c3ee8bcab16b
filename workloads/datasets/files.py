"""Published files: what they are called, how long they are, their checksums, where they come from."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from workloads.errors import DataCorruptError, DataMissingError

CHUNK_BYTES: Final = 1 << 20


class DataFile(NamedTuple):
    """One published file. Without `urls` it cannot be fetched, only brought."""

    name: str
    size_bytes: int
    md5: str
    sha256: str
    folder: str = ""
    urls: tuple[str, ...] = ()


class Source(NamedTuple):
    """A published file and where it was found."""

    file: DataFile
    path: Path


def locate(file: DataFile, data_dir: Path) -> Path | None:
    """Return where the file lies: in its own folder of the data folder or directly in it."""
    for path in (data_dir / file.folder / file.name, data_dir / file.name):
        if path.is_file():
            return path
    return None


def require(files: Sequence[DataFile], data_dir: Path, dataset: str) -> list[Source]:
    """Return where all files lie; raises DataMissingError naming the first that is not there."""
    sources = []
    for file in files:
        path = locate(file, data_dir)
        if path is None:
            expected = data_dir / file.folder / file.name
            raise DataMissingError(f"{expected} is not there; {_next_step(file, expected, dataset)}")
        sources.append(Source(file, path))
    return sources


def _next_step(file: DataFile, path: Path, dataset: str) -> str:
    if not file.urls:
        return "no publisher has it: bring it again from where it came (a packaged sample: reinstall)"
    data_dir = path.parent.parent if file.folder and path.parent.name == file.folder else path.parent
    return f"'harness data fetch {dataset} --data-dir {data_dir}' gets it where there is a network"


def check(source: Source, dataset: str) -> None:
    """Check a file's length and checksums.

    Raises:
        DataCorruptError: it is shorter or longer than the published file, or has other bytes.
        DataMissingError: it cannot be read.
    """
    file, path = source
    try:
        size = path.stat().st_size
        md5, sha256 = (file.md5, file.sha256) if size != file.size_bytes else digests(path)
    except OSError as error:
        raise DataMissingError(f"{path} cannot be read: {error.strerror}") from error
    if size != file.size_bytes:
        cause = f"it has {size} bytes, the published file {file.size_bytes}: truncated, or another file"
    elif (md5, sha256) != (file.md5, file.sha256):
        cause = f"its sha256 is {sha256}, the published one {file.sha256}"
    else:
        return
    raise DataCorruptError(f"{path}: {cause}; delete it, then: {_next_step(file, path, dataset)}")


def digests(path: Path) -> tuple[str, str]:
    """Return md5 and sha256 of a file, read once, a megabyte at a time."""
    # md5 is the publisher's own for most sets; it identifies the file, it does not guard against anybody.
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            md5.update(chunk)
            sha256.update(chunk)
    return md5.hexdigest(), sha256.hexdigest()
