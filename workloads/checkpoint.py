"""A training on disk that survives a kill at any moment: a file is written whole, then takes the last one's name.

The file: a line that names the format; the length of the head (8 bytes, little endian); the head, a JSON object; every
block of the training's memory as it lies there, in the head's order; CRC-32 of all that (4 bytes, little endian). The
head's `blocks` say name, type, shape and bytes of each, its other fields are the caller's. Blocks are written from the
training's own memory and read back into it, so that a checkpoint takes no memory to speak of.

The new file is synced before it takes the old one's name, and the folder after: whatever happens in between, the name
leads to the one or the other, whole (POSIX rename(2)).
"""

import contextlib
import json
import os
import zlib
from collections.abc import Iterator, Sequence

from workloads.errors import CheckpointError
from workloads.light_typing import Any, NamedTuple

# A worker hands over plain strings: pathlib would hold 0.8 MiB of it.
StrPath = str | os.PathLike[str]

SUFFIX = ".checkpoint"
_MAGIC = b"harness checkpoint 1\n"
_LONGEST_HEAD_BYTES = 1 << 24
_PIECE_BYTES = 1 << 20
_CRC_BYTES = 4


class Block(NamedTuple):
    """A part of a training's memory: `dtype` as torch names it (packed bits are `uint8`), `data` its writable bytes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: memoryview

    def describe(self) -> dict[str, Any]:
        """Return the head's row of this block."""
        return {"name": self.name, "dtype": self.dtype, "shape": list(self.shape), "bytes": self.data.nbytes}


def write(path: StrPath, head: dict[str, Any], blocks: Sequence[Block]) -> int:
    """Write a checkpoint in place of the one at `path`, if any, and return its bytes.

    Raises CheckpointError where the system refuses (a full disk, a folder that is gone); the last one then stays.
    """
    partial = f"{os.fspath(path)}.partial"
    try:
        size = _write_whole(partial, head, blocks)
        os.replace(partial, path)
        _sync_folder(os.path.dirname(path) or os.curdir)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(partial)
        kept = "the one before is kept" if os.path.exists(path) else "there is none before it"
        raise CheckpointError(
            f"cannot write the checkpoint '{path}': {error.strerror}; {kept}; make room, then run again with --resume"
        ) from error
    return size


def read_head(path: StrPath) -> dict[str, Any]:
    """Return the head of a checkpoint; raises CheckpointError if the file cannot be read, is none, or is cut short."""
    with _opened(path) as file:
        head, start = _read_head(path, file)
        _check_size(path, file, start + sum(row["bytes"] for row in head["blocks"]) + _CRC_BYTES)
    return head


def read_into(path: StrPath, blocks: Sequence[Block]) -> dict[str, Any]:
    """Fill the blocks and return the head.

    Raises CheckpointError if the file is damaged, or of other blocks; the blocks are then half filled, worth nothing.
    """
    with _opened(path) as file:
        head, start = _read_head(path, file)
        _check_blocks(path, head["blocks"], blocks)
        os.lseek(file, 0, os.SEEK_SET)
        crc = zlib.crc32(_read(path, file, start))
        for block in blocks:
            data = block.data.cast("B")
            for at in range(0, len(data), _PIECE_BYTES):
                piece = data[at : at + _PIECE_BYTES]
                piece[:] = _read(path, file, len(piece))
                crc = zlib.crc32(piece, crc)
        if _read(path, file, _CRC_BYTES) != crc.to_bytes(_CRC_BYTES, "little"):
            raise _damaged(path, "its checksum is another")
    return head


def _write_whole(path: StrPath, head: dict[str, Any], blocks: Sequence[Block]) -> int:
    document = json.dumps({**head, "blocks": [block.describe() for block in blocks]}).encode()
    start = _MAGIC + len(document).to_bytes(8, "little") + document
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        size, crc = 0, 0
        for part in (memoryview(start), *(block.data.cast("B") for block in blocks)):
            _write(file, part)
            size, crc = size + len(part), zlib.crc32(part, crc)
        _write(file, memoryview(crc.to_bytes(_CRC_BYTES, "little")))
        os.fsync(file)
    finally:
        os.close(file)
    return size + _CRC_BYTES


def _write(file: int, data: memoryview) -> None:
    while data:
        data = data[os.write(file, data[:_PIECE_BYTES]) :]


def _sync_folder(path: StrPath) -> None:
    """Have the folder's own entry on the disk: only then does the new name outlast a loss of power."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextlib.contextmanager
def _opened(path: StrPath) -> Iterator[int]:
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise CheckpointError(f"cannot read the checkpoint '{path}': {error.strerror}") from error
    try:
        yield file
    except OSError as error:
        raise CheckpointError(f"cannot read the checkpoint '{path}': {error.strerror}") from error
    finally:
        os.close(file)


def _read_head(path: StrPath, file: int) -> tuple[dict[str, Any], int]:
    """Return the head, and where the first block begins."""
    if os.read(file, len(_MAGIC)) != _MAGIC:
        raise CheckpointError(
            f"'{path}' is no checkpoint of this version; name another folder with --checkpoint"
        )
    length = int.from_bytes(_read(path, file, 8), "little")
    if length > _LONGEST_HEAD_BYTES:
        raise _damaged(path, "its head has no end")
    try:
        head: dict[str, Any] = json.loads(_read(path, file, length))
        rows = [(row["name"], row["bytes"]) for row in head["blocks"]]
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path, "its head cannot be read") from error
    if not all(isinstance(size, int) and size >= 0 for _, size in rows):
        raise _damaged(path, "its head cannot be read")
    return head, len(_MAGIC) + 8 + length


def _read(path: StrPath, file: int, count: int) -> bytes:
    parts = []
    while count:
        part = os.read(file, count)
        if not part:
            raise _damaged(path, "it is cut short")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _check_size(path: StrPath, file: int, wanted: int) -> None:
    if os.fstat(file).st_size != wanted:
        raise _damaged(path, "it is cut short" if os.fstat(file).st_size < wanted else "it is too long")


def _check_blocks(path: StrPath, rows: list[dict[str, Any]], blocks: Sequence[Block]) -> None:
    own = [block.describe() for block in blocks]
    if rows != own:
        differing = next(
            (mine["name"] for mine, row in zip(own, rows, strict=False) if mine != row), "their number"
        )
        raise CheckpointError(f"the checkpoint '{path}' is of another training ({differing} differs)")


def _damaged(path: StrPath, how: str) -> CheckpointError:
    return CheckpointError(
        f"the checkpoint '{path}' is damaged: {how}; delete it and train anew, or put back a copy"
    )
