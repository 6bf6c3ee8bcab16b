"""One stage of a network: product → batch normalisation → what the recipe retains.

The data flow between stages is (X⁺, packed signs, packed mask). X⁺ carries the gradient through autograd; signs and
mask are outputs of one stage and inputs of the next, so both retain the same storage, once. `StageFunction` keeps
nothing but what it hands to `save_for_backward`: saved-tensor hooks see every retained byte.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from workloads.engines.torch import dense
from workloads.engines.torch.bits import packed_bytes
from workloads.engines.torch.gradients import OutputGradient, RealGradient
from workloads.engines.torch.layer import DTYPES, Layer
from workloads.engines.torch.norm import FromOutput, FromSigns, Keep, backward_, moments, normalise_, scale_of
from workloads.engines.torch.quantise import QuantisedGradient
from workloads.engines.torch.rounding import saturate_into
from workloads.engines.torch.sources import ImageSource, PackedSource, RealSource, Source


class Activations(NamedTuple):
    """What flows from stage to stage. `real` is X⁺ (batch × features), or the image's pixels (uint8).

    Of X, `bits` and `mask` are the packed signs and straight-through mask where the recipe retains those; of an
    image, `bits` is the retained real image where the recipe keeps one.
    """

    real: Tensor
    bits: Tensor | None = None
    mask: Tensor | None = None


def source_of(layer: Layer, x: Activations) -> Source:
    """Return the view of a stage's input that its products read."""
    if layer.stage.real_input:
        return ImageSource(x.real, x.bits)
    if layer.recipe.activation == "bit":
        assert x.bits is not None
        return PackedSource(x.bits, x.mask, layer.stage.inputs)
    return RealSource(x.real)


def evaluate(layer: Layer, x: Activations) -> Activations:
    """Run a stage with the moving averages; nothing is retained beyond what the next stage reads."""
    y = _product(layer, x)
    return _normalised(layer, y, layer.moving[0], layer.moving_scale())[0]


def recalibrate(layer: Layer, x: Activations) -> Activations:
    """Run a stage with the statistics of this batch and take them into the plain average."""
    y = _product(layer, x)
    mean, spread = moments(y, layer.norm, layer.scratch)
    layer.accumulate(mean, spread)
    return _normalised(layer, y, mean, scale_of(spread, layer.norm))[0]


def train(layer: Layer, x: Activations) -> Activations:
    """Run a stage so that autograd can go back through it."""
    outputs = StageFunction.apply(layer, x.real, x.bits, x.mask, layer.beta)  # type: ignore[no-untyped-call]
    return Activations(*outputs)


def _product(layer: Layer, x: Activations) -> Tensor:
    """Return Y in the recipe's type, as batch × channels × positions."""
    source = source_of(layer, x)
    batch = x.real.shape[0]
    y = layer.allocate("dX_Y", batch, layer.stage.outputs)
    dense.forward(source, layer.weights, y, layer.scratch)
    return y.view(batch, layer.stage.out_channels, -1)


def _normalised(layer: Layer, y: Tensor, mean: Tensor, scale: Tensor) -> tuple[Activations, Tensor | None]:
    """Turn Y into X⁺ in place and retain what the recipe says; return it and ω (float32) where there is one."""
    keep = None
    if layer.recipe.activation == "bit":
        size = packed_bytes(y.numel())
        bits = torch.empty(size, dtype=torch.uint8, device=y.device)
        mask = torch.empty_like(bits) if layer.recipe.ste_mask == "kept" and not layer.is_last else None
        keep = Keep(bits, mask, y.shape[1])
    normalise_(y, mean, scale, layer.beta.detach(), layer.scratch, keep)
    flat = y.view(y.shape[0], -1)
    if keep is None:
        return Activations(flat), None
    return Activations(flat, keep.bits, keep.mask), keep.magnitude / (y.shape[0] * y.shape[2])


class StageFunction(torch.autograd.Function):
    """The autograd node of a stage.

    Retained under `lowmem`: its input's packed signs and mask, its output's packed signs, and μ, ψ, ω per channel;
    under recipes with real activations: X, X⁺, μ and the scale. The gradients of W and β go to the layer's own
    buffers, and ∂Y overwrites ∂X⁺.
    """

    @staticmethod
    def forward(
        ctx: Any, layer: Layer, real: Tensor, bits: Tensor | None, mask: Tensor | None, beta: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return X⁺, its signs and its mask; `beta` ties the first stage into the graph."""
        x = Activations(real, bits, mask)
        y = _product(layer, x)
        mean, spread = moments(y, layer.norm, layer.scratch)
        layer.observe(mean, spread)
        scale = scale_of(spread, layer.norm)
        out, omega = _normalised(layer, y, mean, scale)
        channel = torch.stack([mean, scale] if omega is None else [mean, scale, omega])
        retain_input = real if bits is None or layer.stage.real_input else None
        retain_output = out.real if out.bits is None else out.bits
        ctx.layer = layer
        ctx.save_for_backward(
            retain_input, bits, mask, retain_output, channel.to(DTYPES[layer.recipe.statistic])
        )
        ctx.mark_non_differentiable(*(t for t in (out.bits, out.mask) if t is not None))
        ctx.set_materialize_grads(False)
        return out.real, out.bits, out.mask

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return ∂X for the stage before."""
        layer: Layer = ctx.layer
        real, bits, mask, output, channel = ctx.saved_tensors
        gradient = gradients[0]
        assert gradient is not None
        _through_norm(layer, gradient, output, channel)
        return None, _through_product(layer, gradient, real, bits, mask), None, None, None


def _through_norm(layer: Layer, gradient: Tensor, output: Tensor, channel: Tensor) -> None:
    """Overwrite ∂X⁺ with ∂Y and leave ∂β in the layer."""
    shape = (gradient.shape[0], layer.stage.out_channels, -1)
    known = (
        FromSigns(output)
        if layer.recipe.activation == "bit"
        else FromOutput(output.view(shape), layer.beta.detach())
    )
    omega = channel[2] if layer.norm == "l1_sign" else None
    sums, saturated = backward_(gradient.view(shape), layer.norm, channel[1], omega, known, layer.scratch)
    layer.saturated += saturated + saturate_into(layer.beta_gradient, sums.mul_(layer.unscale))


def _output_gradient(layer: Layer, gradient: Tensor) -> OutputGradient:
    """Return ∂Y in the recipe's type. A quantised ∂Y gives the memory of the real one back before ∂X is allocated."""
    kind = layer.recipe.output_gradient
    if kind in DTYPES:
        dy: OutputGradient = RealGradient(gradient)
    else:
        dy = QuantisedGradient(gradient.view(gradient.shape[0], -1), kind, layer.scratch)
        layer.transient["dX_Y"] = max(layer.transient["dX_Y"], gradient.nbytes)
        gradient.untyped_storage().resize_(0)
    layer.transient["dY"] = max(layer.transient["dY"], dy.nbytes)
    return dy


def _through_product(
    layer: Layer, gradient: Tensor, real: Tensor | None, bits: Tensor | None, mask: Tensor | None
) -> Tensor | None:
    """Leave ∂W in the layer; return ∂X, or None where the input is the image."""
    batch = gradient.shape[0]
    source = source_of(layer, Activations(gradient if real is None else real, bits, mask))
    dy = _output_gradient(layer, gradient)
    layer.saturated += dense.weight_gradient(dy, batch, source, layer.gradient, layer.scratch)
    if layer.stage.real_input:
        return None
    dx = layer.allocate("dX_Y", batch, layer.stage.inputs)
    layer.saturated += dense.input_gradient(dy, layer.weights, source, dx, layer.scratch)
    return dx
