"""Tries a layer beside the one that is to take its place: a class may compute anything from the weights it has."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Product = nn.Linear | nn.Conv2d

_TOLERANCE = 1e-3
"""Difference allowed, in parts of the largest output: far above float32's (and TF32's) rounding, and below what one
weight of 0 that counts as 0 and not as +1 does to a product of 50,000 inputs."""

_ITEMS = 4


@torch.no_grad()
def difference(layer: Product, counterpart: Callable[[Product], nn.Module], real_input: bool) -> str:
    """Return how the outputs of `layer` and of its counterpart differ in `eval()`, or nothing.

    Both are made of copies, in float32 where the layer's type is narrower; the layer itself is never called. They are
    compared with the layer's own weights (not where it is on the meta device) and with real ones: plain weights that
    are ±1 by chance would be no signs any more after a step of training.
    """
    cuda = [layer.weight.device] if layer.weight.device.type == "cuda" else []
    with torch.random.fork_rng(cuda):
        for own_weights in (True, False):
            if own_weights and layer.weight.is_meta:
                continue
            try:
                tried = _copy(layer, own_weights)
                expected, given = _outputs(tried, counterpart(tried), real_input)
            except Exception as error:
                return f"cannot be tried by itself ({type(error).__name__}: {error})"
            if reason := _compared(expected, given):
                return f"does not compute x ∗ sgn(W) + b as its counterpart would ({reason})"
    return ""


def _copy(layer: Product, own_weights: bool) -> Product:
    """Return a copy to be called, with the layer's weights and bias or with normally distributed ones."""
    tried = copy.deepcopy(layer)
    if layer.weight.is_meta:
        tried.to_empty(device="cpu")
    if layer.weight.dtype.itemsize < 4:
        tried.float()
    if not own_weights:
        generator = torch.Generator().manual_seed(1)
        for parameter in tried.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return tried.eval()


def _outputs(layer: Product, counterpart: nn.Module, real_input: bool) -> tuple[Tensor, Any]:
    """Return what the counterpart gives, and what the layer gives."""
    x = torch.randn(_shape(layer), generator=torch.Generator().manual_seed(2))
    if not real_input:
        x = torch.where(x >= 0, 1.0, -1.0)
    x = x.to(layer.weight)
    # The counterpart first, and each with its own x: a layer may write into its weights and its input.
    return counterpart.eval()(x.clone()), layer(x.clone())


def _shape(layer: Product) -> tuple[int, ...]:
    """Return a small input's: of a convolution, with places beside the border for two windows a side."""
    if isinstance(layer, nn.Linear):
        return _ITEMS, layer.in_features
    height, width = (size + step for size, step in zip(layer.kernel_size, layer.stride, strict=True))
    return _ITEMS, layer.in_channels, height, width


def _compared(expected: Tensor, given: Any) -> str:
    """Return what `given` is in place of `expected`, or nothing."""
    if not isinstance(given, Tensor):
        return f"it gives a {type(given).__name__}, not a tensor"
    if given.shape != expected.shape:
        return f"its output is {tuple(given.shape)} in place of {tuple(expected.shape)}: padding of its own?"
    error = (given.to(expected.dtype) - expected).abs().flatten()
    at = int(error.argmax())
    if float(error[at]) <= _TOLERANCE * float(expected.abs().max()):
        return ""
    return (
        f"{float(given.flatten()[at]):.4g} in place of {float(expected.flatten()[at]):.4g}: "
        "weights of full precision, a scale, or padding of its own?"
    )
