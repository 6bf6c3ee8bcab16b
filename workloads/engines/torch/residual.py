"""The stages of residual networks: what surrounds binary convolutions with shortcuts (`workloads.residual_memory`).

Four kinds. The *first*: a real convolution of the image, norm, overlapping max-pool. A *sum*: a binary convolution, its
norm, plus its own input or the projection of it. A *side* stage: that projection, which reads averages of what the
sum after it reads; it hands its input on, so that on the way back ∂X of the sum arrives there first and its own is
added to it in place. The *head*: a dense layer of averages, with a bias and no norm.

Backward, a sum needs ∂S⁺ twice, for the norm and for the shortcut: ∂Y is a second buffer, and ∂X is added to ∂S⁺ where
that lies. With a projection ∂S⁺ goes on to that, and ∂X, of twice its elements, is a third.
"""

from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from workloads.engines.torch import conv, overlapping, stage
from workloads.engines.torch.bits import packed_bytes
from workloads.engines.torch.dense import spans
from workloads.engines.torch.gradients import OutputGradient
from workloads.engines.torch.layer import DTYPES, Layer
from workloads.engines.torch.norm import (
    FromOutput,
    FromSigns,
    FromSum,
    Keep,
    Normalised,
    blocks,
    normalise_,
    per_channel,
    total,
)
from workloads.engines.torch.rounding import saturate_into
from workloads.engines.torch.sources import RealSource, Source, ValueSource
from workloads.engines.torch.stage import Activations, Statistics


def connect(layers: list[Layer]) -> None:
    """Tell every stage of a network whether a sign reads its result."""
    for before, after in pairwise(layers):
        before.read_by_sign = after.stage.binary or after.stage.side


def train(layer: Layer, x: Activations) -> Activations:
    """Run a stage of any network so that autograd can go back through it."""
    if layer.stage.is_plain:
        return stage.train(layer, x)
    outputs = ResidualFunction.apply(layer, x.real, x.bits, x.mask, x.branch, layer.beta)  # type: ignore[no-untyped-call]
    flow = Activations(*outputs)
    return flow._replace(bits=x.bits, mask=x.mask) if layer.stage.side else flow


def evaluate(layer: Layer, x: Activations) -> Activations:
    """Run a stage of any network with the moving averages."""
    if layer.stage.is_plain:
        return stage.evaluate(layer, x)
    return _forward(layer, x, lambda y: (layer.moving[0], layer.moving_scale())).flow


def recalibrate(layer: Layer, x: Activations) -> Activations:
    """Run a stage of any network with this batch's statistics and take them into the plain average."""
    if layer.stage.is_plain:
        return stage.recalibrate(layer, x)
    return _forward(layer, x, lambda y: stage.batch_statistics(layer, y, layer.accumulate)).flow


class Output(NamedTuple):
    """What a forward pass leaves. `averaged` is what the product read, if that is an average.

    `known` is what the norm's backward pass reads: packed signs of its output, or the output, or the sum it went into.
    """

    flow: Activations
    averaged: Tensor | None
    known: Tensor | None
    omega: Tensor | None
    places: Tensor | None


def _forward(layer: Layer, x: Activations, statistics: Statistics) -> Output:
    each, batch = layer.stage, x.real.shape[0]
    averaged = _average(layer, x.real) if each.average > 1 else None
    y = layer.allocate("dX_Y", batch, each.outputs)
    conv.forward(each, _source(layer, x, averaged), layer.weights, y, layer.scratch)
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


def _source(layer: Layer, x: Activations, averaged: Tensor | None) -> Source:
    """Return what the product reads: the image, an average, signs, or a real X of which the signs are taken."""
    each = layer.stage
    if averaged is not None or not (each.binary or each.real_input):
        return ValueSource(x.real if averaged is None else averaged)
    if each.real_input or layer.recipe.activation == "bit":
        return stage.source_of(layer, x)
    clip_at = None if layer.recipe.ste_mask == "none" else each.clip_at
    return RealSource(x.real, clip_at, polynomial=each.straight_through == "polynomial")


def _average(layer: Layer, x: Tensor) -> Tensor:
    """Return the means of X (B × features) over windows, B × inputs, as a real number of the recipe."""
    each = layer.stage
    out = torch.empty(len(x), each.inputs, dtype=DTYPES[layer.recipe.real], device=x.device)
    for rows, block in blocks(x.view(len(x), each.in_channels, -1), layer.scratch):
        windows = block.view(-1, each.in_height, each.average, each.in_width, each.average)
        out[rows] = layer.scratch.lent(windows.mean((2, 4))).view(len(block), -1)
    return out


def _normalise(layer: Layer, y: Tensor, statistics: Statistics) -> tuple[Tensor, Tensor | None]:
    """Overwrite Y with X⁺; return what the backward pass will know of it, and mean|X⁺| where that is its signs."""
    maps = y.view(len(y), layer.stage.out_channels, -1)
    mean, scale = statistics(maps)
    if layer.recipe.activation != "bit":
        normalise_(maps, mean, scale, layer.beta.detach(), layer.scratch, None)
        return y, None
    keep = Keep(_bits(layer, y.numel()), None, layer.stage.out_channels)
    normalise_(maps, mean, scale, layer.beta.detach(), layer.scratch, keep)
    return keep.bits, keep.magnitude * layer.stage.out_channels / y.numel()


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


class Kept(NamedTuple):
    """What a stage retains from forward to backward; `input` is the image, an average, or the real X of a sum."""

    input: Tensor | None
    bits: Tensor | None
    mask: Tensor | None
    known: Tensor | None
    shortcut: Tensor | None
    channel: Tensor | None
    places: Tensor | None


class ResidualFunction(torch.autograd.Function):
    """The autograd node of a stage. It keeps nothing but what it hands to `save_for_backward`."""

    @staticmethod
    def forward(
        ctx: Any,
        layer: Layer,
        real: Tensor,
        bits: Tensor | None,
        mask: Tensor | None,
        branch: Tensor | None,
        beta: Tensor,
    ) -> tuple[Tensor | None, ...]:
        """Return the sum, its signs and mask; or the input and, as the fourth, its projection."""
        seen: list[Tensor] = []

        def statistics(y: Tensor) -> tuple[Tensor, Tensor]:
            seen.extend(stage.batch_statistics(layer, y, layer.observe))
            return seen[0], seen[1]

        x = Activations(real, bits, mask, branch)
        out = _forward(layer, x, statistics)
        if out.omega is not None:
            seen.append(out.omega)
        channel = torch.stack(seen).to(DTYPES[layer.recipe.statistic]) if seen else None
        kept = _kept(layer, x, out, channel)
        ctx.layer = layer
        ctx.save_for_backward(*kept)
        _name(layer, kept)
        ctx.set_materialize_grads(False)
        if layer.stage.side:
            return real, None, None, out.flow.branch
        ctx.mark_non_differentiable(*(t for t in (out.flow.bits, out.flow.mask) if t is not None))
        return out.flow.real, out.flow.bits, out.flow.mask, None

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return ∂X, and of a sum with a projection the gradient of that."""
        layer: Layer = ctx.layer
        kept = Kept(*ctx.saved_tensors)
        own = gradients[3] if layer.stage.side else gradients[0]
        assert own is not None
        dx: Tensor | None = None
        branch: Tensor | None = None
        if layer.stage.side:
            dx = _backward_side(layer, own, gradients[0], kept)
        elif layer.stage.real_input:
            _backward_first(layer, own, kept)
        elif layer.stage.shortcut == "none":
            dx = _backward_head(layer, own, kept)
        else:
            dx, branch = _backward_sum(layer, own, kept)
        return None, dx, None, None, branch, None


def _kept(layer: Layer, x: Activations, out: Output, channel: Tensor | None) -> Kept:
    each = layer.stage
    if each.real_input or not each.binary:
        read = x.real if out.averaged is None else out.averaged
        return Kept(read, x.bits if each.real_input else None, None, out.known, None, channel, out.places)
    if layer.recipe.activation == "bit":
        return Kept(None, x.bits, x.mask, out.known, None, channel, None)
    # out.known is the buffer of Y, which holds the sum by now.
    return Kept(x.real, None, None, out.known, x.branch, channel, None)


def _name(layer: Layer, kept: Kept) -> None:
    """Tell the ledger the class of what is retained; the image has its name already."""
    kinds = {"channel": "mu_psi", "places": "masks", "known": "X"}
    if not layer.stage.real_input:
        kinds["input"] = "X"
    named = ((kind, getattr(kept, field)) for field, kind in kinds.items())
    layer.retained = {
        tensor.untyped_storage().data_ptr(): kind for kind, tensor in named if tensor is not None
    }


def _normalised(layer: Layer, kept: Kept) -> Normalised:
    """Return what is known of the norm's output."""
    assert kept.known is not None
    if layer.recipe.activation == "bit":
        return FromSigns(kept.known)
    beta, channels = layer.beta.detach(), layer.stage.out_channels
    known = kept.known.view(len(kept.known), channels, -1)
    if layer.stage.shortcut == "none":
        return FromOutput(known, beta)
    shortcut = kept.input if kept.shortcut is None else kept.shortcut
    assert shortcut is not None
    return FromSum(known, shortcut.view(known.shape), beta)


def _through_norm(layer: Layer, gradient: Tensor, kept: Kept) -> OutputGradient:
    """Overwrite the gradient of the norm's output with ∂Y, and return that in the recipe's type."""
    assert kept.channel is not None
    stage.through_norm(layer, gradient, _normalised(layer, kept), kept.channel, clipped=False)
    return stage.output_gradient(layer, gradient)


def _weights(layer: Layer, dy: OutputGradient, batch: int, source: Source) -> None:
    layer.saturated += conv.weight_gradient(layer.stage, dy, batch, source, layer.gradient, layer.scratch)


def _backward_first(layer: Layer, gradient: Tensor, kept: Kept) -> None:
    """Back through pooling and norm to ∂W; the image has no gradient."""
    each, batch = layer.stage, len(gradient)
    assert kept.places is not None and kept.input is not None
    full = layer.allocate("dX_Y", batch, each.outputs)
    maps = full.view(batch, each.out_channels, each.out_height, each.out_width)
    pooled = gradient.view(batch, each.out_channels, (each.out_height + 1) // 2, -1)
    overlapping.max_unpool(pooled, kept.places, maps, layer.scratch)
    stage.release(gradient)
    dy = _through_norm(layer, full, kept)
    _weights(layer, dy, batch, stage.source_of(layer, Activations(kept.input, kept.bits)))


def _backward_sum(layer: Layer, gradient: Tensor, kept: Kept) -> tuple[Tensor, Tensor | None]:
    """Return ∂X, and the gradient of the projection where there is one; else ∂X has taken the place of ∂S⁺."""
    each, batch = layer.stage, len(gradient)
    dy = _through_norm(layer, layer.allocate("dX_Y", batch, each.outputs).copy_(gradient), kept)
    x = Activations(gradient if kept.input is None else kept.input, kept.bits, kept.mask)
    source = _source(layer, x, None)
    _weights(layer, dy, batch, source)
    own = each.shortcut == "identity"
    dx = gradient if own else layer.allocate("dX_Y", batch, each.inputs)
    layer.saturated += conv.input_gradient(each, dy, layer.weights, source, dx, layer.scratch, onto=own)
    return dx, None if own else gradient


def _backward_side(layer: Layer, gradient: Tensor, dx: Tensor | None, kept: Kept) -> Tensor:
    """Add ∂X of the projection to that of the sum."""
    assert dx is not None
    dy = _through_norm(layer, gradient, kept)
    _add_spread(layer, _average_gradient(layer, dy, len(gradient), kept), dx, onto=True)
    return dx


def _backward_head(layer: Layer, gradient: Tensor, kept: Kept) -> Tensor:
    """Return ∂X of the last sum, from the gradient of the logits."""
    batch = len(gradient)
    sums = total(per_channel(block) for _, block in blocks(gradient.unsqueeze(2), layer.scratch))
    layer.saturated += saturate_into(layer.beta_gradient, sums.mul_(layer.unscale))
    dy = stage.output_gradient(layer, gradient)
    averages = _average_gradient(layer, dy, batch, kept)
    dx = layer.allocate("dX_Y", batch, layer.stage.arriving)
    _add_spread(layer, averages, dx, onto=False)
    return dx


def _average_gradient(layer: Layer, dy: OutputGradient, batch: int, kept: Kept) -> Tensor:
    """Leave ∂W in the layer; return the gradient of the averages that its product read."""
    assert kept.input is not None
    source = ValueSource(kept.input)
    _weights(layer, dy, batch, source)
    dx = layer.allocate("dX_Y", batch, layer.stage.inputs)
    layer.saturated += conv.input_gradient(layer.stage, dy, layer.weights, source, dx, layer.scratch)
    return dx


def _add_spread(layer: Layer, averages: Tensor, out: Tensor, *, onto: bool) -> None:
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
