"""CIFAR-10's pickles: read as numpy wrote them, and nothing else is run."""

import io
import os
import pickle
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.datasets.pickles import read_batch
from workloads.errors import DataCorruptError

PIXELS = np.arange(2 * 3072, dtype=np.uint32).astype(np.uint8).reshape(2, 3072)
BATCH = {b"batch_label": b"toy", b"labels": [3, 9], b"data": PIXELS, b"filenames": [b"a.png", b"b.png"]}


class Python2Pickler(pickle._Pickler):
    """Writes byte strings as Python 2 did: the official batches are of protocol 2, with such strings."""

    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)

    def save_str2(self, obj: bytes) -> None:
        self.write(b"T" + len(obj).to_bytes(4, "little") + obj)  # type: ignore[attr-defined]

    dispatch[bytes] = save_str2


def python2_dumps(batch: Any) -> bytes:
    out = io.BytesIO()
    Python2Pickler(out, protocol=2).dump(batch)
    return out.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


@pytest.mark.parametrize("content", [python2_dumps(BATCH), pickle.dumps(BATCH, 3), pickle.dumps(BATCH, 4)])
def test_a_batch_as_numpy_wrote_it(content: bytes) -> None:
    assert read_batch(content, "here") == (bytes([3, 9]), PIXELS.tobytes())


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_nothing_that_a_pickle_asks_for_is_run(tmp_path: Path) -> None:
    with pytest.raises(DataCorruptError, match=r"here is not a batch of CIFAR-10: it asks for posix\.mkdir"):
        read_batch(pickle.dumps({b"labels": [], b"data": Evil(tmp_path / "run")}), "here")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "batch",
    [
        [],
        {},
        {b"labels": [1], b"data": b"bytes"},
        {b"labels": [1], b"data": PIXELS.astype(np.int64)},
        {b"labels": [1], b"data": np.asfortranarray(PIXELS)},
        {b"labels": [1], b"data": PIXELS[:, :100]},
        {b"labels": [1, 256], b"data": PIXELS},
        {b"labels": [1, b"2"], b"data": PIXELS},
        {b"labels": 10**9, b"data": PIXELS},
    ],
)
def test_other_content_is_refused(batch: Any) -> None:
    with pytest.raises(DataCorruptError, match="here is not a batch"):
        read_batch(pickle.dumps(batch, 4), "here")


def test_a_memo_number_of_gigabytes_is_refused_before_it_is_allocated() -> None:
    with pytest.raises(DataCorruptError, match="memo number 4294967295"):
        read_batch(b"]r\xff\xff\xff\xff.", "here")


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(DataCorruptError):
        read_batch(content, "here")


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_batches_are_refused_or_still_whole(data: st.DataObject) -> None:
    content = bytearray(python2_dumps(BATCH))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, 400))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)) | st.just(len(content)))
    try:
        labels, pixels = read_batch(bytes(content[:cut]), "here")
    except DataCorruptError:
        return
    assert cut == len(content)
    assert len(pixels) % 3072 == 0
    assert isinstance(labels, bytes)
