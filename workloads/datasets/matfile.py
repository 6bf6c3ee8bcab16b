"""MATLAB 5 files as SVHN has them, read as a stream: a 1.6 GB array needs two megabytes here.

A file is a 128-byte header and then elements, each a tag (type, length) and its data, padded to 8 bytes;
an element of type 15 holds one zlib-compressed element. An array is an element of type 14 that holds
its flags, its dimensions, its name and its values in column-major order: the last dimension is the
slowest, so that the images of SVHN's `X` (32, 32, 3, N) come one after another.
Source: MathWorks, *MAT-File Format*, version 5. Only uint8 values are read, of real numeric arrays.
"""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from workloads.datasets.files import CHUNK_BYTES
from workloads.errors import DataCorruptError

_MI_INT8, _MI_UINT8, _MI_INT32, _MI_UINT32, _MI_MATRIX, _MI_COMPRESSED = 1, 2, 5, 6, 14, 15
_MX_UINT8: Final = 9
_NAME_BYTES_MAX: Final = 63
_RANK_MAX: Final = 8


class Array(NamedTuple):
    """An array of a file: name, dimensions, and its bytes as they come (read them before the next)."""

    name: str
    shape: tuple[int, ...]
    chunks: Iterator[bytes]


def arrays(path: Path) -> Iterator[Array]:
    """Yield the uint8 arrays of a file in its order; the chunks of one must be read before the next.

    Raises:
        DataCorruptError: not a MATLAB 5 file, truncated, or with something other than uint8 arrays.
    """
    with path.open("rb") as stream:
        order = _byte_order(stream.read(128), path)
        while tag := stream.read(8):
            kind, size = _tag(tag, order, path)
            start = stream.tell()
            if kind == _MI_COMPRESSED:
                element = _Element(_inflated(stream, size, path), order, path)
                kind, size = _tag(element.take(8), order, path)
            else:
                element = _Element(_limited(stream, size, path), order, path)
            if kind != _MI_MATRIX:
                raise DataCorruptError(f"{path} has an element of type {kind} where arrays are expected")
            yield element.array()
            stream.seek(start)
            stream.seek(_tag(tag, order, path)[1], 1)


class _Element:
    """Takes the parts of one array element from a stream of chunks."""

    def __init__(self, chunks: Iterator[bytes], order: str, path: Path) -> None:
        self._chunks, self._order, self._path, self._ahead = chunks, order, path, b""

    def take(self, count: int) -> bytes:
        taken = b""
        while len(taken) < count:
            taken += self.take_some(count - len(taken))
        return taken

    def take_some(self, limit: int) -> bytes:
        """Return what is at hand, at least one byte and at most `limit`."""
        if not self._ahead:
            self._ahead = next(self._chunks, b"")
            if not self._ahead:
                raise DataCorruptError(f"{self._path} is truncated: it ends inside an array")
        taken, self._ahead = self._ahead[:limit], self._ahead[limit:]
        return taken

    def array(self) -> Array:
        flags_kind, flags = self._part(8)
        dims_kind, dims = self._part(4 * _RANK_MAX)
        name_kind, name = self._part(_NAME_BYTES_MAX + 1)
        if (flags_kind, dims_kind, name_kind) != (_MI_UINT32, _MI_INT32, _MI_INT8) or len(flags) != 8:
            raise DataCorruptError(f"{self._path} has an array without flags, dimensions and name")
        text = name.decode("ascii", "replace")
        (flag_word,) = struct.unpack_from(self._order + "I", flags)
        if flag_word & 0xFF != _MX_UINT8 or flag_word & 0x0800:
            raise DataCorruptError(f"{self._path}: array '{text}' is not of real uint8 values")
        shape = struct.unpack(f"{self._order}{len(dims) // 4}i", dims[: len(dims) // 4 * 4])
        count = 1
        for size in shape:
            count *= max(size, 0)
        return Array(text, shape, self._values(text, count))

    def _values(self, name: str, count: int) -> Iterator[bytes]:
        kind, size, small = self._part_tag()
        if kind != _MI_UINT8 or size != count:
            raise DataCorruptError(
                f"{self._path}: array '{name}' holds {size} bytes of type {kind}, not {count} of uint8"
            )
        if small is not None:
            yield small
            return
        while count:
            block = self.take_some(count)
            count -= len(block)
            yield block

    def _part(self, limit: int) -> tuple[int, bytes]:
        kind, size, small = self._part_tag()
        if small is not None:
            return kind, small
        if size > limit:
            raise DataCorruptError(f"{self._path} has a part of {size} bytes where {limit} are the most")
        return kind, self.take(size + -size % 8)[:size]

    def _part_tag(self) -> tuple[int, int, bytes | None]:
        """Return type, length and, of a small part (up to 4 bytes inside the tag), its data."""
        tag = self.take(8)
        (word,) = struct.unpack_from(self._order + "I", tag)
        if word >> 16:
            size = min(word >> 16, 4)
            return word & 0xFFFF, size, tag[4 : 4 + size]
        return word, struct.unpack_from(self._order + "I", tag, 4)[0], None


def _byte_order(header: bytes, path: Path) -> str:
    if len(header) == 128 and header[:10] != b"MATLAB 7.3":
        if header[126:] == b"IM" and header[124:126] == b"\x00\x01":
            return "<"
        if header[126:] == b"MI" and header[124:126] == b"\x01\x00":
            return ">"
    kind = "a MATLAB 7.3 (HDF5) file" if header[:10] == b"MATLAB 7.3" else "no MATLAB 5 file"
    raise DataCorruptError(f"{path} is {kind}; the published files are of version 5")


def _tag(tag: bytes, order: str, path: Path) -> tuple[int, int]:
    if len(tag) < 8:
        raise DataCorruptError(f"{path} is truncated: it ends inside a tag")
    kind, size = struct.unpack(order + "II", tag)
    return kind, size


def _limited(stream: BinaryIO, size: int, path: Path) -> Iterator[bytes]:
    while size:
        chunk = stream.read(min(size, CHUNK_BYTES))
        if not chunk:
            raise DataCorruptError(f"{path} is truncated: {size} bytes of an element are missing")
        size -= len(chunk)
        yield chunk


def _inflated(stream: BinaryIO, size: int, path: Path) -> Iterator[bytes]:
    inflate = zlib.decompressobj()
    try:
        for chunk in _limited(stream, size, path):
            pending = chunk
            while pending:
                if out := inflate.decompress(pending, CHUNK_BYTES):
                    yield out
                pending = inflate.unconsumed_tail
        if out := inflate.flush():
            yield out
    except zlib.error as error:
        raise DataCorruptError(f"{path} has damaged compressed data: {error}") from error
