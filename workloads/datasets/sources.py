"""Where a reader's bytes come from: positions in files, or a generator. Both fill the caller's buffers."""

import os
from bisect import bisect_right
from collections.abc import Sequence

from workloads.datasets.base import Column, Split
from workloads.datasets.mix import STREAM_NOISE, STREAM_NOISE_ITEM, draw
from workloads.errors import DataCorruptError, DataMissingError
from workloads.light_typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from workloads.datasets.core import DataCore

NOISE_BYTES: Final = 1 << 16


class Source(Protocol):
    """Fills buffers with the items asked for, in the order asked for."""

    def fill(self, items: Sequence[int], images: memoryview, labels: memoryview) -> None:
        """Write images and labels of `items` one after another into the two buffers."""

    def close(self) -> None:
        """Release what is open; a second call does nothing."""


def open_source(split: Split, core: "DataCore | None" = None) -> Source:
    """Return the source of a split: its files, or its generator if it has a noise seed; `core` does the work."""
    if split.noise_seed is not None:
        return NoiseSource(split, split.noise_seed, core)
    return FileSource(split, core)


class FileSource:
    """Items at fixed positions of plain files, read with `preadv` straight into the caller's buffers.

    Nothing is kept: no read-ahead buffer and no mapping (pages of a mapping that were touched count as
    resident, so that an epoch of MNIST would add 45 MiB to the peak; the page cache does not count).

    Raises:
        DataMissingError: a file is not there any more.
        DataCorruptError: a file is shorter than the split says.
    """

    def __init__(self, split: Split, core: "DataCore | None" = None) -> None:
        self._images = _ColumnFiles(split.images, core)
        try:
            self._labels = _ColumnFiles(split.labels, core)
        except BaseException:
            self._images.close()
            raise

    def fill(self, items: Sequence[int], images: memoryview, labels: memoryview) -> None:
        """Write images and labels of `items` one after another into the two buffers."""
        self._images.fill(items, images)
        self._labels.fill(items, labels)

    def close(self) -> None:
        """Close the files."""
        self._images.close()
        self._labels.close()


class _ColumnFiles:
    """The open files of one column."""

    def __init__(self, column: Column, core: "DataCore | None") -> None:
        self._stride, self._size = column.stride, column.item_bytes
        self._paths, self._fds, self._offsets, self._starts = [], [], [], []
        start = 0
        try:
            for path, offset, count in column.segments:
                self._fds.append(_open(path, offset + (count - 1) * column.stride + column.item_bytes))
                self._paths.append(path)
                # Counted from item 0 of the column, so that one multiplication finds any item.
                self._offsets.append(offset - start * column.stride)
                self._starts.append(start)
                start += count
        except BaseException:
            self.close()
            raise
        self._core_read = (
            core.reader(self._fds, self._offsets, self._starts, self._stride, self._size) if core else None
        )

    def fill(self, items: Sequence[int], target: memoryview) -> None:
        if self._core_read:
            if self._core_read(items, target) != len(items):
                self._fill_carefully(items, target)
            return
        size, stride, preadv = self._size, self._stride, os.preadv
        start = got = 0
        if len(self._fds) == 1:  # the common case, without a search for the file
            fd, offset = self._fds[0], self._offsets[0]
            for item in items:
                end = start + size
                got += preadv(fd, (target[start:end],), offset + item * stride)
                start = end
        else:
            for item in items:
                part = bisect_right(self._starts, item) - 1
                end = start + size
                got += preadv(self._fds[part], (target[start:end],), self._offsets[part] + item * stride)
                start = end
        if got != start:
            self._fill_carefully(items, target)

    def _fill_carefully(self, items: Sequence[int], target: memoryview) -> None:
        """Read again where a read came short: a signal or a network file system may cut one."""
        for k, item in enumerate(items):
            part = bisect_right(self._starts, item) - 1
            position, rest = self._offsets[part] + item * self._stride, target[k * self._size :][: self._size]
            while len(rest):
                got = os.preadv(self._fds[part], (rest,), position)
                if got == 0:
                    raise DataCorruptError(
                        f"{self._paths[part]} ends inside item {item}: it was cut while being read; "
                        "delete it and run again"
                    )
                position, rest = position + got, rest[got:]

    def close(self) -> None:
        while self._fds:
            os.close(self._fds.pop())


def _open(path: str, needed_bytes: int) -> int:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise DataMissingError(f"{path} is not there any more; run again to prepare it anew") from error
    size = os.fstat(fd).st_size
    if size < needed_bytes:
        os.close(fd)
        raise DataCorruptError(
            f"{path} has {size} bytes, the job needs {needed_bytes}: it was truncated; run again"
        )
    return fd


class NoiseSource:
    """Items made on the fly for pure resource runs: noise that no file and no memory of the set backs.

    A block of 64 KiB of noise is made once (the only thing resident); item k is what lies in it from a
    drawn offset on, wrapping around. To reproduce it, with `draw` of `mix.py`:

        block = the little-endian 64-bit words draw(draw(STREAM_NOISE, seed), w) for w = 0 ... 8191
        h     = draw(draw(STREAM_NOISE_ITEM, seed), k)
        pixel p of item k = block[((h & 0xFFFF) + p) mod 65536];  label of item k = (h >> 16) mod classes
    """

    def __init__(self, split: Split, seed: int, core: "DataCore | None" = None) -> None:
        self._classes = split.classes
        self._image_bytes, self._label_bytes = split.image_bytes, split.label_bytes
        self._item_key, word_key = draw(STREAM_NOISE_ITEM, seed), draw(STREAM_NOISE, seed)
        block = bytearray(NOISE_BYTES)
        for word in range(NOISE_BYTES // 8):
            block[8 * word : 8 * word + 8] = draw(word_key, word).to_bytes(8, "little")
        self._block = memoryview(block)
        self._core_fill = (
            core.noise(self._block, self._item_key, split.image_bytes, split.classes, split.label_bytes)
            if core
            else None
        )

    def fill(self, items: Sequence[int], images: memoryview, labels: memoryview) -> None:
        """Make images and labels of `items` one after another in the two buffers."""
        if self._core_fill:
            self._core_fill(items, images, labels)
            return
        size, width = self._image_bytes, self._label_bytes
        for k, item in enumerate(items):
            bits = draw(self._item_key, item)
            self._fill_image(bits & 0xFFFF, images[k * size : (k + 1) * size])
            label = (bits >> 16) % self._classes
            labels[k * width : (k + 1) * width] = label.to_bytes(width, "little")

    def _fill_image(self, offset: int, target: memoryview) -> None:
        done = 0
        while done < len(target):
            run = self._block[offset : offset + len(target) - done]
            target[done : done + len(run)] = run
            done, offset = done + len(run), 0

    def close(self) -> None:
        """Do nothing: no file is open."""
