"""The stages of residual networks: what surrounds binary convolutions with shortcuts (`workloads.residual_memory`).

Four kinds. The *first*: a real convolution of the image, norm, overlapping max-pool. A *sum*: a binary convolution, its
norm, plus its own input or the projection of it. A *side* stage: that projection, which reads averages of what the
sum after it reads; it hands its input on, so that on the way back ∂X of the sum arrives there first and its own is
added to it in place. The *head*: a dense layer of averages, with a bias and no norm.

Here is what a training calls, and the autograd node; `residual_forward` and `residual_backward` have the two passes.
"""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from workloads.engines.torch import residual_backward, residual_forward, stage
from workloads.engines.torch.flow import Activations
from workloads.engines.torch.layer import DTYPES, Layer


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
    return residual_forward.run(layer, x, lambda y: (layer.moving[0], layer.moving_scale())).flow


def recalibrate(layer: Layer, x: Activations) -> Activations:
    """Run a stage of any network with this batch's statistics and take them into the plain average."""
    if layer.stage.is_plain:
        return stage.recalibrate(layer, x)
    return residual_forward.run(layer, x, lambda y: stage.averaged_statistics(layer, y)).flow


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
            seen.extend(stage.observed_statistics(layer, y))
            return seen[0], seen[1]

        x = Activations(real, bits, mask, branch)
        out = residual_forward.run(layer, x, statistics)
        if out.omega is not None:
            seen.append(out.omega)
        channel = torch.stack(seen).to(DTYPES[layer.recipe.statistic]) if seen else None
        kept = residual_backward.kept_of(layer, x, out, channel)
        ctx.layer = layer
        ctx.save_for_backward(*kept)
        residual_backward.name_retained(layer, kept)
        ctx.set_materialize_grads(False)
        if layer.stage.side:
            return real, None, None, out.flow.branch
        ctx.mark_non_differentiable(*(t for t in (out.flow.bits, out.flow.mask) if t is not None))
        return out.flow.real, out.flow.bits, out.flow.mask, None

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return ∂X, and of a sum with a projection the gradient of that."""
        layer: Layer = ctx.layer
        kept = residual_backward.Kept(*ctx.saved_tensors)
        own = gradients[3] if layer.stage.side else gradients[0]
        assert own is not None
        dx: Tensor | None = None
        branch: Tensor | None = None
        if layer.stage.side:
            dx = residual_backward.of_side(layer, own, gradients[0], kept)
        elif layer.stage.real_input:
            residual_backward.of_first(layer, own, kept)
        elif layer.stage.shortcut == "none":
            dx = residual_backward.of_head(layer, own, kept)
        else:
            dx, branch = residual_backward.of_sum(layer, own, kept)
        return None, dx, None, None, branch, None
