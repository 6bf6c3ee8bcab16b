"""∂Y as the products read it, and ∂W as the recipe keeps it."""

from typing import Protocol

import torch
from torch import Tensor

from workloads.engines.torch.bits import pack_flags_, packed_bytes, unpack_into
from workloads.engines.torch.rounding import saturate_into
from workloads.engines.torch.scratch import Scratch


class OutputGradient(Protocol):
    """∂Y (batch × outputs) as the products read it."""

    nbytes: int

    def rows(self, rows: slice, scratch: Scratch) -> Tensor:
        """Return those rows in float32; slices start at multiples of 8."""
        ...


class RealGradient:
    """∂Y in float32 or float16."""

    def __init__(self, gradient: Tensor) -> None:
        self._gradient = gradient.view(gradient.shape[0], -1)
        self.nbytes: int = gradient.nbytes

    def rows(self, rows: slice, scratch: Scratch) -> Tensor:
        """Return those rows in float32: a view where they are that already, else a copy in scratch."""
        part = self._gradient[rows]
        if part.dtype == torch.float32:
            return part
        return scratch.take(tuple(part.shape), torch.float32).copy_(part)


class WeightGradient:
    """∂W of one stage (outputs × inputs): float32, float16, or one bit an element, +1 where ∂W ≥ 0.

    The buffer belongs to the layer and is overwritten each step. One-bit gradients are in units of their own, ±1;
    real ones carry the loss scale of the step. A one-bit gradient that is `scaled` keeps one number besides, the mean
    of |∂W| over the stage (`magnitude`, with the loss scale), so that a batch that is nearly learned weighs little.
    """

    def __init__(self, shape: tuple[int, int], dtype: torch.dtype | None, device: torch.device) -> None:
        self.shape = shape
        self.is_sign = dtype is None
        self.scaled = False
        self.magnitude = 0.0
        if dtype is None:
            self.buffer = torch.zeros(packed_bytes(shape[0] * shape[1]), dtype=torch.uint8, device=device)
        else:
            self.buffer = torch.zeros(shape, dtype=dtype, device=device)

    @property
    def bits(self) -> Tensor:
        """The packed signs of a one-bit gradient."""
        return self.buffer

    def set_bits(self, bits: Tensor, scratch: Scratch) -> None:
        """Replace the packed signs."""
        self.buffer.copy_(bits)

    def measure(self) -> None:
        """∂W is complete."""

    def begin(self) -> None:
        """A new ∂W is about to be stored."""
        self.magnitude = 0.0

    def store(self, outputs: slice, columns: slice, tile: Tensor, scratch: Scratch) -> int:
        """Keep a tile of ∂W (float32, destroyed): all inputs of some outputs, or some inputs of all outputs.

        Slices start at multiples of 8. Returns how many elements saturated.
        """
        if not self.is_sign:
            return saturate_into(self.buffer[outputs, columns], tile)
        features = self.shape[1]
        if self.scaled:
            self.magnitude += float(torch.linalg.vector_norm(tile, 1)) / (self.shape[0] * features)
        with scratch:
            flags = scratch.take(tuple(tile.shape), torch.int8).copy_(tile.ge_(0))
            packed = scratch.take((packed_bytes(tile.numel()),), torch.uint8)
            pack_flags_(flags, packed, scratch)
            if tile.shape[1] == features:
                self.buffer[outputs.start * features // 8 : (outputs.stop * features + 7) // 8] = packed
            else:
                rows = self.buffer.view(self.shape[0], -1)
                rows[:, columns.start // 8 : columns.stop // 8] = packed.view(self.shape[0], -1)
        return 0

    def chunk(self, elements: slice, out: Tensor, scratch: Scratch) -> Tensor:
        """Fill `out` (float32, flat) with those elements of ∂W; slices start at multiples of 8. Return `out`."""
        if self.is_sign:
            return unpack_into(self.buffer[elements.start // 8 : (elements.stop + 7) // 8], out, scratch)
        return out.copy_(self.buffer.view(-1)[elements])
