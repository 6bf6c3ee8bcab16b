"""The three products of a convolution, in float32 and in blocks of images. Weights are outputs × (inputs · k · k).

Sums of ±1 are whole numbers below 2^24, so float32 is exact (rounded, where the library's way is not). Padded positions
are zeros and contribute nothing: not −1, not +1. Blocks are larger than elsewhere because the library reorders the
weights at every call.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.grad import conv2d_input, conv2d_weight

from workloads.engines.torch import devices
from workloads.engines.torch.dense import spans
from workloads.engines.torch.gradients import OutputGradient, WeightGradient
from workloads.engines.torch.rounding import saturate_into
from workloads.engines.torch.scratch import Scratch
from workloads.engines.torch.sources import Source
from workloads.engines.torch.weights import Weights
from workloads.specification import Stage

BLOCK_BYTES = 1 << 22


def _images(stage: Stage, batch: int) -> Iterator[slice]:
    """Cut a batch into blocks of about BLOCK_BYTES, at multiples of 8 images where bits do not end on bytes."""
    step = max(1, BLOCK_BYTES // (4 * max(stage.inputs, stage.outputs)))
    if stage.inputs % 8 or stage.outputs % 8:
        step = max(8, step // 8 * 8)
    return spans(batch, step)


def _input(stage: Stage, source: Source, rows: slice, scratch: Scratch) -> Tensor:
    x = scratch.take((rows.stop - rows.start, stage.inputs), torch.float32)
    source.tile(rows, slice(0, stage.inputs), x, scratch)
    return x.view(-1, stage.in_channels, stage.in_height, stage.in_width)


def _output_gradient(stage: Stage, gradient: OutputGradient, rows: slice, scratch: Scratch) -> Tensor:
    dy = gradient.rows(rows, scratch)
    return dy.view(-1, stage.out_channels, stage.out_height, stage.out_width)


def _weight_signs(stage: Stage, weights: Weights, scratch: Scratch) -> Tensor:
    outputs, features = weights.shape
    signs = scratch.take((outputs, features), torch.float32)
    weights.signs(slice(0, outputs), slice(0, features), signs, scratch)
    return signs.view(outputs, stage.in_channels, stage.kernel, stage.kernel)


def forward(stage: Stage, source: Source, weights: Weights, out: Tensor, scratch: Scratch) -> None:
    """Fill `out` (B × outputs, the recipe's type) with Y."""
    whole = stage.binary and not stage.real_input
    with scratch:
        signs = _weight_signs(stage, weights, scratch)
        for rows in _images(stage, out.shape[0]):
            with scratch:
                x = _input(stage, source, rows, scratch)
                y = scratch.lent(functional.conv2d(x, signs, stride=stage.stride, padding=stage.padding))
                if whole and not devices.leaves_whole_sums(y.device):
                    y.round_()
                out[rows] = y.flatten(1)


def input_gradient(
    stage: Stage,
    gradient: OutputGradient,
    weights: Weights,
    source: Source,
    out: Tensor,
    scratch: Scratch,
    *,
    onto: bool = False,
) -> int:
    """Fill `out` (B × inputs) with ∂X = (∂Y ∗ Ŵᵀ) ∘ 1[|X| ≤ 1], or add it to what is there (`onto`).

    Returns how many elements saturated.
    """
    saturated = 0
    with scratch:
        signs = _weight_signs(stage, weights, scratch)
        for rows in _images(stage, out.shape[0]):
            with scratch:
                dy = _output_gradient(stage, gradient, rows, scratch)
                shape = (len(dy), stage.in_channels, stage.in_height, stage.in_width)
                dx = conv2d_input(shape, signs, dy, stage.stride, stage.padding)  # type: ignore[no-untyped-call]
                dx = scratch.lent(dx).flatten(1)
                source.clip(rows, slice(0, stage.inputs), dx, scratch)
                if onto:
                    dx.add_(out[rows])
                saturated += saturate_into(out[rows], dx)
    return saturated


def weight_gradient(
    stage: Stage, gradient: OutputGradient, batch: int, source: Source, sink: WeightGradient, scratch: Scratch
) -> int:
    """Hand ∂W to `sink`, a tile of outputs at a time; return how many elements saturated."""
    outputs, features = sink.shape
    saturated = 0
    sink.begin()
    for tile in spans(outputs, max(8, BLOCK_BYTES // (4 * features) // 8 * 8)):
        shape = (tile.stop - tile.start, stage.in_channels, stage.kernel, stage.kernel)
        with scratch:
            total = scratch.take(shape, torch.float32).zero_()
            for rows in _images(stage, batch):
                with scratch:
                    x = _input(stage, source, rows, scratch)
                    dy = _output_gradient(stage, gradient, rows, scratch)[:, tile]
                    part = conv2d_weight(x, shape, dy, stage.stride, stage.padding)  # type: ignore[no-untyped-call]
                    total += scratch.lent(part)
            saturated += sink.store(tile, slice(0, features), total.view(-1, features), scratch)
    return saturated
