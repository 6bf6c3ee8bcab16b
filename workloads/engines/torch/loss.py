"""Softmax cross-entropy, and the loss scale that keeps float16 gradients out of their subnormals."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from workloads.engines.torch import processes

# The largest element of the scaled gradient of the logits lies in [16, 32): 2048 times below float16's maximum, 2^18
# above its normal minimum.
_SCALED_PEAK = 32.0


class Loss(NamedTuple):
    """Mean cross-entropy; the gradient of the logits in their type; what takes its scale off again."""

    mean: float
    gradient: Tensor
    unscale: float


def cross_entropy(logits: Tensor, labels: Tensor, sharpness: float = 1.0) -> Loss:
    """Return the loss of `sharpness` · `logits` (batch × classes) against `labels` (int64, batch).

    Batch-normalised logits have a fixed spread, so softmax cannot become sure and items learned long ago go on
    pulling; a sharpness above 1 lets the hard ones count.

    float32 logits get the gradient of the mean, (softmax − onehot) / batch. float16 logits get
    (softmax − onehot) · 2^k, with k chosen each step from the largest element and never divided by the batch:
    `unscale` = 2^-k then leads to the gradient of the summed loss.
    """
    log_p = torch.log_softmax(logits.float().mul(sharpness), 1)
    batch = logits.shape[0]
    mean = -float(log_p.gather(1, labels.unsqueeze(1)).mean())
    gradient = log_p.exp_()
    gradient[torch.arange(batch, device=logits.device), labels] -= 1
    if logits.dtype == torch.float32:
        return Loss(mean, gradient.mul_(sharpness / batch), 1.0)
    peak = processes.current().max(float(gradient.abs().max()))  # one scale for the whole batch
    exponent = math.floor(math.log2(_SCALED_PEAK / peak)) if 0 < peak < math.inf else 0
    return Loss(mean, gradient.mul_(2.0**exponent).to(logits.dtype), 2.0**-exponent * sharpness)


class _Seed(torch.autograd.Function):
    """A scalar whose gradient with respect to the logits is the one given."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, gradient: Tensor) -> Tensor:
        ctx.gradient = gradient
        return logits.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None]:
        return ctx.gradient, None


def propagate(logits: Tensor, gradient: Tensor) -> None:
    """Run the backward pass from the logits' gradient.

    `torch.autograd.backward(logits, gradient)` would do, but checking a gradient it is given imports SymPy, 36 MiB
    and a second that no training needs; from a scalar it makes its own.
    """
    _Seed.apply(logits, gradient).backward()  # type: ignore[no-untyped-call]
