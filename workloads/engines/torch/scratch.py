"""Scratch memory: one arena that every chunked operation of a training shares, so that its size has a name.

Nothing in a step allocates temporaries of its own size: operations take views of this arena, bounded by `block_bytes`,
and give them back when their frame ends. The arena's size is what the ledger calls `scratch`.
"""

from types import TracebackType

import torch
from torch import Tensor

# 256 KiB a view: within a core's L2 cache, and small beside what a 512 MB device trains.
BLOCK_BYTES = 1 << 18
_ALIGNMENT = 64


class Scratch:
    """A bump allocator. `with scratch:` opens a frame; views taken in it are free again when it ends.

    The arena grows to the high-water mark once all frames are closed; until then a view that does not fit is allocated
    on its own. So after the first step nothing is allocated any more.
    """

    def __init__(self, device: torch.device, block_bytes: int = BLOCK_BYTES) -> None:
        self.block_bytes = block_bytes
        self._device = device
        self._arena = torch.empty(0, dtype=torch.uint8, device=device)
        self._views: dict[tuple[int, tuple[int, ...], torch.dtype], Tensor] = {}
        self._marks: list[int] = []
        self._offset = 0
        self._peak = 0
        self._lent = 0

    @property
    def bytes(self) -> int:
        """Size of the arena in bytes, and of the largest result that a library call allocated by itself."""
        return max(self._arena.numel(), self._peak) + self._lent

    def lent(self, result: Tensor) -> Tensor:
        """Count a temporary that a library call allocated; return it."""
        self._lent = max(self._lent, result.nbytes)
        return result

    def rows(self, row_elements: int, itemsize: int = 4, multiple: int = 1) -> int:
        """Return how many rows of that many elements one block holds: at least `multiple`, and a multiple of it."""
        fitting = self.block_bytes // max(1, row_elements * itemsize)
        return max(multiple, fitting // multiple * multiple)

    def take(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return an uninitialised tensor that is valid until the current frame ends."""
        count = 1
        for extent in shape:
            count *= extent
        start = self._offset
        size = count * dtype.itemsize
        self._offset += -(-size // _ALIGNMENT) * _ALIGNMENT
        self._peak = max(self._peak, self._offset)
        key = (start, shape, dtype)
        view = self._views.get(key)
        if view is None:
            if start + size > self._arena.numel():
                return torch.empty(shape, dtype=dtype, device=self._device)
            view = self._views[key] = self._arena[start : start + size].view(dtype).view(shape)
        return view

    def __enter__(self) -> "Scratch":
        self._marks.append(self._offset)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._offset = self._marks.pop()
        if not self._marks and self._peak > self._arena.numel():
            self._views.clear()
            self._arena = torch.empty(0, dtype=torch.uint8, device=self._device)
            self._arena = torch.empty(self._peak, dtype=torch.uint8, device=self._device)
