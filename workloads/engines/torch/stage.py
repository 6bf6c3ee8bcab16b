"""One stage of a network: product → pooling if any → batch normalisation → what the recipe retains.

The data flow between stages is (X⁺, packed signs, packed mask). X⁺ carries the gradient through autograd; signs and
mask are outputs of one stage and inputs of the next, so both retain the same storage, once. `StageFunction` keeps
nothing but what it hands to `save_for_backward`: saved-tensor hooks see every retained byte.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from workloads.engines.torch import conv, dense, processes, stage_backward
from workloads.engines.torch.bits import packed_bytes
from workloads.engines.torch.flow import Activations, keeps_mask, retains_signs, source_of
from workloads.engines.torch.layer import DTYPES, Layer
from workloads.engines.torch.norm import Keep, moments, normalise_, scale_of
from workloads.engines.torch.pooling import max_pool, sign_pool


class Output(NamedTuple):
    """What a stage's forward pass leaves.

    `known` is what the norm's backward pass reads: packed X̂⁺ or real X⁺, before any pooling of signs. `omega` is
    mean|X⁺| (float32) where signs are retained. `places` is the mask of a pooling, where one is kept.
    """

    flow: Activations
    known: Tensor
    omega: Tensor | None
    places: Tensor | None


# Given Y (batch × channels × positions), returns μ and the scale to divide by.
Statistics = Callable[[Tensor], tuple[Tensor, Tensor]]


def evaluate(layer: Layer, x: Activations) -> Activations:
    """Run a stage with the moving averages; nothing is retained beyond what the next stage reads."""
    return _forward(layer, x, lambda y: (layer.moving[0], layer.moving_scale())).flow


def recalibrate(layer: Layer, x: Activations) -> Activations:
    """Run a stage with the statistics of this batch and take them into the plain average."""
    return _forward(layer, x, lambda y: averaged_statistics(layer, y)).flow


def train(layer: Layer, x: Activations) -> Activations:
    """Run a stage so that autograd can go back through it."""
    outputs = StageFunction.apply(layer, x.real, x.bits, x.mask, layer.beta)  # type: ignore[no-untyped-call]
    return Activations(*outputs)


def _statistics(layer: Layer, y: Tensor, tell: Callable[[Tensor, Tensor], None]) -> tuple[Tensor, Tensor]:
    """Return μ and the scale of Y over the batch; `tell` takes μ and the spread."""
    mean, spread = moments(y, layer.norm, layer.scratch)
    tell(mean, spread)
    return mean, scale_of(spread, layer.norm)


def observed_statistics(layer: Layer, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return μ and the scale of Y over the batch, and take the batch into the moving averages."""
    items = len(y) * processes.current().count
    return _statistics(layer, y, lambda mean, spread: layer.observe(mean, spread, items))


def averaged_statistics(layer: Layer, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the same, and take the batch into the plain average of a recalibration."""
    return _statistics(layer, y, lambda mean, spread: layer.average(mean, spread, len(y)))


def _forward(layer: Layer, x: Activations, statistics: Statistics) -> Output:
    stage, scratch = layer.stage, layer.scratch
    y, places = _product(layer, x), None
    if stage.pool == "before_norm":
        dtype = None if layer.recipe.pool_mask == "bit" else DTYPES[layer.recipe.pool_mask]
        y, places = max_pool(y, dtype, scratch)
    mean, scale = statistics(y.flatten(2))
    pooled = stage.pool == "after_sign"
    keep = _keep(layer, y.numel(), with_mask=not pooled)
    normalise_(y.flatten(2), mean, scale, layer.beta.detach(), scratch, keep)
    known = y if keep is None else keep.bits
    omega = None if keep is None else keep.omega(y.numel())
    if pooled:
        keep = _keep(layer, len(y) * stage.pooled_outputs, with_mask=True)
        if keep is None:  # of retained bits, the places can be seen in the bits
            places = torch.empty_like(y, dtype=DTYPES[layer.recipe.pool_mask])
        y = sign_pool(y, known, keep, places, scratch)
    flow = Activations(y.flatten(1)) if keep is None else Activations(y.flatten(1), keep.bits, keep.mask)
    return Output(flow, known, omega, places)


def _product(layer: Layer, x: Activations) -> Tensor:
    """Return Y in the recipe's type, batch × channels × height × width."""
    source, stage = source_of(layer, x), layer.stage
    y = layer.allocate("dX_Y", x.real.shape[0], stage.outputs)
    if stage.kind == "conv":
        conv.forward(stage, source, layer.weights, y, layer.scratch)
    else:
        dense.forward(source, layer.weights, y, layer.scratch)
    return y.view(-1, stage.out_channels, stage.out_height, stage.out_width)


def _keep(layer: Layer, elements: int, *, with_mask: bool) -> Keep | None:
    """Return room for the packed signs (and mask) of so many elements, or None where real X⁺ is retained."""
    if not retains_signs(layer):
        return None
    bits = torch.empty(packed_bytes(elements), dtype=torch.uint8, device=layer.beta.device)
    return Keep(
        bits, torch.empty_like(bits) if with_mask and keeps_mask(layer) else None, layer.stage.out_channels
    )


class StageFunction(torch.autograd.Function):
    """The autograd node of a stage.

    Retained under `lowmem`: its input's packed signs and mask, its output's packed signs, and μ, ψ, ω per channel
    (of the last stage: X⁺, μ, ψ); under recipes with real activations: X, X⁺, μ and the scale; of a pooling, its
    mask. The gradients of W and β go to the layer's own buffers, and ∂Y overwrites ∂X⁺.
    """

    @staticmethod
    def forward(
        ctx: Any, layer: Layer, real: Tensor, bits: Tensor | None, mask: Tensor | None, beta: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return X⁺, its signs and its mask; `beta` ties the first stage into the graph."""
        seen: list[Tensor] = []

        def statistics(y: Tensor) -> tuple[Tensor, Tensor]:
            seen.extend(observed_statistics(layer, y))
            return seen[0], seen[1]

        out = _forward(layer, Activations(real, bits, mask), statistics)
        if layer.by_sign:
            assert out.omega is not None
            seen.append(out.omega)
        channel = torch.stack(seen).to(DTYPES[layer.recipe.statistic])
        ctx.layer = layer
        input_ = real if bits is None or layer.stage.real_input else None
        ctx.save_for_backward(input_, bits, mask, out.known, channel, out.places)
        _name(layer, channel, out)
        ctx.mark_non_differentiable(*(t for t in out.flow[1:] if t is not None))
        ctx.set_materialize_grads(False)
        return out.flow.real, out.flow.bits, out.flow.mask

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return ∂X for the stage before."""
        layer: Layer = ctx.layer
        real, bits, mask, known, channel, places = ctx.saved_tensors
        gradient = gradients[0]
        assert gradient is not None
        gradient = stage_backward.before_pooled_signs(layer, gradient, known, places)
        stage_backward.through_own_norm(layer, gradient, known, channel)
        gradient = stage_backward.before_pooling(layer, gradient, places)
        return None, stage_backward.through_product(layer, gradient, real, bits, mask), None, None, None


def _name(layer: Layer, channel: Tensor, out: Output) -> None:
    """Tell the ledger the class of what is retained beside the flow between stages."""
    layer.retained = {channel.untyped_storage().data_ptr(): "mu_psi"}
    if out.places is not None:
        layer.retained[out.places.untyped_storage().data_ptr()] = "masks"
    if layer.stage.pool == "after_sign":
        layer.retained[out.known.untyped_storage().data_ptr()] = "X"
