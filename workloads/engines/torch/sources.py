"""What a product reads: the retained input of a stage, in whatever type the recipe keeps it.

A source gives the signs X̂ as int8 (for exact integer products), its values as float32 tiles (for ∂W), and applies the
clip of the straight-through estimator 1[|X| ≤ 1] to a tile of ∂X. All views are batch rows × features.
"""

from typing import Protocol

import torch
from torch import Tensor

from workloads.engines.torch.bits import unpack_into
from workloads.engines.torch.scratch import Scratch

# Between −2^-24, the float16 next below zero, and zero: added before a sign is taken it makes sgn(0) = +1.
_HALF_SUBNORMAL = 2.0**-25


def signs_into(tensor: Tensor, out: Tensor) -> Tensor:
    """Fill `out` (float32) with sgn(`tensor`) (float32 or float16), sgn(0) = +1 for both zeros; return `out`."""
    if tensor.dtype == torch.float16:
        return out.copy_(tensor).add_(_HALF_SUBNORMAL).sign_()
    return torch.ge(tensor, 0, out=out).mul_(2).sub_(1)


class Source(Protocol):
    """The retained input of a product: B rows of K features."""

    features: int

    def integers(self, rows: slice, out: Tensor, scratch: Scratch) -> None:
        """Fill `out` (int8, b × K) with the operand of the integer product."""

    def real(self, accumulated: Tensor, signs: Tensor) -> Tensor:
        """Turn integer products (float32, b × n, destroyed) into Y, given Ŵ (float32, n × K)."""
        ...

    def tile(self, rows: slice, columns: slice, out: Tensor, scratch: Scratch) -> None:
        """Fill `out` (float32) with X̂ of that tile, or with X where the stage takes real values."""

    def clip(self, rows: slice, columns: slice, gradient: Tensor, scratch: Scratch) -> None:
        """Zero `gradient` (float32 tile of ∂X) where |X| > 1."""


class PackedSource:
    """Signs, and as mask where X was within the estimator's border: packed bits. Row slices start at multiples of 8."""

    def __init__(self, bits: Tensor, mask: Tensor | None, features: int) -> None:
        self.bits, self.mask, self.features = bits, mask, features

    def _part(self, packed: Tensor, rows: slice, columns: slice) -> Tensor:
        start, stop = rows.start * self.features, rows.stop * self.features
        flat = packed[start // 8 : (stop + 7) // 8]
        if columns.stop - columns.start == self.features:
            return flat
        return flat.view(-1, self.features // 8)[:, columns.start // 8 : columns.stop // 8]

    def integers(self, rows: slice, out: Tensor, scratch: Scratch) -> None:
        """Fill `out` (int8) with the signs of those rows."""
        unpack_into(self._part(self.bits, rows, slice(0, self.features)), out, scratch)

    def real(self, accumulated: Tensor, signs: Tensor) -> Tensor:
        """Signs need no scale."""
        return accumulated

    def tile(self, rows: slice, columns: slice, out: Tensor, scratch: Scratch) -> None:
        """Fill `out` (float32) with the signs of that tile."""
        unpack_into(self._part(self.bits, rows, columns), out, scratch)

    def clip(self, rows: slice, columns: slice, gradient: Tensor, scratch: Scratch) -> None:
        """Apply the retained mask, where the recipe keeps one."""
        if self.mask is None:
            return
        with scratch:
            gate = scratch.take(tuple(gradient.shape), torch.float32)
            gradient.mul_(unpack_into(self._part(self.mask, rows, columns), gate, scratch, low=0))


class RealSource:
    """A retained real X (float32 or float16); signs and the straight-through derivative come from it.

    The derivative is 1[|X| ≤ `clip_at`], or `polynomial`: max(0, 2 − 2|X|) (see `specification.Stage`); with `clip_at`
    None it is 1 (`Recipe.ste_mask` none).
    """

    def __init__(self, x: Tensor, clip_at: float | None = 1.0, *, polynomial: bool = False) -> None:
        self.x = x.view(x.shape[0], -1)
        self.features = self.x.shape[1]
        self.clip_at, self.polynomial = clip_at, polynomial

    def integers(self, rows: slice, out: Tensor, scratch: Scratch) -> None:
        """Fill `out` (int8) with the signs of those rows."""
        with scratch:
            out.copy_(signs_into(self.x[rows], scratch.take(tuple(out.shape), torch.float32)))

    def real(self, accumulated: Tensor, signs: Tensor) -> Tensor:
        """Signs need no scale."""
        return accumulated

    def tile(self, rows: slice, columns: slice, out: Tensor, scratch: Scratch) -> None:
        """Fill `out` (float32) with the signs of that tile."""
        signs_into(self.x[rows, columns], out)

    def clip(self, rows: slice, columns: slice, gradient: Tensor, scratch: Scratch) -> None:
        """Multiply the gradient by the derivative that stands for that of the sign."""
        if self.clip_at is None:
            return
        with scratch:
            magnitude = scratch.take(tuple(gradient.shape), torch.float32)
            magnitude.copy_(self.x[rows, columns]).abs_()
            if self.polynomial:
                gradient.mul_(magnitude.mul_(-2).add_(2).clamp_(min=0))
            else:
                gradient.mul_(magnitude.le_(self.clip_at))


class ValueSource:
    """A retained real X that is multiplied as it is: the input of a full-precision stage."""

    def __init__(self, x: Tensor) -> None:
        self.x = x.view(x.shape[0], -1)
        self.features = self.x.shape[1]

    def integers(self, rows: slice, out: Tensor, scratch: Scratch) -> None:
        """Refuse: real values have no integer product; full-precision stages multiply tiles."""
        raise TypeError("a full-precision stage has no integer operand")

    def real(self, accumulated: Tensor, signs: Tensor) -> Tensor:
        """Values need no scale."""
        return accumulated

    def tile(self, rows: slice, columns: slice, out: Tensor, scratch: Scratch) -> None:
        """Fill `out` (float32) with X of that tile."""
        out.copy_(self.x[rows, columns])

    def clip(self, rows: slice, columns: slice, gradient: Tensor, scratch: Scratch) -> None:
        """Nothing to do: no sign was taken."""


class ImageSource:
    """The image x = (2u − 255) / 255, u in 0..255: the real input of the first stage, which has no ∂X.

    The forward product is exact in integers: Σ (2u − 255)·ŵ = 2·Σ (u − 128)·ŵ + Σŵ, and u − 128 fits int8.
    `retained` is x itself where the recipe keeps it so (float32, float16); otherwise ∂W reads the pixels.
    """

    def __init__(self, pixels: Tensor, retained: Tensor | None = None) -> None:
        self.pixels = pixels.view(pixels.shape[0], -1)
        self.features = self.pixels.shape[1]
        self.retained = None if retained is None else retained.view(self.pixels.shape)

    def integers(self, rows: slice, out: Tensor, scratch: Scratch) -> None:
        """Fill `out` (int8) with u − 128."""
        torch.bitwise_xor(self.pixels[rows].view(torch.int8), -128, out=out)

    def real(self, accumulated: Tensor, signs: Tensor) -> Tensor:
        """Return (2·Σ(u − 128)ŵ + Σŵ) / 255."""
        return accumulated.mul_(2).add_(signs.sum(1)).div_(255)

    def tile(self, rows: slice, columns: slice, out: Tensor, scratch: Scratch) -> None:
        """Fill `out` (float32) with x of that tile."""
        if self.retained is not None:
            out.copy_(self.retained[rows, columns])
        else:
            real_image(self.pixels[rows, columns], out)

    def clip(self, rows: slice, columns: slice, gradient: Tensor, scratch: Scratch) -> None:
        """Nothing to do: the image has no gradient."""


def real_image(pixels: Tensor, out: Tensor) -> Tensor:
    """Fill `out` with x = (2u − 255) / 255 of `pixels` (uint8); return `out`."""
    return out.copy_(pixels).mul_(2).sub_(255).div_(255)
