"""Batches without end into the caller's buffers: which items, in which order, and what is refused."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import workloads
from workloads.datasets import synthetic
from workloads.datasets.base import PreparedDataset, Split
from workloads.datasets.reader import BatchReader
from workloads.datasets.shuffle import Permutation
from workloads.errors import DataCorruptError, DataMissingError, UnsupportedError

MakeSplit = Callable[..., Split]


def batch_of(reader: BatchReader, split: Split, batch_size: int) -> tuple[int, bytes, bytes]:
    images, labels = bytearray(batch_size * split.image_bytes), bytearray(batch_size * split.label_bytes)
    count = reader.read_into(images, labels)
    return count, bytes(images[: count * split.image_bytes]), bytes(labels[: count * split.label_bytes])


def items_of(images: bytes, image_bytes: int) -> list[int]:
    return [images[k] for k in range(0, len(images), image_bytes)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 4), st.booleans())
def test_an_evaluation_reads_every_item_once(
    file_split: MakeSplit, count: int, batch_size: int, files: int, wide: bool
) -> None:
    split = file_split(count, files=min(files, count), wide=wide)
    with BatchReader(split, batch_size, shuffle=False) as reader:
        read = [batch_of(reader, split, batch_size) for _ in range(reader.batches_per_epoch)]
        assert (reader.epoch, reader.position) == (1, 0)
    images, labels = b"".join(r[1] for r in read), b"".join(r[2] for r in read)
    assert images == b"".join(bytes((i + p) % 256 for p in range(5)) for i in range(count))
    assert labels == b"".join((i % 7).to_bytes(split.label_bytes, "little") for i in range(count))
    assert [r[0] for r in read[:-1]] == [batch_size] * (len(read) - 1)


@pytest.mark.parametrize("files", [1, 3])
def test_training_follows_the_order_and_drops_the_rest(file_split: MakeSplit, files: int) -> None:
    split = file_split(23, files=files)
    with BatchReader(split, 5, seed=9) as reader:
        assert reader.batches_per_epoch == 4
        for epoch in range(3):
            order = Permutation(23, 9, epoch).span(0, 23)
            for k in range(4):
                assert (reader.epoch, reader.position) == (epoch, 5 * k)
                count, images, labels = batch_of(reader, split, 5)
                assert count == 5
                assert items_of(images, 5) == list(reader.last_items) == order[5 * k : 5 * k + 5]
                assert list(labels) == [i % 7 for i in order[5 * k : 5 * k + 5]]
                assert reader.last_epoch == epoch


def test_resuming_continues_bit_for_bit(file_split: MakeSplit) -> None:
    split = file_split(23)
    with BatchReader(split, 4, seed=1) as through, BatchReader(split, 4, seed=1) as resumed:
        for _ in range(8):
            batch_of(through, split, 4)
        resumed.seek(through.epoch, through.position)
        for _ in range(10):
            assert batch_of(through, split, 4) == batch_of(resumed, split, 4)


def test_ranks_together_read_the_batch_of_one(file_split: MakeSplit) -> None:
    split = file_split(50)
    with (
        BatchReader(split, 12, seed=2) as one,
        BatchReader(split, 6, seed=2, rank=0, ranks=2) as first,
        BatchReader(split, 6, seed=2, rank=1, ranks=2) as second,
    ):
        assert one.batches_per_epoch == first.batches_per_epoch == second.batches_per_epoch
        for _ in range(11):
            whole, left, right = (
                batch_of(one, split, 12),
                batch_of(first, split, 6),
                batch_of(second, split, 6),
            )
            assert whole[1] == left[1] + right[1]
            assert (one.epoch, one.position) == (first.epoch, first.position)


def test_buffers_larger_than_the_batch_are_left_alone_behind_it(file_split: MakeSplit) -> None:
    split = file_split(10)
    images, labels = bytearray(b"\xee" * 100), bytearray(b"\xee" * 20)
    with BatchReader(split, 4) as reader:
        assert reader.read_into(memoryview(images), memoryview(labels)) == 4
    assert images[20:] == b"\xee" * 80
    assert labels[4:] == b"\xee" * 16


def test_unfit_buffers_are_refused_before_anything_is_read(file_split: MakeSplit) -> None:
    with BatchReader(file_split(10), 4) as reader:
        with pytest.raises(ValueError, match="images has 19 bytes, the batch needs 20"):
            reader.read_into(bytearray(19), bytearray(4))
        with pytest.raises(ValueError, match="labels cannot be written"):
            reader.read_into(bytearray(20), memoryview(bytes(4)))
        assert (reader.epoch, reader.position) == (0, 0)


@pytest.mark.parametrize(
    ("batch_size", "options", "message"),
    [
        (0, {}, "at least 1 item"),
        (-3, {"shuffle": False}, "at least 1 item"),
        (11, {}, "larger than the 10"),
        (6, {"rank": 1, "ranks": 2}, "larger than the 10"),
        (2, {"rank": 2, "ranks": 2}, "rank 2"),
        (2, {"ranks": 2, "drop_last": False}, "one rank"),
    ],
)
def test_impossible_sizes_are_refused(
    file_split: MakeSplit, batch_size: int, options: dict[str, int], message: str
) -> None:
    with pytest.raises(UnsupportedError, match=message):
        BatchReader(file_split(10), batch_size, **options)  # type: ignore[arg-type]


def test_an_evaluation_batch_may_be_larger_than_the_set(file_split: MakeSplit) -> None:
    split = file_split(10)
    with BatchReader(split, 64, shuffle=False) as reader:
        assert batch_of(reader, split, 64)[0] == 10
        assert batch_of(reader, split, 64)[0] == 10
        assert reader.last_epoch == 1


def test_a_label_out_of_range_names_the_item(file_split: MakeSplit) -> None:
    split = file_split(10)
    path = Path(split.labels.segments[0].path)
    damaged = bytearray(path.read_bytes())
    damaged[4 + 3 * 6] = 7
    path.write_bytes(damaged)
    with (
        BatchReader(split, 5, shuffle=False) as reader,
        pytest.raises(DataCorruptError, match="item 3 has label 7"),
    ):
        batch_of(reader, split, 5)


def test_a_truncated_file_is_found_before_training(file_split: MakeSplit) -> None:
    split = file_split(10, files=2)
    path = Path(split.images.segments[1].path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataCorruptError, match=r"part-1\.bin has 33 bytes, the job needs 34"):
        BatchReader(split, 5)


def test_a_file_cut_while_it_is_read_is_an_error_not_zeros(file_split: MakeSplit) -> None:
    split = file_split(10)
    with BatchReader(split, 5, shuffle=False) as reader:
        os.truncate(split.images.segments[0].path, 4 + 6 * 2 + 3)
        with pytest.raises(DataCorruptError, match="ends inside item 2"):
            batch_of(reader, split, 5)


def test_a_missing_file_is_named(file_split: MakeSplit) -> None:
    split = file_split(10)
    Path(split.images.segments[0].path).unlink()
    with pytest.raises(DataMissingError, match=r"part-0\.bin"):
        BatchReader(split, 5)


def test_reads_that_come_short_are_completed(file_split: MakeSplit, monkeypatch: pytest.MonkeyPatch) -> None:
    split = file_split(10)
    real = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, views, at: real(fd, (views[0][:2],), at))
    with BatchReader(split, 5, shuffle=False) as reader:
        _, images, _ = batch_of(reader, split, 5)
    assert images == b"".join(bytes(i + p for p in range(5)) for i in range(5))


def test_no_file_stays_open(file_split: MakeSplit) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - counted, not walked
    with BatchReader(file_split(10, files=3), 5) as reader:
        reader.close()
    split = file_split(10, files=3)
    Path(split.labels.segments[2].path).unlink()
    with pytest.raises(DataMissingError):
        BatchReader(split, 5)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


@pytest.mark.parametrize("module", ["numpy", "json", "dataclasses", "pathlib", "tempfile", "hashlib"])
def test_the_reader_costs_a_worker_nothing_it_does_not_have(module: str) -> None:
    root = Path(workloads.__file__).parents[1]
    code = f"""import sys; sys.path.insert(0, {str(root)!r}); before = {module!r} in sys.modules
import workloads.datasets.reader; sys.exit({module!r} in sys.modules and not before)"""
    # -S: no site packages, whose start-up files may import anything.
    assert subprocess.run([sys.executable, "-I", "-S", "-c", code]).returncode == 0


def test_an_epoch_keeps_no_copy_of_the_set(file_split: MakeSplit, tmp_path: Path) -> None:
    split = file_split(20_000, image_bytes=784, classes=10)  # 15 MiB
    set_up = PreparedDataset("toy", "full", "a toy", (1, 28, 28), "chw", 10, split, split)
    (tmp_path / "job.json").write_text(json.dumps(set_up.to_json()))
    code = f"""import sys, json; sys.path.insert(0, {str(Path(workloads.__file__).parents[1])!r})
from workloads.datasets.base import PreparedDataset
from workloads.datasets.reader import BatchReader
def status(key):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(key))
with open({str(tmp_path / "job.json")!r}) as job:
    train = PreparedDataset.from_json(json.load(job)).train
images, labels = bytearray(100 * 784), bytearray(100)
before = status("VmRSS")
with open("/proc/self/clear_refs", "w") as peak:
    peak.write("5")
reader = BatchReader(train, 100, seed=1)
while reader.epoch == 0:
    reader.read_into(images, labels)
print(status("VmHWM") - before)"""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True
    )
    assert 0 <= int(done.stdout) < 512  # KiB; 4 to 52 in trials


def test_synthetic_items_are_reproducible_and_in_range() -> None:
    split = synthetic.make((3, 200, 200), 1000, train=40, test=10).train
    with BatchReader(split, 8, seed=4) as one, BatchReader(split, 8, seed=4) as other:
        first = batch_of(one, split, 8)
        assert first == batch_of(other, split, 8)
        assert first != batch_of(one, split, 8)
    labels = memoryview(first[2]).cast("H")
    assert max(labels) < 1000
    assert len(set(labels)) > 1
    assert 126 < sum(first[1]) / len(first[1]) < 129
