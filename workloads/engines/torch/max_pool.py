"""`MaxPool2d`, the drop-in 2×2 max-pooling: it retains the place of each maximum, two bits an output.

torch's own retains its input as real numbers and each place as an int64.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn

from workloads.engines.torch.bits import pack, unpack
from workloads.engines.torch.pooling import corners
from workloads.errors import WorkloadError


class _MaxPoolFunction(torch.autograd.Function):
    """The maxima of 2×2 windows; of equal ones the first in row order is taken, as torch does."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        a, b, c, d = corners(x)
        top, bottom = torch.maximum(a, b), torch.maximum(c, d)
        lower = bottom > top
        right = torch.where(lower, d > c, b > a)
        ctx.shape = x.shape
        ctx.save_for_backward(pack(lower), pack(right))
        return torch.maximum(top, bottom)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        gradient = gradients[0]
        lower, right = (
            unpack(bits, gradient.numel(), torch.int8, low=0).bool().view(gradient.shape)
            for bits in ctx.saved_tensors
        )
        dx = gradient.new_zeros(ctx.shape)  # an odd last row or column is in no window
        others = (lower | right, lower | ~right, ~lower | right, ~lower | ~right)
        for corner, elsewhere in zip(corners(dx), others, strict=True):
            corner.copy_(gradient.masked_fill(elsewhere, 0))
        return dx


class MaxPool2d(nn.Module):
    """Max-pooling of 2×2 windows side by side: … × height × width to … × height // 2 × width // 2."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the maxima; raises WorkloadError for maps in which there is no window."""
        if min(x.shape[-2:]) < 2:
            raise WorkloadError(
                f"MaxPool2d got maps of {x.shape[-2]} × {x.shape[-1]}, where a window is 2 × 2: take a larger input, "
                "or one pooling less"
            )
        return cast(Tensor, _MaxPoolFunction.apply(x))  # type: ignore[no-untyped-call]


def is_replaceable(pool: nn.Module) -> bool:
    """Whether `MaxPool2d` does all that this module does."""
    return (
        type(pool).forward is nn.MaxPool2d.forward
        and _pair(pool.kernel_size) == _pair(pool.stride) == (2, 2)
        and (_pair(pool.padding), _pair(pool.dilation)) == ((0, 0), (1, 1))
        and not (pool.ceil_mode or pool.return_indices)
        and not (pool._forward_hooks or pool._forward_pre_hooks)
        and not (pool._backward_hooks or pool._backward_pre_hooks)
    )


def _pair(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else tuple(size)
