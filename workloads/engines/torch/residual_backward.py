"""The backward passes of a residual network's stages, one a kind, and what they find retained.

A sum needs ∂S⁺ twice, for the norm and for the shortcut: ∂Y is a second buffer, and ∂X is added to ∂S⁺ where that
lies. With a projection ∂S⁺ goes on to that, and ∂X, of twice its elements, is a third.
"""

from typing import NamedTuple

from torch import Tensor

from workloads.engines.torch import averaging, conv, flow, overlapping
from workloads.engines.torch.flow import Activations
from workloads.engines.torch.gradients import OutputGradient
from workloads.engines.torch.layer import Layer
from workloads.engines.torch.norm import (
    FromOutput,
    FromSigns,
    FromSum,
    Normalised,
    blocks,
    per_channel,
    total,
)
from workloads.engines.torch.residual_forward import Output, source_of
from workloads.engines.torch.rounding import saturate_into
from workloads.engines.torch.sources import Source, ValueSource
from workloads.engines.torch.stage_backward import output_gradient, release, through_norm


class Kept(NamedTuple):
    """What a stage retains from forward to backward; `input` is the image, an average, or the real X of a sum."""

    input: Tensor | None
    bits: Tensor | None
    mask: Tensor | None
    known: Tensor | None
    shortcut: Tensor | None
    channel: Tensor | None
    places: Tensor | None


def kept_of(layer: Layer, x: Activations, out: Output, channel: Tensor | None) -> Kept:
    """Return what of the input `x` and of the forward pass is retained; `channel` is μ, the scale and ω."""
    each = layer.stage
    if each.real_input or not each.binary:
        read = x.real if out.averaged is None else out.averaged
        return Kept(read, x.bits if each.real_input else None, None, out.known, None, channel, out.places)
    if layer.recipe.activation == "bit":
        return Kept(None, x.bits, x.mask, out.known, None, channel, None)
    # out.known is the buffer of Y, which holds the sum by now.
    return Kept(x.real, None, None, out.known, x.branch, channel, None)


def name_retained(layer: Layer, kept: Kept) -> None:
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
    through_norm(layer, gradient, _normalised(layer, kept), kept.channel, clipped=False)
    return output_gradient(layer, gradient)


def _weights(layer: Layer, dy: OutputGradient, batch: int, source: Source) -> None:
    layer.saturated += conv.weight_gradient(layer.stage, dy, batch, source, layer.gradient, layer.scratch)


def of_first(layer: Layer, gradient: Tensor, kept: Kept) -> None:
    """Back through pooling and norm to ∂W; the image has no gradient."""
    each, batch = layer.stage, len(gradient)
    assert kept.places is not None and kept.input is not None
    full = layer.allocate("dX_Y", batch, each.outputs)
    maps = full.view(batch, each.out_channels, each.out_height, each.out_width)
    pooled = gradient.view(batch, each.out_channels, (each.out_height + 1) // 2, -1)
    overlapping.max_unpool(pooled, kept.places, maps, layer.scratch)
    release(gradient)
    dy = _through_norm(layer, full, kept)
    _weights(layer, dy, batch, flow.source_of(layer, Activations(kept.input, kept.bits)))


def of_sum(layer: Layer, gradient: Tensor, kept: Kept) -> tuple[Tensor, Tensor | None]:
    """Return ∂X, and the gradient of the projection where there is one; else ∂X has taken the place of ∂S⁺."""
    each, batch = layer.stage, len(gradient)
    dy = _through_norm(layer, layer.allocate("dX_Y", batch, each.outputs).copy_(gradient), kept)
    x = Activations(gradient if kept.input is None else kept.input, kept.bits, kept.mask)
    source = source_of(layer, x, None)
    _weights(layer, dy, batch, source)
    own = each.shortcut == "identity"
    dx = gradient if own else layer.allocate("dX_Y", batch, each.inputs)
    layer.saturated += conv.input_gradient(each, dy, layer.weights, source, dx, layer.scratch, onto=own)
    return dx, None if own else gradient


def of_side(layer: Layer, gradient: Tensor, dx: Tensor | None, kept: Kept) -> Tensor:
    """Add ∂X of the projection to that of the sum."""
    assert dx is not None
    dy = _through_norm(layer, gradient, kept)
    averaging.add_spread(layer, _average_gradient(layer, dy, len(gradient), kept), dx, onto=True)
    return dx


def of_head(layer: Layer, gradient: Tensor, kept: Kept) -> Tensor:
    """Return ∂X of the last sum, from the gradient of the logits."""
    batch = len(gradient)
    sums = total(per_channel(block) for _, block in blocks(gradient.unsqueeze(2), layer.scratch))
    layer.saturated += saturate_into(layer.beta_gradient, sums.mul_(layer.unscale))
    dy = output_gradient(layer, gradient)
    averages = _average_gradient(layer, dy, batch, kept)
    dx = layer.allocate("dX_Y", batch, layer.stage.arriving)
    averaging.add_spread(layer, averages, dx, onto=False)
    return dx


def _average_gradient(layer: Layer, dy: OutputGradient, batch: int, kept: Kept) -> Tensor:
    """Leave ∂W in the layer; return the gradient of the averages that its product read."""
    assert kept.input is not None
    source = ValueSource(kept.input)
    _weights(layer, dy, batch, source)
    dx = layer.allocate("dX_Y", batch, layer.stage.inputs)
    layer.saturated += conv.input_gradient(layer.stage, dy, layer.weights, source, dx, layer.scratch)
    return dx
