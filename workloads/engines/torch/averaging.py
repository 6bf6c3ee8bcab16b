"""Averages over windows, which the projections of shortcuts and the head of a residual network read; and back."""

import torch
from torch import Tensor

from workloads.engines.torch.dense import spans
from workloads.engines.torch.layer import DTYPES, Layer
from workloads.engines.torch.norm import blocks
from workloads.engines.torch.rounding import saturate_into


def average(layer: Layer, x: Tensor) -> Tensor:
    """Return the means of X (B × features) over windows, B × inputs, as a real number of the recipe."""
    each = layer.stage
    out = torch.empty(len(x), each.inputs, dtype=DTYPES[layer.recipe.real], device=x.device)
    for rows, block in blocks(x.view(len(x), each.in_channels, -1), layer.scratch):
        windows = block.view(-1, each.in_height, each.average, each.in_width, each.average)
        out[rows] = layer.scratch.lent(windows.mean((2, 4))).view(len(block), -1)
    return out


def add_spread(layer: Layer, averages: Tensor, out: Tensor, *, onto: bool) -> None:
    """Give every element of `out` (B × arriving) its share of its window's gradient, or add it (`onto`)."""
    each, k = layer.stage, layer.stage.average
    for rows in spans(len(out), layer.scratch.rows(each.arriving)):
        with layer.scratch:
            full = layer.scratch.take((rows.stop - rows.start, each.arriving), torch.float32)
            share = layer.scratch.take((len(full), each.inputs), torch.float32)
            share.copy_(averages[rows]).div_(k * k)
            windows = full.view(-1, each.in_height, k, each.in_width, k)
            windows.copy_(share.view(-1, each.in_height, 1, each.in_width, 1).expand_as(windows))
            if onto:
                full.add_(out[rows])
            layer.saturated += saturate_into(out[rows], full)
