"""Noise items made by the core. Imported only where the data are synthetic."""

import ctypes
from collections.abc import Sequence
from ctypes import byref, c_int32, c_int64, c_uint8, c_uint64, c_void_p

from workloads.engines.native import library
from workloads.engines.native.data import address_of, numbers_of, pointer_to


class _Noise(ctypes.Structure):
    """See `harness_noise`."""

    _fields_ = [
        ("block", c_void_p),
        ("key", c_uint64),
        ("image_bytes", c_int64),
        ("classes", c_int32),
        ("label_bytes", c_int32),
    ]


class NoiseMaker:
    """Makes noise items in two buffers."""

    def __init__(self, block: memoryview, key: int, image_bytes: int, classes: int, label_bytes: int) -> None:
        self._block = (c_uint8 * len(block)).from_buffer(block)
        self._noise = _Noise(ctypes.addressof(self._block), key, image_bytes, classes, label_bytes)
        self._make = library.load().harness_items_noise

    def __call__(self, items: Sequence[int], images: memoryview, labels: memoryview) -> None:
        """Make the items one after another in the buffers."""
        numbers = numbers_of(items)
        self._make(
            byref(self._noise), address_of(numbers), len(numbers), pointer_to(images), pointer_to(labels)
        )
