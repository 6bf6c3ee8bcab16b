"""The way back through a stage: ∂X⁺ → ∂Y → ∂X, and ∂W and ∂β into the layer."""

import torch
from torch import Tensor

from workloads.engines.torch import conv, dense
from workloads.engines.torch.flow import Activations, keeps_mask, retains_signs, source_of
from workloads.engines.torch.gradients import OutputGradient, RealGradient
from workloads.engines.torch.layer import DTYPES, Layer
from workloads.engines.torch.norm import WITHIN_CLIP, FromOutput, FromSigns, Normalised, backward_
from workloads.engines.torch.pooling import max_unpool, sign_unpool
from workloads.engines.torch.quantise import quantise
from workloads.engines.torch.rounding import saturate_into


def release(gradient: Tensor) -> None:
    """Give a gradient's memory back although autograd still holds the tensor; nobody reads it again."""
    gradient.untyped_storage().resize_(0)


def _unpooled(layer: Layer, batch: int) -> Tensor:
    stage = layer.stage
    full = layer.allocate("dX_Y", batch, stage.outputs)
    return full.view(batch, stage.out_channels, stage.out_height, stage.out_width)


def _windows(layer: Layer, gradient: Tensor) -> Tensor:
    stage = layer.stage
    return gradient.view(len(gradient), stage.out_channels, stage.out_height // 2, stage.out_width // 2)


def before_pooled_signs(layer: Layer, gradient: Tensor, known: Tensor, places: Tensor | None) -> Tensor:
    """Go back through a pooling of signs, if there is one: ∂X⁺ at the size of X⁺."""
    if layer.stage.pool != "after_sign":
        return gradient
    full = _unpooled(layer, len(gradient))
    if places is None:
        sign_unpool(_windows(layer, gradient), known, full, layer.scratch)
    else:
        max_unpool(_windows(layer, gradient), places, full, layer.scratch)
    release(gradient)
    return full


def before_pooling(layer: Layer, gradient: Tensor, places: Tensor | None) -> Tensor:
    """Go back through a pooling before the norm, if there is one: ∂Y at the size of Y."""
    if layer.stage.pool != "before_norm":
        return gradient
    assert places is not None
    full = _unpooled(layer, len(gradient))
    max_unpool(_windows(layer, gradient), places, full, layer.scratch)
    release(gradient)
    return full


def through_own_norm(layer: Layer, gradient: Tensor, known: Tensor, channel: Tensor) -> None:
    """Go back through the norm by what its own stage retained: packed signs, or the real output."""
    if retains_signs(layer):
        normalised: Normalised = FromSigns(known)
    else:
        normalised = FromOutput(known.view(len(gradient), layer.stage.out_channels, -1), layer.beta.detach())
    through_norm(layer, gradient, normalised, channel, clipped=keeps_mask(layer))


def through_norm(
    layer: Layer, gradient: Tensor, normalised: Normalised, channel: Tensor, *, clipped: bool
) -> None:
    """Overwrite ∂X⁺ with ∂Y and leave ∂β in the layer; `channel` is what was retained: μ, the scale and ω.

    `clipped`: whether ∂X⁺ is 0 where |X⁺| > 1, so that ω is to be of the others alone. It is not where a shortcut is
    added to X⁺ before the sign is taken.
    """
    shape = (len(gradient), layer.stage.out_channels, -1)
    omega = channel[2] if layer.by_sign else None
    if omega is not None and clipped:
        omega = torch.full_like(omega, WITHIN_CLIP)
    sums, saturated = backward_(
        gradient.view(shape), layer.norm, channel[1], omega, normalised, layer.scratch, layer.beta
    )
    layer.saturated += saturated + saturate_into(layer.beta_gradient, sums.mul_(layer.unscale))


def output_gradient(layer: Layer, gradient: Tensor) -> OutputGradient:
    """Return ∂Y in the recipe's type. A quantised ∂Y gives the memory of the real one back before ∂X is allocated."""
    kind = layer.recipe.output_gradient
    if kind in DTYPES:
        dy: OutputGradient = RealGradient(gradient)
    else:
        batch = gradient.shape[0]
        dy = quantise(gradient.view(batch, -1), kind, layer.scratch, batch * layer.stage.pooled_outputs)
        layer.transient["dX_Y"] = max(layer.transient["dX_Y"], gradient.nbytes)
        release(gradient)
    layer.transient["dY"] = max(layer.transient["dY"], dy.nbytes)
    return dy


def through_product(
    layer: Layer, gradient: Tensor, real: Tensor | None, bits: Tensor | None, mask: Tensor | None
) -> Tensor | None:
    """Leave ∂W in the layer; return ∂X, or None where the input is the image."""
    stage, scratch, batch = layer.stage, layer.scratch, len(gradient)
    source = source_of(layer, Activations(gradient if real is None else real, bits, mask))
    dy = output_gradient(layer, gradient.flatten(1))
    if stage.kind == "conv":
        layer.saturated += conv.weight_gradient(stage, dy, batch, source, layer.gradient, scratch)
    else:
        layer.saturated += dense.weight_gradient(dy, batch, source, layer.gradient, scratch)
    if stage.real_input:
        return None
    dx = layer.allocate("dX_Y", batch, stage.inputs)
    if stage.kind == "conv":
        layer.saturated += conv.input_gradient(stage, dy, layer.weights, source, dx, scratch)
    else:
        layer.saturated += dense.input_gradient(dy, layer.weights, source, dx, scratch)
    return dx
