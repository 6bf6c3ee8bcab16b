"""Puts the modules that keep bits in the place of an ordinary network's layers.

model = convert(model, sign=MySign)     # MySign: the user's own straight-through sign module
loss.backward(); optimizer.step()       # as before
"""

from typing import cast

from torch import nn

from workloads.engines.torch.modules import BinaryConv2d, BinaryLinear, L1BatchNorm, Sign
from workloads.errors import WorkloadError


def convert(model: nn.Module, *, sign: type[nn.Module], keep: tuple[str, ...] = ()) -> nn.Module:
    """Replace, in place, the layers of a binary network by those that keep bits; return the model.

    `nn.Linear` and `nn.Conv2d` become `BinaryLinear` and `BinaryConv2d` with the same weights, `nn.BatchNorm1d` and
    `nn.BatchNorm2d` become `L1BatchNorm` with the same bias, modules of class `sign` become `Sign`. The first product
    takes real input. Modules named in `keep` (as in `named_modules`) stay as they are.

    Raises WorkloadError for a layer that has no binary counterpart here: groups or dilation.
    """
    real_input = True
    for name, module in list(model.named_modules()):
        if name in keep or not name:
            continue
        replacement = _counterpart(name, module, sign, real_input)
        if replacement is not None:
            real_input = real_input and isinstance(replacement, L1BatchNorm | Sign)
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, replacement.train(module.training))
    return model


def _counterpart(name: str, module: nn.Module, sign: type[nn.Module], real_input: bool) -> nn.Module | None:
    """Return the module that takes the place of `module`, or None where it stays."""
    if isinstance(module, sign):
        return Sign()
    if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        norm = L1BatchNorm(module.num_features)
        if isinstance(module.bias, nn.Parameter):
            norm.bias = module.bias
        return norm
    product: BinaryLinear | BinaryConv2d
    if isinstance(module, nn.Linear):
        product = BinaryLinear(module.in_features, module.out_features, real_input=real_input)
    elif isinstance(module, nn.Conv2d):
        if module.groups != 1 or module.dilation != (1, 1) or isinstance(module.padding, str):
            raise WorkloadError(f"'{name}' has groups, dilation or named padding; name it in `keep`")
        size, stride, padding = (
            cast(tuple[int, int], s) for s in (module.kernel_size, module.stride, module.padding)
        )
        product = BinaryConv2d(
            module.in_channels,
            module.out_channels,
            size,
            stride=stride,
            padding=padding,
            real_input=real_input,
        )
    else:
        return None
    product.weight = cast(nn.Parameter, module.weight)
    return product
