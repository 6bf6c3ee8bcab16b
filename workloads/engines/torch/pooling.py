"""2×2 max-pooling, and the way back through it. Of equal maxima the first in row order is taken.

Before the normalisation (BinaryNet) real Y is pooled, and the place of each maximum is kept as a mask at the pooling
inputs. After the sign (CNV) signs are pooled: the place is that of the first +1, or the first place if there is none,
so that the signs themselves are the mask. The value taken there is the real X⁺: its sign is the pooled sign, and its
magnitude is what the straight-through estimator asks for.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from workloads.engines.torch.bits import pack_flags_, packed_bytes, unpack_into
from workloads.engines.torch.norm import Keep
from workloads.engines.torch.scratch import Scratch
from workloads.engines.torch.sources import signs_into

_PLACES = ((0, 0), (0, 1), (1, 0), (1, 1))


def corners(maps: Tensor) -> list[Tensor]:
    """Return four views: the corners of every 2×2 window, in row order; an odd last row or column is in none."""
    height, width = maps.shape[-2] // 2 * 2, maps.shape[-1] // 2 * 2
    return [maps[..., i:height:2, j:width:2] for i, j in _PLACES]


def _blocks(maps: Tensor, scratch: Scratch) -> Iterator[slice]:
    """Cut B × C × H × W at images, in multiples of 8 where the bits of an image do not end on a byte."""
    size, pooled = maps[0].numel(), maps.shape[1] * (maps.shape[2] // 2) * (maps.shape[3] // 2)
    step = scratch.rows(size, multiple=1 if size % 8 == pooled % 8 == 0 else 8)
    for start in range(0, len(maps), step):
        yield slice(start, min(start + step, len(maps)))


def _bits_of(rows: slice, size: int) -> slice:
    return slice(rows.start * size // 8, (rows.stop * size + 7) // 8)


def _first_(chosen: list[Tensor]) -> None:
    """Of four 0/1 tensors leave only the first 1 of each window."""
    free = 1 - chosen[0]
    for corner in chosen[1:]:
        corner.mul_(free)
        free.sub_(corner)


def max_pool(y: Tensor, dtype: torch.dtype | None, scratch: Scratch) -> tuple[Tensor, Tensor]:
    """Return the maxima of `y` (B × C × H × W), in its type, and their mask at its size: bits if `dtype` is None."""
    batch, channels, height, width = y.shape
    pooled = y.new_empty(batch, channels, height // 2, width // 2)
    shape = (packed_bytes(y.numel()),) if dtype is None else tuple(y.shape)
    mask = torch.zeros(shape, dtype=dtype or torch.uint8, device=y.device)
    for rows in _blocks(y, scratch):
        with scratch:
            block = scratch.take(tuple(y[rows].shape), torch.float32).copy_(y[rows])
            flags = scratch.take(tuple(block.shape), torch.float32).zero_()
            values, chosen = corners(block), corners(flags)
            largest = torch.maximum(torch.maximum(*values[:2]), torch.maximum(*values[2:]))
            pooled[rows].copy_(largest)
            for corner, value in zip(chosen, values, strict=True):
                corner.copy_(value == largest)
            _first_(chosen)
            if dtype is None:
                small = scratch.take(tuple(block.shape), torch.int8).copy_(flags)
                pack_flags_(small, mask[_bits_of(rows, y[0].numel())], scratch)
            else:
                mask[rows].copy_(flags)
    return pooled, mask


def max_unpool(gradient: Tensor, mask: Tensor, out: Tensor, scratch: Scratch) -> None:
    """Fill `out` (B × C × H × W) with `gradient` (pooled) at the places of the mask that the pooling gave, else 0."""
    for rows in _blocks(out, scratch):
        with scratch:
            full = scratch.take(tuple(out[rows].shape), torch.float32)
            if mask.dtype == torch.uint8:
                unpack_into(mask[_bits_of(rows, out[0].numel())], full, scratch, low=0)
            else:
                full.copy_(mask[rows])
            for corner in corners(full):
                corner.mul_(gradient[rows])
            out[rows].copy_(full)


def _signs_first(known: Tensor, rows: slice, shape: tuple[int, ...], scratch: Scratch) -> Tensor:
    """Return a 0/1 float32 block that marks the chosen place of each window, from packed signs or from real X⁺."""
    full = scratch.take(shape, torch.float32)
    if known.dtype == torch.uint8:
        size = shape[1] * shape[2] * shape[3]
        unpack_into(known[_bits_of(rows, size)], full, scratch, low=0)
    else:
        signs_into(known.view(-1, *shape[1:])[rows], full).add_(1).mul_(0.5)
    chosen = corners(full)
    none = torch.maximum(torch.maximum(*chosen[:2]), torch.maximum(*chosen[2:])).neg_().add_(1)
    _first_(chosen)
    chosen[0].add_(none)
    return full


def sign_pool(
    x_plus: Tensor, known: Tensor, keep: Keep | None, places: Tensor | None, scratch: Scratch
) -> Tensor:
    """Return X⁺ (B × C × H × W) at the place of the pooled sign.

    `keep` sees the result block by block; `places`, if given, is filled with the mask of the places, at X⁺'s size.
    """
    batch, channels, height, width = x_plus.shape
    pooled = x_plus.new_empty(batch, channels, height // 2, width // 2)
    for rows in _blocks(x_plus, scratch):
        with scratch:
            full = _signs_first(known, rows, tuple(x_plus[rows].shape), scratch)
            value = scratch.take(tuple(pooled[rows].shape), torch.float32).zero_()
            for corner, at in zip(corners(x_plus[rows]), corners(full), strict=True):
                value.addcmul_(corner.float(), at)
            pooled[rows].copy_(value)
            if places is not None:
                places[rows].copy_(_without_rest_(full))
            if keep is not None:
                keep.see_(rows, value.flatten(2), scratch)
    return pooled


def _without_rest_(full: Tensor) -> Tensor:
    """Zero what an odd height or width leaves over: it is in no window and has no gradient."""
    full[..., full.shape[2] // 2 * 2 :, :] = 0
    full[..., full.shape[3] // 2 * 2 :] = 0
    return full


def sign_unpool(gradient: Tensor, known: Tensor, out: Tensor, scratch: Scratch) -> None:
    """Fill `out` (B × C × H × W) with `gradient` (pooled) at the places of the pooled signs, else 0."""
    for rows in _blocks(out, scratch):
        with scratch:
            full = _signs_first(known, rows, tuple(out[rows].shape), scratch)
            for corner in corners(_without_rest_(full)):
                corner.mul_(gradient[rows])
            out[rows].copy_(full)
