"""The three products of a dense stage: Y = X̂ Ŵᵀ, ∂X = ∂Y Ŵ, ∂W = ∂Yᵀ X̂. Weights are outputs × inputs (N × K).

All work in tiles of scratch: signs are expanded where they are used and nowhere kept. Y is an integer product where the
machine has a fast one, and exact either way. The gradients are multiplied in float32: torch's float16 product on the
CPU is 200 times slower.
"""

import platform
from collections.abc import Iterator

import torch
from torch import Tensor

from workloads.engines.torch.gradients import OutputGradient, WeightGradient
from workloads.engines.torch.rounding import saturate_into
from workloads.engines.torch.scratch import Scratch
from workloads.engines.torch.sources import Source
from workloads.engines.torch.weights import Weights

# oneDNN has an int8 product for x86-64; elsewhere torch's own is a plain loop, and CUDA's wants multiples of 8.
INTEGER_PRODUCT = platform.machine() in ("x86_64", "AMD64")


def spans(total: int, step: int) -> Iterator[slice]:
    """Cut 0..total into slices of `step`, the last one shorter."""
    for start in range(0, total, step):
        yield slice(start, min(total, start + step))


def _column_tiles(features: int, width: int) -> Iterator[slice]:
    """Cut the features at multiples of 8, where packed rows can be cut; not at all if they end within a byte."""
    return spans(features, max(8, width // 8 * 8) if features % 8 == 0 else features)


def forward(source: Source, weights: Weights, out: Tensor, scratch: Scratch) -> None:
    """Fill `out` (B × N, the recipe's type) with Y."""
    features = source.features
    for rows in spans(out.shape[0], scratch.rows(features, 1, multiple=8)):
        with scratch:
            x = scratch.take((rows.stop - rows.start, features), torch.int8)
            source.integers(rows, x, scratch)
            for outputs in spans(weights.shape[0], scratch.rows(features, multiple=8)):
                with scratch:
                    signs = scratch.take((outputs.stop - outputs.start, features), torch.float32)
                    weights.signs(outputs, slice(0, features), signs, scratch)
                    y = _product(x, signs, scratch)
                    out[rows, outputs] = source.real(y, signs)


def _product(x: Tensor, signs: Tensor, scratch: Scratch) -> Tensor:
    """Return x · signsᵀ (float32, exact) of x (int8) and signs (float32 ±1), in scratch."""
    shape = (x.shape[0], signs.shape[0])
    y = scratch.take(shape, torch.float32)
    if INTEGER_PRODUCT and x.device.type == "cpu":
        small = scratch.take(tuple(signs.shape), torch.int8).copy_(signs)
        return y.copy_(torch._int_mm(x, small.t(), out=scratch.take(shape, torch.int32)))
    return torch.mm(scratch.take(tuple(x.shape), torch.float32).copy_(x), signs.t(), out=y)


def input_gradient(
    gradient: OutputGradient, weights: Weights, source: Source, out: Tensor, scratch: Scratch
) -> int:
    """Fill `out` (B × K) with ∂X = (∂Y Ŵ) ∘ 1[|X| ≤ 1]; return how many elements saturated."""
    outputs, features = weights.shape
    saturated = 0
    for columns in _column_tiles(features, scratch.rows(outputs)):
        with scratch:
            signs = scratch.take((outputs, columns.stop - columns.start), torch.float32)
            weights.signs(slice(0, outputs), columns, signs, scratch)
            for rows in spans(out.shape[0], scratch.rows(max(signs.shape), multiple=8)):
                with scratch:
                    dy = gradient.rows(rows, scratch)
                    dx = scratch.take((dy.shape[0], signs.shape[1]), torch.float32)
                    torch.mm(dy, signs, out=dx)
                    source.clip(rows, columns, dx, scratch)
                    saturated += saturate_into(out[rows, columns], dx)
    return saturated


def weight_gradient(
    gradient: OutputGradient, batch: int, source: Source, sink: WeightGradient, scratch: Scratch
) -> int:
    """Hand ∂W = ∂Yᵀ X̂ to `sink`, tile by tile; return how many elements saturated."""
    outputs, features = sink.shape
    saturated = 0
    sink.begin()
    for columns in _column_tiles(features, scratch.rows(outputs)):
        width = columns.stop - columns.start
        with scratch:
            total = scratch.take((outputs, width), torch.float32)
            for rows in spans(batch, scratch.rows(max(outputs, width), multiple=8)):
                with scratch:
                    x = scratch.take((rows.stop - rows.start, width), torch.float32)
                    source.tile(rows, columns, x, scratch)
                    dy = gradient.rows(rows, scratch)
                    total.addmm_(dy.t(), x, beta=0 if rows.start == 0 else 1)
            saturated += sink.store(slice(0, outputs), columns, total, scratch)
    return saturated
