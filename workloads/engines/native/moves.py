"""Shifts and mirrors done by the core. Imported only where images are augmented."""

import ctypes
from collections.abc import Sequence
from ctypes import byref, c_int32, c_uint8, c_uint64, c_void_p

from workloads.engines.native import library
from workloads.engines.native.data import address_of, numbers_of, pointer_to


class _Moves(ctypes.Structure):
    """See `harness_moves`."""

    _fields_ = [
        ("key", c_uint64),
        ("row", c_void_p),
        *[(name, c_int32) for name in ("channels", "height", "width", "max_dx", "max_dy", "flips")],
    ]


def move(
    images: memoryview,
    items: Sequence[int],
    key: int,
    shape: tuple[int, int, int],
    most: tuple[int, int],
    flip: bool,
) -> None:
    """Shift and mirror the images of a batch in place, `most` (right, down) pixels at most."""
    numbers, row = numbers_of(items), (c_uint8 * shape[2])()
    moves = _Moves(key, ctypes.addressof(row), *shape, *most, flip)
    library.load().harness_items_move(byref(moves), address_of(numbers), len(numbers), pointer_to(images))
