"""Streams batches of a prepared split into buffers that the caller owns and reuses.

What is resident: the caller's two buffers, the item numbers of one batch, and the tables of the
order (3 KiB for MNIST). Pixels stay uint8 until the engine has them: no float copy of a set is made.
"""

from collections.abc import Sequence
from types import TracebackType

from workloads.datasets.base import Split
from workloads.datasets.shuffle import Permutation
from workloads.datasets.sources import open_source
from workloads.errors import DataCorruptError, UnsupportedError
from workloads.light_typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from workloads.datasets.core import DataCore


class WritableBuffer(Protocol):
    """Anything that memoryview takes and that can be written: bytearray, array, ctypes array, ndarray."""

    def __buffer__(self, flags: int, /) -> memoryview:
        """Return a view of the bytes (PEP 688)."""


class BatchReader:
    """Batches without end, epoch after epoch, each epoch in its own order.

    With `shuffle` the order of epoch e is `Permutation(count, seed, e)`; without, that of the files.
    The incomplete batch at the end of an epoch is dropped in training (a batch statistic over 3 items
    is no batch statistic) and kept in evaluation, where every item counts once: `drop_last` follows
    `shuffle` unless it is given.

    `ranks` processes that read together share batches of `ranks * batch_size` items of the same order:
    rank r has the r-th run of `batch_size` items, so that the union is the batch of a single process.

    `core` does the work in place of this package's Python, where the engine offers one.

    Raises:
        UnsupportedError: a batch size below 1, or so large that an epoch has no complete batch.
        DataMissingError, DataCorruptError: see `sources.py`.
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = True,
        *,
        drop_last: bool | None = None,
        rank: int = 0,
        ranks: int = 1,
        core: "DataCore | None" = None,
    ) -> None:
        self._drop_last = shuffle if drop_last is None else drop_last
        _check_sizes(split.count, batch_size, self._drop_last, rank, ranks)
        self._split, self._batch_size, self._seed, self._shuffle = split, batch_size, seed, shuffle
        self._rank, self._step = rank, batch_size * ranks
        self._epoch = self._position = 0
        self._core = core
        self._order = self._order_of(0)
        self._last: tuple[int, Sequence[int]] = (0, ())
        self._source = open_source(split, core)

    @property
    def epoch(self) -> int:
        """Epoch of the next batch."""
        return self._next()[0]

    @property
    def position(self) -> int:
        """Position in the epoch's order at which the next batch (of all ranks together) begins."""
        return self._next()[1]

    @property
    def batches_per_epoch(self) -> int:
        """Number of batches after which the epoch ends."""
        full, rest = divmod(self._split.count, self._step)
        return full + (rest > 0 and not self._drop_last)

    @property
    def last_items(self) -> Sequence[int]:
        """Numbers of the items of the batch read last: with `last_epoch`, what augmentation is drawn from."""
        return self._last[1]

    @property
    def last_epoch(self) -> int:
        """Epoch of the batch read last."""
        return self._last[0]

    def seek(self, epoch: int, position: int) -> None:
        """Continue from what `epoch` and `position` said before an interruption, bit for bit."""
        if epoch < 0 or not 0 <= position <= self._split.count:
            raise DataCorruptError(f"no such place in the data: epoch {epoch}, position {position}")
        self._epoch, self._position = epoch, position
        self._order = self._order_of(epoch)

    def read_into(self, images: WritableBuffer, labels: WritableBuffer) -> int:
        """Read the next batch into the caller's buffers and return its number of items.

        Args:
            images: writable, contiguous, at least `batch_size * image_bytes` bytes; uint8, one image
                after another in the data set's layout.
            labels: writable, contiguous, at least `batch_size * label_bytes` bytes; uint8 or uint16.

        Raises:
            ValueError: a buffer is too small.
            DataCorruptError: a file came short, or a label is not below the number of classes.
        """
        self._epoch, self._position = self._turn_over()
        start = self._position + self._rank * self._batch_size
        stop = min(start + self._batch_size, self._split.count)
        items = self._order[start:stop] if isinstance(self._order, range) else self._order.span(start, stop)
        count = len(items)
        label_view = _bytes_of(labels, count * self._split.label_bytes, "labels")
        self._source.fill(items, _bytes_of(images, count * self._split.image_bytes, "images"), label_view)
        self._check_labels(label_view, items)
        self._last = (self._epoch, items)
        self._position += self._step
        return count

    def close(self) -> None:
        """Close the files; a second call does nothing."""
        self._source.close()

    def __enter__(self) -> "BatchReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _order_of(self, epoch: int) -> range | Permutation:
        count = self._split.count
        return Permutation(count, self._seed, epoch, self._core) if self._shuffle else range(count)

    def _next(self) -> tuple[int, int]:
        needed = self._step if self._drop_last else 1
        if self._position + needed <= self._split.count:
            return self._epoch, self._position
        return self._epoch + 1, 0

    def _turn_over(self) -> tuple[int, int]:
        epoch, position = self._next()
        if epoch != self._epoch:
            self._order = self._order_of(epoch)
        return epoch, position

    def _check_labels(self, labels: memoryview, items: Sequence[int]) -> None:
        values = labels if self._split.label_bytes == 1 else labels.cast("H")
        if max(values) < self._split.classes:
            return
        item, value = next((i, v) for i, v in zip(items, values, strict=True) if v >= self._split.classes)
        raise DataCorruptError(
            f"item {item} has label {value}, but there are {self._split.classes} classes: the prepared copy "
            f"{self._split.labels.segments[0].path if self._split.labels.segments else ''} is damaged; "
            "delete it and run again"
        )


def _bytes_of(buffer: WritableBuffer, needed: int, what: str) -> memoryview:
    view = memoryview(buffer)
    if view.readonly:
        raise ValueError(f"the buffer for {what} cannot be written")
    if view.nbytes < needed:
        raise ValueError(f"the buffer for {what} has {view.nbytes} bytes, the batch needs {needed}")
    return view.cast("B")[:needed]


def _check_sizes(count: int, batch_size: int, drop_last: bool, rank: int, ranks: int) -> None:
    if batch_size < 1:
        raise UnsupportedError(f"a batch has at least 1 item, not {batch_size}; give --batch-size N")
    if not 0 <= rank < ranks:
        raise UnsupportedError(f"rank {rank} is not one of {ranks}")
    if ranks > 1 and not drop_last:
        raise UnsupportedError("several ranks share complete batches only; read an evaluation with one rank")
    if drop_last and batch_size * ranks > count:
        raise UnsupportedError(
            f"a batch of {batch_size * ranks} items is larger than the {count} training items; "
            "use a smaller --batch-size"
        )
