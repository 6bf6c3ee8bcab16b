"""The data path in the core: what `workloads.datasets` defines for every item of a batch, done for a batch at once.

Bit for bit what its modules do, which the tests hold it to; a batch of 100 CIFAR-10 images, augmented, takes 2.4 ms in
Python. Standard library only.
"""

import ctypes
from array import array
from collections.abc import Callable, Sequence
from ctypes import byref, c_int32, c_int64, c_uint8, c_void_p

from workloads.engines.native import library
from workloads.light_typing import Any


class _Column(ctypes.Structure):
    """See `harness_column`."""

    _fields_ = [
        ("files", c_void_p),
        ("offsets", c_void_p),
        ("starts", c_void_p),
        ("parts", c_int32),
        ("stride", c_int64),
        ("item_bytes", c_int64),
    ]


class _Order:
    """Gives the items at positions start to stop − 1 of an order."""

    def __init__(self, tables: "Sequence[array[int]]", right_bits: int, count: int) -> None:
        self._tables, self._right_bits, self._count = tables, right_bits, count
        self._pointers = (c_void_p * len(tables))(*map(address_of, tables))
        self._span = library.load().harness_items_order

    def __call__(self, start: int, stop: int) -> "array[int]":
        items = array("q", bytes(8 * (stop - start)))
        self._span(self._pointers, self._right_bits, self._count, start, len(items), address_of(items))
        return items


class _Reader:
    """Reads items of files into a buffer and says how many, fewer where one came short."""

    def __init__(
        self,
        files: Sequence[int],
        offsets: Sequence[int],
        starts: Sequence[int],
        stride: int,
        item_bytes: int,
    ) -> None:
        self._parts = array("i", files), array("q", offsets), array("q", starts)
        self._column = _Column(*map(address_of, self._parts), len(files), stride, item_bytes)
        self._read = library.load().harness_items_read

    def __call__(self, items: Sequence[int], target: memoryview) -> int:
        numbers = numbers_of(items)
        done: int = self._read(byref(self._column), address_of(numbers), len(numbers), pointer_to(target))
        return done


class CoreData:
    """The core's side of `workloads.datasets.core.DataCore`; a worker holds no more of it than its data need."""

    order, reader = _Order, _Reader

    @staticmethod
    def noise(
        block: memoryview, key: int, image_bytes: int, classes: int, label_bytes: int
    ) -> Callable[[Sequence[int], memoryview, memoryview], None]:
        """Return what makes noise items in two buffers."""
        from workloads.engines.native.noise import NoiseMaker

        return NoiseMaker(block, key, image_bytes, classes, label_bytes)

    @staticmethod
    def move(
        images: memoryview,
        items: Sequence[int],
        key: int,
        shape: tuple[int, int, int],
        most: tuple[int, int],
        flip: bool,
    ) -> None:
        """Shift and mirror the images of a batch in place, `most` (right, down) pixels at most."""
        from workloads.engines.native.moves import Moves

        numbers, row = numbers_of(items), (c_uint8 * shape[2])()
        moves = Moves(key, ctypes.addressof(row), *shape, *most, flip)
        library.load().harness_items_move(byref(moves), address_of(numbers), len(numbers), pointer_to(images))


def numbers_of(items: Sequence[int]) -> "array[int]":
    """Return items as the core reads them, 64 bits each."""
    return items if isinstance(items, array) else array("q", items)


def address_of(numbers: "array[int]") -> int:
    """Return where an array's numbers lie; it must be kept for as long as they are read."""
    return numbers.buffer_info()[0]


def pointer_to(buffer: memoryview) -> Any:
    """Return a pointer to a writable buffer's first byte; none is followed for an empty one."""
    return c_uint8.from_buffer(buffer) if len(buffer) else None
