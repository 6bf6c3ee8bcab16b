"""The idx format of MNIST, gzip-compressed: checked and unpacked in one pass, a megabyte at a time.

Layout (big-endian): two zero bytes, a type code (8: uint8), the number of dimensions, one 32-bit length
a dimension, then the items. Source: the format description on the publisher's page (LeCun et al.).
"""

import gzip
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from workloads.datasets.files import CHUNK_BYTES
from workloads.errors import DataCorruptError

UINT8: Final = 8


def header_bytes(item_shape: tuple[int, ...]) -> int:
    """Return the length of the header of items of this shape: where item 0 begins."""
    return 4 + 4 * (1 + len(item_shape))


def parse_header(header: bytes, item_shape: tuple[int, ...], where: str) -> int:
    """Return the number of items that an idx header of uint8 items of `item_shape` announces.

    Raises:
        DataCorruptError: too short, another magic number, another type, or items of another shape.
    """
    rank = 1 + len(item_shape)
    if len(header) < header_bytes(item_shape):
        raise DataCorruptError(f"{where} is not an idx file: it ends inside its header")
    zeros, type_code, dimensions = struct.unpack_from(">HBB", header)
    if zeros != 0 or type_code != UINT8 or dimensions != rank:
        raise DataCorruptError(
            f"{where} is not the idx file it should be: it begins with {header[:4].hex()}, "
            f"not with {bytes([0, 0, UINT8, rank]).hex()} (uint8, {rank} dimensions)"
        )
    count, *shape = struct.unpack_from(f">{rank}I", header, 4)
    if tuple(shape) != item_shape:
        raise DataCorruptError(f"{where} has items of shape {tuple(shape)}, not {item_shape}")
    if count == 0:
        raise DataCorruptError(f"{where} holds no item")
    return int(count)


def unpack(source: Path, target: Path, item_shape: tuple[int, ...], limit: int = 256) -> int:
    """Write the decompressed idx file and return its number of items.

    Args:
        source: the gzip-compressed idx file.
        target: file to write; byte for byte what was compressed, header included.
        item_shape: shape of one item, `()` for labels.
        limit: every byte must be below it (the number of classes, for labels).

    Raises:
        DataCorruptError: no gzip, damaged or truncated; a header that does not announce what follows; a
            value that is not below `limit`.
    """
    with source.open("rb") as raw, target.open("wb") as out:
        chunks = _decompressed(raw, str(source))
        first = next(chunks, b"")
        start = header_bytes(item_shape)
        count = parse_header(first[:start], item_shape, str(source))
        expected = start + count * _product(item_shape)
        out.write(first[:start])
        written, body = start, first[start:]
        while body:
            if written + len(body) > expected:
                raise DataCorruptError(f"{source} goes on after the {count} items that its header announces")
            _check_values(body, limit, written - start, source)
            out.write(body)
            written, body = written + len(body), next(chunks, b"")
    if written != expected:
        raise DataCorruptError(
            f"{source} is truncated: {written} bytes are not the {expected} of {count} items"
        )
    return count


def check_counts(images: int, labels: int, where: str) -> None:
    """Raise DataCorruptError unless there is one label an image."""
    if images != labels:
        raise DataCorruptError(f"{where} has {images} images but {labels} labels: the files are of two sets")


def _check_values(body: bytes, limit: int, index: int, source: Path) -> None:
    if limit < 256 and max(body) >= limit:
        offset, value = next((k, value) for k, value in enumerate(body) if value >= limit)
        raise DataCorruptError(
            f"{source}: item {index + offset} has label {value}, not one of 0 to {limit - 1}"
        )


def _decompressed(raw: BinaryIO, where: str) -> Iterator[bytes]:
    """Yield what was compressed; the gzip trailer (length and CRC) is checked on the way."""
    try:
        with gzip.GzipFile(fileobj=raw) as stream:
            while chunk := stream.read(CHUNK_BYTES):
                yield chunk
    except EOFError as error:
        raise DataCorruptError(f"{where} is truncated: its compressed data end too early") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataCorruptError(f"{where} is not a sound gzip file: {error}") from error


def _product(shape: tuple[int, ...]) -> int:
    product = 1
    for size in shape:
        product *= size
    return product
