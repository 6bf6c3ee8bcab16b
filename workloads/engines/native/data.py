"""The data path in the core: what `workloads.datasets` defines for every item of a batch, done for a batch at once.

Bit for bit what its modules do, which the tests hold it to; a batch of 100 CIFAR-10 images, augmented, takes 2.4 ms in
Python. Standard library only.
"""

import ctypes
from array import array
from collections.abc import Sequence
from ctypes import byref, c_int32, c_int64, c_uint8, c_uint64, c_void_p

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


class _Noise(ctypes.Structure):
    """See `harness_noise`."""

    _fields_ = [
        ("block", c_void_p),
        ("key", c_uint64),
        ("image_bytes", c_int64),
        ("classes", c_int32),
        ("label_bytes", c_int32),
    ]


class _Moves(ctypes.Structure):
    """See `harness_moves`."""

    _fields_ = [
        ("key", c_uint64),
        ("row", c_void_p),
        *[(name, c_int32) for name in ("channels", "height", "width", "max_dx", "max_dy", "flips")],
    ]


class _Order:
    """Gives the items at positions start to stop − 1 of an order."""

    def __init__(self, tables: "Sequence[array[int]]", right_bits: int, count: int) -> None:
        self._tables, self._right_bits, self._count = tables, right_bits, count
        self._pointers = (c_void_p * len(tables))(*map(_address, tables))
        self._span = library.load().harness_items_order

    def __call__(self, start: int, stop: int) -> "array[int]":
        items = array("q", bytes(8 * (stop - start)))
        self._span(self._pointers, self._right_bits, self._count, start, len(items), _address(items))
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
        self._column = _Column(*map(_address, self._parts), len(files), stride, item_bytes)
        self._read = library.load().harness_items_read

    def __call__(self, items: Sequence[int], target: memoryview) -> int:
        numbers = _numbers(items)
        done: int = self._read(byref(self._column), _address(numbers), len(numbers), _pointer(target))
        return done


class _NoiseMaker:
    """Makes noise items in two buffers."""

    def __init__(self, block: memoryview, key: int, image_bytes: int, classes: int, label_bytes: int) -> None:
        self._block = (c_uint8 * len(block)).from_buffer(block)
        self._noise = _Noise(ctypes.addressof(self._block), key, image_bytes, classes, label_bytes)
        self._make = library.load().harness_items_noise

    def __call__(self, items: Sequence[int], images: memoryview, labels: memoryview) -> None:
        numbers = _numbers(items)
        self._make(byref(self._noise), _address(numbers), len(numbers), _pointer(images), _pointer(labels))


class CoreData:
    """The core's side of `workloads.datasets.core.DataCore`."""

    order, reader, noise = _Order, _Reader, _NoiseMaker

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
        numbers, row = _numbers(items), (c_uint8 * shape[2])()
        moves = _Moves(key, ctypes.addressof(row), *shape, *most, flip)
        library.load().harness_items_move(byref(moves), _address(numbers), len(numbers), _pointer(images))


def _numbers(items: Sequence[int]) -> "array[int]":
    return items if isinstance(items, array) else array("q", items)


def _address(numbers: "array[int]") -> int:
    return numbers.buffer_info()[0]


def _pointer(buffer: memoryview) -> Any:
    """Return a pointer to a writable buffer's first byte; none is followed for an empty one."""
    return c_uint8.from_buffer(buffer) if len(buffer) else None
