"""The idx parser against sound, truncated, foreign and random files."""

import gzip
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from workloads.datasets import idx
from workloads.datasets.files import CHUNK_BYTES
from workloads.errors import DataCorruptError

anything = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None
)


def images(count: int, body: bytes | None = None) -> bytes:
    return struct.pack(">IIII", 0x803, count, 2, 3) + (bytes(range(count * 6)) if body is None else body)


def unpack(
    tmp_path: Path, raw: bytes, shape: tuple[int, ...] = (2, 3), limit: int = 256
) -> tuple[int, bytes]:
    source, target = tmp_path / "in.gz", tmp_path / "out"
    source.write_bytes(raw)
    count = idx.unpack(source, target, shape, limit)
    return count, target.read_bytes()


def test_what_comes_out_is_what_was_compressed(tmp_path: Path) -> None:
    assert unpack(tmp_path, gzip.compress(images(4))) == (4, images(4))


def test_sets_larger_than_a_chunk(tmp_path: Path) -> None:
    count = 2 * CHUNK_BYTES // 6 + 1
    raw = images(count, bytes(count * 6))
    assert unpack(tmp_path, gzip.compress(raw)) == (count, raw)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "ends inside its header"),
        (images(4)[:15], "ends inside its header"),
        (b"\x89PNG" + images(4)[4:], "begins with 89504e47, not with 00000803"),
        (struct.pack(">II", 0x801, 4) + bytes(16), "begins with 00000801"),
        (struct.pack(">IIII", 0xD03, 4, 2, 3) + bytes(24), "begins with 00000d03"),
        (struct.pack(">IIII", 0x803, 4, 3, 2) + bytes(24), r"shape \(3, 2\), not \(2, 3\)"),
        (struct.pack(">IIII", 0x803, 0, 2, 3), "holds no item"),
        (images(4)[:-1], "truncated: 39 bytes are not the 40 of 4 items"),
        (images(4) + b"\0", "goes on after the 4 items"),
        (struct.pack(">IIII", 0x803, 0xFFFFFFFF, 2, 3) + bytes(24), "truncated"),
    ],
)
def test_wrong_content_is_named(tmp_path: Path, raw: bytes, message: str) -> None:
    with pytest.raises(DataCorruptError, match=message) as error:
        unpack(tmp_path, gzip.compress(raw))
    assert "in.gz" in str(error.value)


@pytest.mark.parametrize("kept", [0, 5, 20, -9, -1])
def test_truncated_gzip_is_named(tmp_path: Path, kept: int) -> None:
    with pytest.raises(DataCorruptError, match=r"in\.gz"):
        unpack(tmp_path, gzip.compress(images(4))[:kept])


def test_a_foreign_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataCorruptError, match="not a sound gzip file"):
        unpack(tmp_path, b"<html>404</html>")


def test_a_flipped_bit_fails_the_gzip_checksum(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(images(4), 0))
    packed[-20] ^= 1
    with pytest.raises(DataCorruptError, match="CRC"):
        unpack(tmp_path, bytes(packed))


def test_a_label_out_of_range_names_the_item(tmp_path: Path) -> None:
    raw = gzip.compress(struct.pack(">II", 0x801, 4) + bytes([0, 9, 10, 3]))
    with pytest.raises(DataCorruptError, match="item 2 has label 10, not one of 0 to 9"):
        unpack(tmp_path, raw, (), 10)


@anything
@given(st.binary(max_size=64), st.booleans())
@example(images(1)[:16] + b"123456", True)
def test_random_bytes_are_an_error_or_exactly_a_set(tmp_path: Path, raw: bytes, compress: bool) -> None:
    try:
        count, out = unpack(tmp_path, gzip.compress(raw) if compress else raw)
    except DataCorruptError:
        return
    assert compress
    assert out == raw
    assert raw[:4] == b"\0\0\x08\x03"
    assert len(raw) == 16 + 6 * count


@anything
@given(st.data())
def test_one_damaged_byte_never_goes_unnoticed_in_the_header(tmp_path: Path, data: st.DataObject) -> None:
    raw = bytearray(images(4))
    raw[data.draw(st.integers(0, 15))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(DataCorruptError):
        unpack(tmp_path, gzip.compress(bytes(raw)))
