"""A drop-in for PyTorch users: modules that keep bits between forward and backward; `conversion` puts them in.

For each element of an activation three bits are retained in place of three float32 numbers: `Sign` keeps the
straight-through mask, `BinaryLinear` and `BinaryConv2d` the signs of their input, `L1BatchNorm` those of its output.
`MaxPool2d` keeps two bits for each maximum.
Parameters, their gradients and the optimizer stay the user's: for those in float16 and one bit there is the trainer
(`harness run`).
"""

import math
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_input, conv2d_weight

from workloads.engines.torch.bits import pack, unpack
from workloads.engines.torch.l1_batch_norm import L1BatchNorm
from workloads.engines.torch.max_pool import MaxPool2d
from workloads.errors import WorkloadError

__all__ = ["BinaryConv2d", "BinaryLinear", "L1BatchNorm", "MaxPool2d", "Sign"]


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
                "set its `real_input` to True, or name it in `real_input` or `keep` of `convert`"
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
    """A dense layer whose weights are used as signs: … × in_features to … × out_features, or one item alone.

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
        return dy.reshape(-1, shape[0]).T @ x.reshape(-1, shape[1])


class BinaryConv2d(_Product):
    """A 2-D convolution whose weights are used as signs; padded positions contribute nothing.

    Batch × in_channels × height × width, or one item without the batch, to … × out_channels × …; `real_input` for the
    first one of a network.
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

    def forward(self, x: Tensor) -> Tensor:
        """Return x ∗ sgn(W) + b, of one item (channels × height × width) as of a batch of one."""
        return super().forward(x.unsqueeze(0)).squeeze(0) if x.dim() == 3 else super().forward(x)

    def product(self, x: Tensor, w: Tensor) -> Tensor:
        """Return the convolution of x with w."""
        return functional.conv2d(x, w, None, self.stride, self.padding)

    def input_gradient(self, shape: torch.Size, w: Tensor, dy: Tensor) -> Tensor:
        """Return ∂Y, spread over the windows that made it."""
        return conv2d_input(shape, w, dy, self.stride, self.padding)  # type: ignore[no-untyped-call, no-any-return]

    def weight_gradient(self, x: Tensor, shape: torch.Size, dy: Tensor) -> Tensor:
        """Return the correlation of x with ∂Y."""
        return conv2d_weight(x, shape, dy, self.stride, self.padding)  # type: ignore[no-untyped-call, no-any-return]
