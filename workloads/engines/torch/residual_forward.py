"""The forward pass of a residual network's stage: product, norm or bias, pooling, and the shortcut added in place."""

from typing import NamedTuple

import torch
from torch import Tensor

from workloads.engines.torch import averaging, conv, flow, overlapping
from workloads.engines.torch.bits import packed_bytes
from workloads.engines.torch.flow import Activations
from workloads.engines.torch.layer import DTYPES, Layer
from workloads.engines.torch.norm import Keep, blocks, normalise_
from workloads.engines.torch.rounding import saturate_into
from workloads.engines.torch.sources import RealSource, Source, ValueSource
from workloads.engines.torch.stage import Statistics


class Output(NamedTuple):
    """What a forward pass leaves. `averaged` is what the product read, if that is an average.

    `known` is what the norm's backward pass reads: packed signs of its output, or the output, or the sum it went into.
    """

    flow: Activations
    averaged: Tensor | None
    known: Tensor | None
    omega: Tensor | None
    places: Tensor | None


def run(layer: Layer, x: Activations, statistics: Statistics) -> Output:
    """Run a stage that is not plain; `statistics` gives μ and the scale that its norm takes."""
    each, batch = layer.stage, x.real.shape[0]
    averaged = averaging.average(layer, x.real) if each.average > 1 else None
    y = layer.allocate("dX_Y", batch, each.outputs)
    conv.forward(each, source_of(layer, x, averaged), layer.weights, y, layer.scratch)
    known = omega = places = None
    if each.norm:
        known, omega = _normalise(layer, y, statistics)
    else:
        _add_bias(layer, y)
    if each.pool == "max3":
        dtype = DTYPES.get(layer.recipe.overlap_mask)
        y, places = overlapping.max_pool(
            y.view(batch, each.out_channels, each.out_height, -1), dtype, layer.scratch
        )
        y = y.flatten(1)
    if each.side:
        return Output(x._replace(branch=y), averaged, known, omega, places)
    shortcut = {"none": None, "identity": x.real, "projection": x.branch}[each.shortcut]
    return Output(_add(layer, y, shortcut), averaged, known, omega, places)


def source_of(layer: Layer, x: Activations, averaged: Tensor | None) -> Source:
    """Return what the product reads: the image, an average, signs, or a real X of which the signs are taken."""
    each = layer.stage
    if averaged is not None or not (each.binary or each.real_input):
        return ValueSource(x.real if averaged is None else averaged)
    if each.real_input or layer.recipe.activation == "bit":
        return flow.source_of(layer, x)
    clip_at = None if layer.recipe.ste_mask == "none" else each.clip_at
    return RealSource(x.real, clip_at, polynomial=each.straight_through == "polynomial")


def _normalise(layer: Layer, y: Tensor, statistics: Statistics) -> tuple[Tensor, Tensor | None]:
    """Overwrite Y with X⁺; return what the backward pass will know of it, and mean|X⁺| where that is its signs."""
    maps = y.view(len(y), layer.stage.out_channels, -1)
    mean, scale = statistics(maps)
    if layer.recipe.activation != "bit":
        normalise_(maps, mean, scale, layer.beta.detach(), layer.scratch, None)
        return y, None
    keep = Keep(_bits(layer, y.numel()), None, layer.stage.out_channels)
    normalise_(maps, mean, scale, layer.beta.detach(), layer.scratch, keep)
    return keep.bits, keep.omega(y.numel())


def _bits(layer: Layer, elements: int) -> Tensor:
    return torch.empty(packed_bytes(elements), dtype=torch.uint8, device=layer.beta.device)


def _add_bias(layer: Layer, y: Tensor) -> None:
    """Add β to Y (B × channels)."""
    for rows, block in blocks(y.unsqueeze(2), layer.scratch):
        layer.saturated += saturate_into(y[rows], block.squeeze(2).add_(layer.beta.detach()))


def _add(layer: Layer, y: Tensor, shortcut: Tensor | None) -> Activations:
    """Add the shortcut to Y (B × features) in place; return the sum with what the recipe retains of it."""
    keep = None
    if layer.recipe.activation == "bit" and layer.read_by_sign:
        each = layer.stage
        # A bit cannot tell |X|: for the polynomial the border of its support stands (`specification.Stage`).
        clip_at = 1.0 if each.straight_through == "polynomial" else each.clip_at
        mask = _bits(layer, y.numel()) if layer.recipe.ste_mask == "kept" else None
        keep = Keep(_bits(layer, y.numel()), mask, each.out_channels, clip_at)
    if shortcut is None and keep is None:
        return Activations(y)
    for rows, block in blocks(y.view(len(y), layer.stage.out_channels, -1), layer.scratch):
        if shortcut is not None:
            flat = block.view(len(block), -1).add_(shortcut[rows])
            layer.saturated += saturate_into(y[rows], flat)
        if keep is not None:
            keep.see_(rows, block, layer.scratch)
    return Activations(y) if keep is None else Activations(y, keep.bits, keep.mask)
