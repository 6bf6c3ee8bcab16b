"""3×3 max-pooling of stride 2 and padding 1, and the way back. Of equal maxima the first in row order is taken.

Windows overlap, so one element may be the maximum of up to four: a mask at the inputs could not tell whose it is. The
place of each window's maximum is kept instead, 0 to 8 in row order: four bits, two to a byte, the first in the low
half; or a real number where the recipe's masks are real.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from workloads.engines.torch.scratch import Scratch

_WINDOW, _STRIDE = 3, 2


def _corners(padded: Tensor, height: int, width: int) -> list[Tensor]:
    """Return nine views of maps with a border of one: the elements of every window, in row order."""
    rows, columns = _STRIDE * (height - 1) + 1, _STRIDE * (width - 1) + 1
    return [
        padded[..., i : i + rows : _STRIDE, j : j + columns : _STRIDE]
        for i in range(_WINDOW)
        for j in range(_WINDOW)
    ]


def _blocks(maps: Tensor, pooled: int, scratch: Scratch) -> Iterator[slice]:
    """Cut M × H × W at maps, at even ones where the codes of a map do not end on a byte."""
    step = scratch.rows(maps[0].numel(), multiple=1 + pooled % 2)
    for start in range(0, len(maps), step):
        yield slice(start, min(start + step, len(maps)))


def _bytes_of(rows: slice, pooled: int) -> slice:
    return slice(rows.start * pooled // 2, (rows.stop * pooled + 1) // 2)


def max_pool(y: Tensor, dtype: torch.dtype | None, scratch: Scratch) -> tuple[Tensor, Tensor]:
    """Return the maxima of `y` (B × C × H × W), in its type, and their places: in four bits if `dtype` is None."""
    *outer, height, width = y.shape
    pooled = y.new_empty(*outer, (height + 1) // 2, (width + 1) // 2)
    shape = ((pooled.numel() + 1) // 2,) if dtype is None else tuple(pooled.shape)
    places = torch.empty(shape, dtype=dtype or torch.uint8, device=y.device)
    maps, maxima = y.flatten(0, 1), pooled.flatten(0, 1)
    count = maxima[0].numel()
    for rows in _blocks(maps, count, scratch):
        with scratch:
            best, place = _maxima(maps[rows], tuple(maxima[rows].shape), scratch)
            maxima[rows].copy_(best)
            if dtype is None:
                _pack(place, places[_bytes_of(rows, count)], scratch)
            else:
                places.flatten(0, 1)[rows].copy_(place)
    return pooled, places


def _maxima(y: Tensor, shape: tuple[int, ...], scratch: Scratch) -> tuple[Tensor, Tensor]:
    """Return the maximum and its place of every window, as float32 in scratch."""
    *outer, height, width = y.shape
    padded = scratch.take((*outer, height + 2, width + 2), torch.float32).fill_(-torch.inf)
    padded[..., 1:-1, 1:-1].copy_(y)
    first, *others = _corners(padded, shape[-2], shape[-1])
    best = scratch.take(shape, torch.float32).copy_(first)
    place = scratch.take(shape, torch.float32).zero_()
    greater = scratch.take(shape, torch.bool)
    for index, corner in enumerate(others, start=1):
        place.masked_fill_(torch.gt(corner, best, out=greater), index)
        torch.maximum(best, corner, out=best)
    return best, place


def max_unpool(gradient: Tensor, places: Tensor, out: Tensor, scratch: Scratch) -> None:
    """Fill `out` (B × C × H × W) with the sums of `gradient` (pooled) over the windows of which each is the maximum."""
    maps, pooled = out.flatten(0, 1), gradient.flatten(0, 1)
    count = pooled[0].numel()
    for rows in _blocks(maps, count, scratch):
        with scratch:
            outer, height, width = maps[rows].shape
            padded = scratch.take((outer, height + 2, width + 2), torch.float32).zero_()
            place = scratch.take(tuple(pooled[rows].shape), torch.float32)
            if places.dtype == torch.uint8:
                _unpack(places[_bytes_of(rows, count)], place, scratch)
            else:
                place.copy_(places.flatten(0, 1)[rows])
            here = scratch.take(tuple(place.shape), torch.float32)
            for index, corner in enumerate(_corners(padded, *place.shape[1:])):
                corner.add_(torch.eq(place, index, out=here).mul_(pooled[rows]))
            maps[rows].copy_(padded[..., 1:-1, 1:-1])


def _pack(place: Tensor, out: Tensor, scratch: Scratch) -> None:
    codes = scratch.take((2 * len(out),), torch.uint8)
    codes[-1] = 0
    codes[: place.numel()].copy_(place.view(-1))
    out.copy_(codes[1::2].bitwise_left_shift_(4).bitwise_or_(codes[::2]))


def _unpack(codes: Tensor, out: Tensor, scratch: Scratch) -> None:
    flat = out.view(-1)
    half = scratch.take((len(codes),), torch.uint8)
    flat[::2].copy_(torch.bitwise_and(codes, 15, out=half))
    flat[1::2].copy_(torch.bitwise_right_shift(codes, 4, out=half)[: flat.numel() // 2])
