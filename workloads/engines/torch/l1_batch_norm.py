"""`L1BatchNorm`, the drop-in batch normalisation: of its output it retains the signs, or all, for the way back."""

import threading
from typing import Any, cast

import torch
from torch import Tensor, nn

from workloads.engines.torch.norm import (
    FromOutput,
    FromSigns,
    Keep,
    backward_,
    moments,
    normalise_,
    per_channel,
    scale_of,
)
from workloads.engines.torch.scratch import Scratch


class _Arenas(threading.local):
    """The scratch of each device, a thread's own: its frames are of one thread."""

    def __init__(self) -> None:
        self.of: dict[torch.device, Scratch] = {}


_arenas = _Arenas()


def _scratch(device: torch.device) -> Scratch:
    if device not in _arenas.of:
        _arenas.of[device] = Scratch(device)
    return _arenas.of[device]


class _KeepPassed(Keep):
    """Retains the signs of X⁺, and of what a clip |X⁺| ≤ `limit` (C) lets through Σ|X⁺| and the number."""

    def __init__(self, bits: Tensor, limit: Tensor) -> None:
        super().__init__(bits, None, len(limit))
        self._limit, self._passed = limit.unsqueeze(1), torch.zeros_like(limit)

    def add_(self, magnitudes: Tensor, room: Tensor) -> None:
        """Take in one block of |X⁺|."""
        passes = torch.le(magnitudes, self._limit, out=room)
        self._passed += per_channel(passes)
        self.magnitude += per_channel(passes.mul_(magnitudes))

    def omega(self, elements: int) -> Tensor:
        """Return the mean |X⁺| of what passes, 0 where nothing does, of however many elements."""
        return self.magnitude / self._passed.clamp(min=1)


class _L1NormFunction(torch.autograd.Function):
    """l1 batch normalisation with the backward pass that signs stand in for, or with its own; see `norm.py`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor, module: "L1BatchNorm") -> Tensor:
        # Returned is this tensor, not a view: autograd lets nobody write into a view that was made in here, and
        # networks do (`out += identity`, an activation in place).
        out = x.clone(memory_format=torch.contiguous_format)
        scratch, y = _scratch(x.device), out.view(*x.shape[:2], -1)
        mean, spread = moments(y, "l1", scratch)
        module.observe(mean, spread)
        keep, scale = None, scale_of(spread, "l1")
        if module.by_sign:
            bits = torch.empty((x.numel() + 7) // 8, dtype=torch.uint8, device=x.device)
            keep = _KeepPassed(bits, module.clip_limit()) if module.clipped else Keep(bits, None, y.shape[1])
        normalise_(y, mean, scale, bias.detach(), scratch, keep)
        if keep is not None:
            ctx.save_for_backward(keep.bits, scale, keep.omega(y.numel()), None)
        else:  # a copy: what follows may write into the output, or scale it
            ctx.save_for_backward(y.clone(), scale, None, bias.detach().clone())
        if module.scale is not None:
            y.mul_(module.scale.unsqueeze(1))
        ctx.after = module.scale
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        known, scale, omega, bias = ctx.saved_tensors
        gradient = gradients[0].clone(memory_format=torch.contiguous_format)
        blocks = gradient.view(*gradient.shape[:2], -1)
        if ctx.after is not None:
            blocks.mul_(ctx.after.unsqueeze(1))
        scratch = _scratch(gradient.device)
        if omega is None:
            dbias, _ = backward_(blocks, "l1", scale, None, FromOutput(known, bias), scratch)
        else:
            dbias, _ = backward_(blocks, "l1_sign", scale, omega, FromSigns(known), scratch)
        return gradient, dbias, None


class L1BatchNorm(nn.Module):
    """Batch normalisation by the mean absolute deviation, with a bias and no learned scale (Wang et al. 2023).

    Takes batch × channels × …; `running_mean` and `running_deviation` are used in `eval()`. What comes out, bias and
    all, is multiplied by `scale` where that is set: a constant, which a network trained before has brought with it.
    Without `affine` there is no bias. Of its output it retains the signs, which stand for it in the backward pass; that
    is much less than the truth where no sign is taken of the output, as of the last norm before a loss: without
    `by_sign` it retains the output, and its backward pass is exact.

    `clipped`: whether the gradient that comes back is 0 wherever |output| > 1, as `Sign` makes it, right behind the
    norm or behind a pooling. Not so where something is added to the output first. What stands for the output's
    magnitude in the backward pass, ω, is the mean of those elements alone that get a gradient.
    """

    running_mean: Tensor
    running_deviation: Tensor
    scale: Tensor | None
    bias: nn.Parameter | None

    def __init__(
        self,
        channels: int,
        *,
        momentum: float = 0.1,
        affine: bool = True,
        by_sign: bool = True,
        clipped: bool = True,
    ) -> None:
        super().__init__()
        self.momentum, self.by_sign, self.clipped = momentum, by_sign, clipped
        self.register_parameter("bias", nn.Parameter(torch.zeros(channels)) if affine else None)
        self.register_buffer("scale", None)
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_deviation", torch.ones(channels))

    def observe(self, mean: Tensor, deviation: Tensor) -> None:
        """Take one batch's statistics into the moving averages."""
        # Those of a batch are float32 whatever the model's type.
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        self.running_deviation.lerp_(deviation.to(self.running_deviation.dtype), self.momentum)

    def clip_limit(self) -> Tensor:
        """Return the largest |X⁺| per channel (float32) of which the output, times `scale`, is within 1."""
        one = torch.ones_like(self.running_mean, dtype=torch.float32)
        return one if self.scale is None else one / self.scale.detach().float().abs()

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

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Have a scale where the state has one, and none where it has none: it depends on how the norm came to be."""
        if f"{prefix}scale" in state_dict:
            if self.scale is None:
                self.scale = torch.ones_like(self.running_mean)
        elif f"{prefix}running_mean" in state_dict:  # the state is this norm's, and whole
            self.scale = None
        super()._load_from_state_dict(state_dict, prefix, *rest)
