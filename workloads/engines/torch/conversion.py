"""Puts the modules that keep bits in the place of an ordinary network's layers.

    model = convert(model, sign=MySign)     # MySign: the user's own straight-through sign module
    loss.backward(); optimizer.step()       # as before

What a layer has or computes and its counterpart would not is refused before anything is changed.
"""

import math
from collections.abc import Iterator
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from workloads.engines.torch import probing, tracing, unconverted
from workloads.engines.torch.max_pool import is_replaceable
from workloads.engines.torch.modules import BinaryConv2d, BinaryLinear, L1BatchNorm, MaxPool2d, Sign
from workloads.engines.torch.norm import PSI_FLOOR
from workloads.engines.torch.probing import Product
from workloads.errors import WorkloadError

_NORMAL = math.sqrt(2 / math.pi)
"""Mean absolute deviation of a normal distribution, in standard deviations."""

_STATE = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}
"""What a layer is known to have; a class derived from one may have more."""


def convert(
    model: nn.Module,
    *,
    sign: type[nn.Module],
    keep: tuple[str, ...] = (),
    real_input: tuple[str, ...] | None = None,
) -> nn.Module:
    """Replace, in place, the layers of a binary network by those that keep bits; return the model.

    `nn.Linear` and `nn.Conv2d` become `BinaryLinear` and `BinaryConv2d` with the same weights and bias,
    `nn.BatchNorm1d` and `nn.BatchNorm2d` become `L1BatchNorm`, modules of class `sign` become `Sign`, an
    `nn.MaxPool2d` of 2×2 windows side by side (stride 2, no padding, dilation, `ceil_mode`, indices or hooks) becomes
    `MaxPool2d`; any other pooling stays as it is, and retains its input and an int64 a maximum. A module that
    the network has in several places is replaced by one. Modules named in `keep` (as in `named_modules`) stay as they
    are, with all that is in them. Of a `model` that is itself such a layer, what replaces it is returned.

    The product that runs first takes real input, and retains it, unless a replaced sign is seen to stand before it (as
    behind a first layer that is kept). In which order the products run is found by tracing the model's `forward`
    (`tracing`), whatever the order they are registered in. Where the products that read other numbers than ±1 are
    others, or cannot be found so, name them in `real_input`.

    A norm retains the signs of its output only, but the last one (that is registered), behind which no sign is: it
    retains its output. One that an `nn.Sequential` has right before a sign counts on that sign's clip. A norm's
    moving averages and momentum go over; its bias stays the same parameter, divided by the scale γ, which then is a
    constant: in `eval()` a trained network gives what it gave.

    A copy of every product layer is tried beside its counterpart, in `eval()`, on a few items: real ones where the
    product takes real input, ±1 for the others, with the layer's weights and with real ones that are no signs. What
    does not compute x ∗ sgn(W) + b, or cannot be tried by itself (its `forward` raises, or takes more than x), is
    refused: a plain `nn.Linear` of full precision, a scale like XNOR-Net's, padding with −1.

    Raises WorkloadError, with the model untouched, for such a layer and for one of which a part would be lost (groups,
    dilation, padding other than with zeros, hooks, parameters of a derived class, a norm's own `forward`, a γ of 0, no
    moving averages), where `keep`, `sign` or `real_input` fits nothing, and where the first of several products cannot
    be found. Warns (`UnconvertedWarning`) of each product, norm and max-pooling, and each other module with a matrix of
    weights, that has no counterpart and is not in `keep`: it stays, and retains what it did.
    """
    kinds = (sign, nn.Linear, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d)
    if not isinstance(model, kinds) and not any(isinstance(each, sign | Sign) for each in model.modules()):
        raise WorkloadError(
            f"the model has no module of class {sign.__name__}: name that of its activation in `sign`"
        )
    kept = _kept(model, keep)
    layers = list(_layers(model, "", kinds, kept))
    for name, layer in layers:
        if reason := _loss(layer, sign):
            raise WorkloadError(f"'{name}' {reason}: name it in `keep`")
    products = [(name, layer) for name, layer in layers if _is_product(layer, sign)]
    real = _real_input(model, products, layers, sign, real_input)
    for name, layer in _each_once(products):
        is_real = id(layer) in real
        if reason := probing.difference(layer, partial(_product, real_input=is_real), is_real):
            raise WorkloadError(f"'{name}' {reason}: name it in `keep`")
    replaced = {id(each) for _, layer in layers for each in layer.modules()}
    unconverted.warn(model, kept | replaced, stacklevel=2)
    return _replace(model, layers, sign, real)


def _replace(
    model: nn.Module, layers: list[tuple[str, nn.Module]], sign: type[nn.Module], real: set[int]
) -> nn.Module:
    """Put the counterpart of each layer into its places; return the model, or what replaces it."""
    replacements: dict[int, nn.Module] = {}
    for _, layer in layers:
        if id(layer) not in replacements:
            replacements[id(layer)] = _counterpart(layer, sign, id(layer) in real).train(layer.training)
    for layer in _behind_all_signs(layers, sign):
        cast(L1BatchNorm, replacements[id(layer)]).by_sign = False
    for layer in tracing.right_before(model, _signs(model, layers, sign)):
        if isinstance(norm := replacements.get(id(layer)), L1BatchNorm):
            norm.clipped = True
    for name, layer in layers:
        if name:
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, replacements[id(layer)])
    return replacements.get(id(model), model)


def _behind_all_signs(layers: list[tuple[str, nn.Module]], sign: type[nn.Module]) -> Iterator[nn.Module]:
    """Yield the norms that are registered behind the last sign: of what they give, no sign seems to be taken.

    Where the order of registration deceives, such a norm retains more than it need, and is none the worse for it.
    """
    for _, layer in reversed(layers):
        if isinstance(layer, sign):
            return
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            yield layer


def _kept(model: nn.Module, keep: tuple[str, ...]) -> set[int]:
    """Return the identities of the modules that stay: those named, and all that is in them."""
    modules = dict(model.named_modules(remove_duplicate=False))
    if unknown := [name for name in keep if name not in modules]:
        raise WorkloadError(
            f"`keep` has '{unknown[0]}', which no module is called; see the model's named_modules()"
        )
    return {id(each) for name in keep for each in modules[name].modules()}


def _layers(
    module: nn.Module, name: str, kinds: tuple[type[nn.Module], ...], kept: set[int]
) -> Iterator[tuple[str, nn.Module]]:
    """Yield what is to be replaced, by every name it has, in the order of registration."""
    if id(module) in kept:
        return
    if isinstance(module, kinds) or is_replaceable(module):
        yield name, module
        return
    # `named_children` would give a module that is there twice by its first name only.
    for own, child in module._modules.items():
        if child is not None:
            yield from _layers(child, f"{name}.{own}" if name else own, kinds, kept)


def _loss(layer: nn.Module, sign: type[nn.Module]) -> str:
    """Return what of this layer its counterpart would not have, or nothing."""
    known = set() if isinstance(layer, sign) else _STATE
    if own := sorted(set(layer.state_dict()) - known):
        return f"has a parameter or buffer of its own, '{own[0]}'"
    if any(
        getattr(layer, f"_{kind}_hooks") for kind in ("forward", "forward_pre", "backward", "backward_pre")
    ):
        return "has hooks (remove them first, and register them on what replaces it)"
    if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) and not isinstance(layer, sign):
        return _loss_of_norm(layer)
    if isinstance(layer, nn.Conv2d):
        if layer.groups != 1 or layer.dilation != (1, 1) or isinstance(layer.padding, str):
            return "has groups, dilation or named padding"
        if layer.padding_mode != "zeros":
            return f"has padding_mode='{layer.padding_mode}'"
    return ""


def _loss_of_norm(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> str:
    if type(norm).forward not in (nn.BatchNorm1d.forward, nn.BatchNorm2d.forward):
        return "has a forward pass of its own"
    if norm.momentum is None or norm.running_mean is None:
        return "has no moving averages, or plain averages (momentum=None)"
    if norm.affine and not norm.weight.is_meta and bool((norm.weight == 0).any()):
        return "has a scale γ of 0, by which its bias cannot be divided"
    return ""


def _is_product(layer: nn.Module, sign: type[nn.Module]) -> bool:
    return isinstance(layer, nn.Linear | nn.Conv2d) and not isinstance(layer, sign)


def _each_once(layers: list[tuple[str, nn.Module]]) -> Iterator[tuple[str, Product]]:
    """Yield each layer by its first name."""
    seen: set[int] = set()
    for name, layer in layers:
        if id(layer) not in seen:
            seen.add(id(layer))
            yield name, cast(Product, layer)


def _real_input(
    model: nn.Module,
    products: list[tuple[str, nn.Module]],
    layers: list[tuple[str, nn.Module]],
    sign: type[nn.Module],
    names: tuple[str, ...] | None,
) -> set[int]:
    """Return the identities of the products that take real input: those named, or the first one that runs."""
    if names is not None:
        by_name = dict(products)
        if unknown := [name for name in names if name not in by_name]:
            raise WorkloadError(
                f"`real_input` has '{unknown[0]}', which is no product that is replaced; there is: {', '.join(by_name)}"
            )
        return {id(by_name[name]) for name in names}
    candidates: list[nn.Module] = [layer for _, layer in _each_once(products)]
    if not candidates or candidates == [model]:
        return {id(layer) for layer in candidates}
    try:
        first = tracing.first_to_run(model, candidates, _signs(model, layers, sign))
    except WorkloadError:
        if len(candidates) > 1:
            raise
        return {id(candidates[0])}  # an only one is the first; real input, which it may have, is never wrong
    return set() if first.reads_signs else {id(first.layer)}


def _signs(model: nn.Module, layers: list[tuple[str, nn.Module]], sign: type[nn.Module]) -> list[nn.Module]:
    """Return the modules within `model` that are to be a `Sign`, or are one."""
    replaced = [layer for _, layer in layers if isinstance(layer, sign)]
    return replaced + [each for each in model.modules() if isinstance(each, Sign)]


def _counterpart(module: nn.Module, sign: type[nn.Module], real_input: bool) -> nn.Module:
    """Return the module that takes the place of `module`."""
    if isinstance(module, sign):
        return Sign()
    if isinstance(module, nn.MaxPool2d):
        return MaxPool2d()
    if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        return _norm(module)
    return _product(cast(Product, module), real_input)


@torch.no_grad()
def _norm(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> L1BatchNorm:
    """Return the norm that gives the same output in `eval()`, with the averages and the bias of `norm`.

    γ (y − μ)/σ + β = γ′ ((y − μ)/ψ + β′) with γ′ = γψ/σ and β′ = (β/γ)(σ/ψ), where ψ = σ √(2/π), as of normally
    distributed y, or the least ψ that the norm divides by. Where nothing was trained yet and γ is 1, γ′ is left
    out: there the norm is the paper's.
    """
    mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    with torch.device("meta"):  # none of its own parameters is used
        momentum = cast(float, norm.momentum)
        out = L1BatchNorm(norm.num_features, momentum=momentum, affine=norm.affine, clipped=False)
    deviation = (variance + norm.eps).sqrt_()
    out.running_mean, out.running_deviation = mean, deviation * _NORMAL
    ratio = out.running_deviation.clamp(min=PSI_FLOOR) / deviation
    gamma = norm.weight if norm.affine else torch.ones_like(mean)
    if not mean.is_meta and (bool((gamma != 1).any()) or int(cast(Tensor, norm.num_batches_tracked)) > 0):
        out.scale = gamma.detach() * ratio
    if norm.affine:
        out.bias = norm.bias
        out.bias.div_(gamma * ratio)
    return out


def _product(module: Product, real_input: bool) -> BinaryLinear | BinaryConv2d:
    """Return the product with the weights and the bias of `module`."""
    with torch.device("meta"):  # none of its own parameters is used
        product = _empty_product(module, real_input)
    product.weight, product.bias = cast(nn.Parameter, module.weight), cast(nn.Parameter | None, module.bias)
    return product


def _empty_product(module: Product, real_input: bool) -> BinaryLinear | BinaryConv2d:
    has_bias = module.bias is not None
    if isinstance(module, nn.Linear):
        return BinaryLinear(module.in_features, module.out_features, bias=has_bias, real_input=real_input)
    size, stride, padding = (
        cast(tuple[int, int], s) for s in (module.kernel_size, module.stride, module.padding)
    )
    return BinaryConv2d(
        module.in_channels, module.out_channels, size,
        stride=stride, padding=padding, bias=has_bias, real_input=real_input,
    )  # fmt: skip
