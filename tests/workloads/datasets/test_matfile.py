"""MATLAB 5 files, against SciPy's writer as the oracle, and against damage."""

from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workloads.datasets import matfile
from workloads.datasets.files import CHUNK_BYTES
from workloads.errors import DataCorruptError

io = pytest.importorskip("scipy.io", reason="SciPy writes the files that are read here")
fuzz = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)


def read(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    return {
        a.name: np.frombuffer(b"".join(a.chunks), np.uint8).reshape(a.shape, order="F")
        for a in matfile.arrays(path)
    }


@pytest.mark.parametrize("compress", [False, True])
@fuzz
@given(st.lists(st.integers(1, 5), min_size=2, max_size=4), st.integers(0, 99))
def test_arrays_are_as_scipy_wrote_them(tmp_path: Path, compress: bool, shape: list[int], seed: int) -> None:
    arrays = {
        "X": np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8),
        "a_long_name_of_31_characters___": np.full((1, 3), 7, np.uint8),
        "y": np.arange(5, dtype=np.uint8).reshape(5, 1),
    }
    io.savemat(tmp_path / "x.mat", arrays, do_compression=compress)
    found = read(tmp_path / "x.mat")
    assert found.keys() == arrays.keys()
    assert all(np.array_equal(found[name], arrays[name]) for name in arrays)


@pytest.mark.parametrize("compress", [False, True])
def test_an_array_larger_than_a_chunk_comes_in_chunks(tmp_path: Path, compress: bool) -> None:
    big = np.random.default_rng(0).integers(0, 256, (1 << 11, 1 << 11), dtype=np.uint8)
    io.savemat(tmp_path / "x.mat", {"big": big, "y": np.ones((2, 1), np.uint8)}, do_compression=compress)
    sizes, content = [], b""
    for array in matfile.arrays(tmp_path / "x.mat"):
        for chunk in array.chunks:
            sizes.append(len(chunk))
            content += chunk
    assert max(sizes) <= CHUNK_BYTES
    assert content == big.tobytes(order="F") + b"\x01\x01"


def test_big_endian_files(tmp_path: Path) -> None:
    def tag(kind: int, size: int) -> bytes:
        return kind.to_bytes(4, "big") + size.to_bytes(4, "big")

    body = (
        tag(6, 8) + (9).to_bytes(4, "big") + bytes(4)
        + tag(5, 8) + (2).to_bytes(4, "big") + (3).to_bytes(4, "big")
        + (1).to_bytes(2, "big") + (1).to_bytes(2, "big") + b"y\0\0\0"
        + tag(2, 6) + b"abcdef\0\0"
    )  # fmt: skip
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI"
    (tmp_path / "x.mat").write_bytes(header + tag(14, len(body)) + body)
    assert read(tmp_path / "x.mat")["y"].tobytes(order="F") == b"abcdef"


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": np.ones((2, 2))}, "'X' is not of real uint8 values"),
        ({"X": np.ones((2, 2), np.int8)}, "'X' is not of real uint8 values"),
        ({"X": "text"}, "'X' is not of real uint8 values"),
        ({"X": np.array([[1j]])}, "'X' is not of real uint8 values"),
    ],
)
def test_other_arrays_are_named(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    io.savemat(tmp_path / "x.mat", arrays)
    with pytest.raises(DataCorruptError, match=message):
        read(tmp_path / "x.mat")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "no MATLAB 5 file"),
        (b"x" * 500, "no MATLAB 5 file"),
        (b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM", r"a MATLAB 7\.3 \(HDF5\) file"),
        (b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + b"abc", "ends inside a tag"),
        (b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + b"\x09\0\0\0\0\0\0\0", "element of type 9"),
    ],
)
def test_foreign_files_are_named(tmp_path: Path, raw: bytes, message: str) -> None:
    (tmp_path / "x.mat").write_bytes(raw)
    with pytest.raises(DataCorruptError, match=message) as error:
        read(tmp_path / "x.mat")
    assert "x.mat" in str(error.value)


@cache
def sound_file(compress: bool) -> bytes:
    written = BytesIO()
    io.savemat(written, {"X": np.arange(24, dtype=np.uint8).reshape(2, 3, 4)}, do_compression=compress)
    return written.getvalue()


@pytest.mark.parametrize("compress", [False, True])
@fuzz
@given(st.data())
def test_damaged_files_are_refused_or_read(tmp_path: Path, compress: bool, data: st.DataObject) -> None:
    path, raw = tmp_path / "x.mat", bytearray(sound_file(compress))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(raw[: data.draw(st.integers(0, len(raw)) | st.just(len(raw)))])
    try:
        for array in matfile.arrays(path):
            assert len(b"".join(array.chunks)) <= len(raw) + 100_000
    except DataCorruptError as error:
        assert "x.mat" in str(error)
