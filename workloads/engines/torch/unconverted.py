"""Says which layers `convert` leaves as they are although a binary network's memory may be in them.

What is replaced is chosen by class, so that a layer of another class, a `Conv1d` say, stays, and keeps its input in
full for the backward pass. That is right and no error, but it should not go unsaid: the network would retain more
than its user expects.
"""

import warnings
from collections.abc import Iterator

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from workloads.engines.torch.modules import BinaryConv2d, BinaryLinear, L1BatchNorm, MaxPool2d, Sign
from workloads.errors import UnconvertedWarning

_DROP_IN = (BinaryConv2d, BinaryLinear, L1BatchNorm, MaxPool2d, Sign)
_PRODUCTS = (_ConvNd, nn.Bilinear, nn.RNNBase, nn.RNNCellBase)
_NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, nn.LocalResponseNorm)
_MAX_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d,
              nn.AdaptiveMaxPool3d, nn.FractionalMaxPool2d, nn.FractionalMaxPool3d)  # fmt: skip
_READS_NUMBERS_OF_ROWS = (nn.Embedding, nn.EmbeddingBag)


def warn(model: nn.Module, passed_over: set[int], stacklevel: int) -> None:
    """Warn of every layer left in `model`, by name; `passed_over` are the identities of modules that are no matter.

    `stacklevel` is that of `warnings.warn`, counted from the caller.
    """
    for name, reason in _left(model, passed_over):
        warnings.warn(
            f"'{name}' stays as it is, {reason}; name it in `keep` if that is meant",
            UnconvertedWarning,
            stacklevel=stacklevel + 1,
        )


def _left(model: nn.Module, passed_over: set[int]) -> Iterator[tuple[str, str]]:
    """Yield name and reason of each layer that stays, in the order of registration."""
    for name, module in model.named_modules():
        if id(module) not in passed_over and (reason := _reason(module)):
            yield name, reason


def _reason(module: nn.Module) -> str:
    """Return why this layer stays and what it retains, or nothing."""
    kind = type(module).__name__
    if isinstance(module, _DROP_IN):
        return ""
    if isinstance(module, _PRODUCTS):
        return f"and retains its input in full: `convert` has no binary counterpart of a {kind}"
    if isinstance(module, _NORMS):
        return f"and retains its input in full: `convert` has no counterpart of a {kind}"
    if isinstance(module, _MAX_POOLS):
        return (
            f"and retains its input in full and an int64 a maximum: only of an nn.MaxPool2d of 2×2 windows side by "
            f"side has `convert` a counterpart, not of this {kind}"
        )
    if _has_matrix(module):
        return (
            f"with all that it retains: its class {kind} has weights of its own and is derived from neither nn.Linear "
            "nor nn.Conv2d"
        )
    return ""


def _has_matrix(module: nn.Module) -> bool:
    """Tell whether a module without others in it has a weight: a parameter that is more than a number a channel.

    Of one with others in it `keep` would keep those too, so that nothing could be advised.
    """
    if isinstance(module, _READS_NUMBERS_OF_ROWS) or any(True for _ in module.children()):
        return False
    return any(sum(size > 1 for size in each.shape) > 1 for each in module.parameters())
