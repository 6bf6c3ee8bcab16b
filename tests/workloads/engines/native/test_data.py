"""The core's data path against the Python that defines it, bit for bit."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.datasets import augment, synthetic
from workloads.datasets.base import Column, Segment, Split, image_split
from workloads.datasets.reader import BatchReader
from workloads.datasets.shuffle import Permutation
from workloads.engines import native
from workloads.engines.native import location
from workloads.errors import DataCorruptError

pytestmark = pytest.mark.skipif(location.find() is None, reason="the native core is not built here")
quick = settings(deadline=None, derandomize=True)


def batches(split: Split, batch_size: int, core: object, count: int, **options: object) -> list[object]:
    images, labels = bytearray(batch_size * split.image_bytes), bytearray(batch_size * split.label_bytes)
    found = []
    with BatchReader(split, batch_size, core=core, **options) as reader:
        for _ in range(count):
            read = reader.read_into(images, labels)
            items = list(reader.last_items), reader.last_epoch
            found.append(
                (bytes(images[: read * split.image_bytes]), bytes(labels[: read * split.label_bytes]), items)
            )
    return found


@quick
@given(st.integers(1, 70_000), st.integers(0, 2**64), st.integers(0, 9), st.data())
def test_the_order_of_an_epoch(count: int, seed: int, epoch: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, count))
    stop = min(count, start + data.draw(st.integers(0, 300)))
    by_core = Permutation(count, seed, epoch, native.data_core())
    by_python = Permutation(count, seed, epoch)
    assert list(by_core.span(start, stop)) == by_python.span(start, stop)
    assert by_core[count - 1] == by_python[count - 1]


@quick
@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(0, 2**64),
    st.data(),
)
def test_shifts_and_mirrors(
    count: int, channels: int, height: int, width: int, seed: int, data: st.DataObject
) -> None:
    shape = channels, height * data.draw(st.integers(1, 7)), width * data.draw(st.integers(1, 7))
    size = shape[0] * shape[1] * shape[2]
    items = data.draw(st.lists(st.integers(0, 2**40), min_size=count, max_size=count))
    whole = bytearray((7 * i + i // 256) % 256 for i in range(count * size))
    epoch, flip = data.draw(st.integers(0, 99)), data.draw(st.booleans())
    by_core, by_python = memoryview(bytearray(whole)), memoryview(bytearray(whole))
    kind = "shift-flip" if flip else "shift"
    augment.augment(kind, by_core, items, seed, epoch, shape, native.data_core())
    augment.augment(kind, by_python, items, seed, epoch, shape)
    assert by_core == by_python


def test_a_shift_beyond_the_image_repeats_its_edge() -> None:
    # No workload shifts so far; the Python is right there too.
    shape, items = (2, 3, 4), list(range(40))
    core = native.data_core()
    by_core = memoryview(bytearray(i % 251 for i in range(40 * 24)))
    by_python = memoryview(bytearray(by_core))
    core.move(by_core, items, 5, shape, (9, 9), True)
    plan = [augment._move(augment.draw(5, item), 9, 9, True) for item in items]
    assert any(abs(move.dx) >= 4 for move in plan)
    assert any(abs(move.dy) >= 3 for move in plan)
    augment.apply_batch(by_python, plan, shape)
    assert by_core == by_python


@quick
@given(
    st.tuples(st.integers(1, 3), st.integers(1, 300), st.integers(1, 90)),
    st.integers(1, 700),
    st.integers(1, 40),
    st.integers(0, 2**64 - 1),
    st.booleans(),
)
def test_noise(shape: tuple[int, int, int], classes: int, batch_size: int, seed: int, shuffle: bool) -> None:
    split = synthetic.make(shape, classes, train=50, test=1, seed=seed).train
    options = {"seed": seed, "shuffle": shuffle}
    assert batches(split, batch_size, native.data_core(), 3, **options) == batches(
        split, batch_size, None, 3, **options
    )


def split_of(folder: Path, counts: list[int], item_bytes: int, stride: int, offset: int) -> Split:
    images, labels = [], []
    for k, count in enumerate(counts):
        path = folder / f"part-{k}"
        path.write_bytes(bytes((31 * k + 7 * i + i // 251) % 256 for i in range(offset + count * stride)))
        images.append(Segment(str(path), offset, count))
        (folder / f"labels-{k}").write_bytes(bytes(i % 5 for i in range(count)))
        labels.append(Segment(str(folder / f"labels-{k}"), 0, count))
    columns = Column(tuple(images), stride, item_bytes), Column(tuple(labels), 1, 1)
    return image_split(*columns, sum(counts), 5)


@quick
@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=5),
    st.integers(1, 50),
    st.integers(0, 9),
    st.integers(0, 20),
    st.booleans(),
)
def test_files(
    tmp_path_factory: pytest.TempPathFactory,
    counts: list[int],
    item_bytes: int,
    gap: int,
    offset: int,
    shuffle: bool,
) -> None:
    split = split_of(tmp_path_factory.mktemp("files"), counts, item_bytes, item_bytes + gap, offset)
    batch_size = min(7, sum(counts))
    options = {"seed": 3, "shuffle": shuffle}
    assert batches(split, batch_size, native.data_core(), 6, **options) == batches(
        split, batch_size, None, 6, **options
    )


def test_a_file_that_is_cut_while_it_is_read_is_named(tmp_path: Path) -> None:
    split = split_of(tmp_path, [10, 10], 8, 8, 0)
    with BatchReader(split, 20, shuffle=False, core=native.data_core()) as reader:
        (tmp_path / "part-1").write_bytes(bytes(44))
        with pytest.raises(DataCorruptError, match="part-1 ends inside item 15"):
            reader.read_into(bytearray(160), bytearray(20))


def test_a_buffer_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    split = split_of(tmp_path, [10], 8, 8, 0)
    with (
        BatchReader(split, 5, core=native.data_core()) as reader,
        pytest.raises(ValueError, match="cannot be written"),
    ):
        reader.read_into(bytes(40), bytearray(5))
