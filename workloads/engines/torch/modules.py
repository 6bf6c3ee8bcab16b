"""A drop-in for PyTorch users: modules that keep bits between forward and backward; `conversion` puts them in.

For each element of an activation three bits are retained in place of three float32 numbers: `Sign` keeps the
straight-through mask, `BinaryLinear` and `BinaryConv2d` the signs of their input, `L1BatchNorm` those of its output.
Parameters, their gradients and the optimizer stay the user's: for those in float16 and one bit there is the trainer
(`harness run`).
"""

import math
import threading
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_input, conv2d_weight

from workloads.engines.torch.bits import pack, unpack
from workloads.engines.torch.norm import FromSigns, Keep, backward_, moments, normalise_, scale_of
from workloads.engines.torch.scratch import Scratch
from workloads.errors import WorkloadError


class _Arenas(threading.local):
    """The scratch of each device, a thread's own: its frames are of one thread."""

    def __init__(self) -> None:
        self.of: dict[torch.device, Scratch] = {}


_arenas = _Arenas()


def _scratch(device: torch.device) -> Scratch:
    if device not in _arenas.of:
        _arenas.of[device] = Scratch(device)
    return _arenas.of[device]


def _signs(x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    return torch.where(x >= 0, 1.0, -1.0).to(dtype or x.dtype)


class _SignFunction(torch.autograd.Function):
    """sgn(x) with sgn(0) = +1; the gradient passes where |x| ≤ 1. Retains that mask, one bit an element."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(pack(x.abs() <= 1))
        return _signs(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (mask,), gradient = ctx.saved_tensors, gradients[0]
        return gradient * unpack(mask, gradient.numel(), gradient.dtype, low=0).view(gradient.shape)


class Sign(nn.Module):
    """Binary activation: sgn with the straight-through estimator (Courbariaux & Bengio 2016)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return ±1 in the shape and type of `x`."""
        return cast(Tensor, _SignFunction.apply(x))  # type: ignore[no-untyped-call]


class _ProductFunction(torch.autograd.Function):
    """x ∗ sgn(W). Retains the signs of x as bits, or x itself where it is real.

    ∂W is sgn(x ∗ ∂Y)/√N, cancelled where |W| ≥ 1 (Wang et al. 2023, Algorithm 2).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, layer: "_Product") -> Tensor:
        ctx.layer, ctx.shape, ctx.real_input = layer, x.shape, layer.real_input
        ctx.save_for_backward(x if layer.real_input else pack(x >= 0), weight)
        return layer.product(x, _signs(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        kept, weight = ctx.saved_tensors
        # Under autocast the gradient is narrower than x and W: the products are taken in its type.
        gradient, dx = gradients[0], None
        if ctx.needs_input_grad[0]:
            dx = ctx.layer.input_gradient(ctx.shape, _signs(weight, gradient.dtype), gradient)
        if not ctx.real_input:
            kept = unpack(kept, math.prod(ctx.shape), gradient.dtype).view(ctx.shape)
        dw = _signs(ctx.layer.weight_gradient(kept.to(gradient.dtype), weight.shape, gradient), weight.dtype)
        return dx, dw.mul_(weight.abs() < 1).div_(math.sqrt(weight[0].numel())), None


class _Product(nn.Module):
    """What the binary layers share: weights used as signs, and three products. Those are methods, to be pickled."""

    bias: nn.Parameter | None

    def __init__(self, *shape: int, bias: bool, real_input: bool) -> None:
        super().__init__()
        self.real_input = real_input
        self.weight = nn.Parameter(torch.empty(shape))
        nn.init.xavier_uniform_(self.weight)
        self.register_parameter("bias", nn.Parameter(torch.zeros(shape[0])) if bias else None)
        self._seen: set[bool] = set()

    def forward(self, x: Tensor) -> Tensor:
        """Return x ∗ sgn(W) + b; raises WorkloadError where ∂W would be of signs that x is not."""
        if not self.real_input and self.weight.requires_grad and torch.is_grad_enabled():
            self._require_signs(x)
        out = cast(Tensor, _ProductFunction.apply(x, self.weight, self))  # type: ignore[no-untyped-call]
        if self.bias is None:
            return out
        return out + self.bias.to(out.dtype).view(-1, *[1] * (self.weight.dim() - 2))

    def _require_signs(self, x: Tensor) -> None:
        """Look at the first input in `train()` and in `eval()`: what comes in between, a dropout say, differs there."""
        if self.training in self._seen:
            return
        if bool((x.detach().abs() != 1).any()):
            raise WorkloadError(
                f"{self} reads other numbers than ±1, and would keep their signs alone for its weights' gradient; "
                "set its `real_input` to True, or name it in `keep` of `convert`"
            )
        self._seen.add(self.training)

    def extra_repr(self) -> str:
        """Return the shape, by which a message tells this layer from others."""
        return f"{tuple(self.weight.shape)}, real_input={self.real_input}"

    def product(self, x: Tensor, w: Tensor) -> Tensor:
        """Return Y for the signs `w` of the weights."""
        raise NotImplementedError

    def input_gradient(self, shape: torch.Size, w: Tensor, dy: Tensor) -> Tensor:
        """Return ∂X, of that shape."""
        raise NotImplementedError

    def weight_gradient(self, x: Tensor, shape: torch.Size, dy: Tensor) -> Tensor:
        """Return the real ∂W, of that shape."""
        raise NotImplementedError


class BinaryLinear(_Product):
    """A dense layer whose weights are used as signs: … × in_features to … × out_features.

    `real_input` for the first one of a network.
    """

    def __init__(
        self, in_features: int, out_features: int, *, bias: bool = False, real_input: bool = False
    ) -> None:
        super().__init__(out_features, in_features, bias=bias, real_input=real_input)

    def product(self, x: Tensor, w: Tensor) -> Tensor:
        """Return x · wᵀ."""
        return functional.linear(x, w)

    def input_gradient(self, shape: torch.Size, w: Tensor, dy: Tensor) -> Tensor:
        """Return ∂Y · w."""
        return dy @ w

    def weight_gradient(self, x: Tensor, shape: torch.Size, dy: Tensor) -> Tensor:
        """Return ∂Yᵀ · x, over all rows."""
        return dy.flatten(0, -2).T @ x.flatten(0, -2)


class BinaryConv2d(_Product):
    """A 2-D convolution whose weights are used as signs; padded positions contribute nothing.

    Batch × in_channels × height × width to batch × out_channels × …; `real_input` for the first one of a network.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        *,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        bias: bool = False,
        real_input: bool = False,
    ) -> None:
        kernel = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
        super().__init__(out_channels, in_channels, *kernel, bias=bias, real_input=real_input)
        self.stride, self.padding = stride, padding

    def product(self, x: Tensor, w: Tensor) -> Tensor:
        """Return the convolution of x with w."""
        return functional.conv2d(x, w, None, self.stride, self.padding)

    def input_gradient(self, shape: torch.Size, w: Tensor, dy: Tensor) -> Tensor:
        """Return ∂Y, spread over the windows that made it."""
        return conv2d_input(shape, w, dy, self.stride, self.padding)  # type: ignore[no-untyped-call, no-any-return]

    def weight_gradient(self, x: Tensor, shape: torch.Size, dy: Tensor) -> Tensor:
        """Return the correlation of x with ∂Y."""
        return conv2d_weight(x, shape, dy, self.stride, self.padding)  # type: ignore[no-untyped-call, no-any-return]


class _L1NormFunction(torch.autograd.Function):
    """l1 batch normalisation with the sign-approximated backward pass; see `norm.py`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor, module: "L1BatchNorm") -> Tensor:
        scratch, y = _scratch(x.device), x.flatten(2) if x.dim() > 2 else x.unsqueeze(2)
        mean, spread = moments(y, "l1", scratch)
        module.observe(mean, spread)
        bits = torch.empty((x.numel() + 7) // 8, dtype=torch.uint8, device=x.device)
        keep, scale, out = Keep(bits, None, y.shape[1]), scale_of(spread, "l1"), y.clone()
        normalise_(out, mean, scale, bias.detach(), scratch, keep)
        ctx.save_for_backward(bits, scale, keep.magnitude * y.shape[1] / y.numel())
        if module.scale is not None:
            out.mul_(module.scale.unsqueeze(1))
        ctx.after = module.scale
        return out.view(x.shape)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        bits, scale, omega = ctx.saved_tensors
        gradient = gradients[0].clone(memory_format=torch.contiguous_format)
        blocks = gradient.view(*gradient.shape[:2], -1)
        if ctx.after is not None:
            blocks.mul_(ctx.after.unsqueeze(1))
        dbias, _ = backward_(blocks, "l1_sign", scale, omega, FromSigns(bits), _scratch(gradient.device))
        return gradient, dbias, None


class L1BatchNorm(nn.Module):
    """Batch normalisation by the mean absolute deviation, with a bias and no learned scale (Wang et al. 2023).

    Takes batch × channels × …; `running_mean` and `running_deviation` are used in `eval()`. What comes out, bias and
    all, is multiplied by `scale` where that is set: a constant, which a network trained before has brought with it.
    Without `affine` there is no bias.
    """

    running_mean: Tensor
    running_deviation: Tensor
    scale: Tensor | None
    bias: nn.Parameter | None

    def __init__(self, channels: int, *, momentum: float = 0.1, affine: bool = True) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_parameter("bias", nn.Parameter(torch.zeros(channels)) if affine else None)
        self.register_buffer("scale", None)
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_deviation", torch.ones(channels))

    def observe(self, mean: Tensor, deviation: Tensor) -> None:
        """Take one batch's statistics into the moving averages."""
        # Those of a batch are float32 whatever the model's type.
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        self.running_deviation.lerp_(deviation.to(self.running_deviation.dtype), self.momentum)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised `x`."""
        bias = torch.zeros_like(self.running_mean) if self.bias is None else self.bias
        if self.training:
            return cast(Tensor, _L1NormFunction.apply(x, bias, self))  # type: ignore[no-untyped-call]
        shape = (1, -1) + (1,) * (x.dim() - 2)
        centred = x - self.running_mean.view(shape)
        out = centred / scale_of(self.running_deviation, "l1").view(shape) + bias.view(shape)
        if self.scale is not None:
            out = out * self.scale.view(shape)
        return out.to(x.dtype)  # under autocast x is narrower than the averages
