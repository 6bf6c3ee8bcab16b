"""Batch normalisation over the channel, forward and backward, in place and in blocks of batch rows.

Tensors are seen as batch × channels × positions. Reductions are float32 whatever the storage. No scale γ is learned: a
positive scale does not survive the sign.
"""

from collections.abc import Iterable, Iterator
from typing import Literal, Protocol

import torch
from torch import Tensor

from workloads.engines.torch import processes
from workloads.engines.torch.bits import pack_flags_, unpack_into
from workloads.engines.torch.rounding import saturate_into
from workloads.engines.torch.scratch import Scratch
from workloads.engines.torch.sources import signs_into

Norm = Literal["l2", "l1", "l1_sign", "l1_sign_centred"]
CENTRED: tuple[Norm, ...] = ("l1", "l1_sign_centred")
"""Those whose backward pass takes the mean off the sign, as the derivative of ψ = mean|Y − μ| does."""

WITHIN_CLIP = 0.48
"""What ω is where the straight-through clip is behind the norm: mean|X⁺| of the elements with |X⁺| ≤ 1.

The others get no gradient, so that the mean of all, the paper's ω, is twice too large for it. Of a normal X⁺ with
mean|X⁺| = 1 it is 0.474 at β = 0, and near 0.5 where |β| is large and the density all but even.
"""

EPSILON = 1e-5
"""Added to the variance in σ (l2)."""
PSI_FLOOR = 2.0**-8
"""Least ψ (l1): a channel that is constant over the batch has ψ = 0. About sqrt(EPSILON), and exact in float16."""


def blocks(tensor: Tensor, scratch: Scratch) -> Iterator[tuple[slice, Tensor]]:
    """Yield batch rows of `tensor` (B × C × S) as float32 copies in scratch, cut where packed bits can be cut."""
    batch, channels, positions = tensor.shape
    size = channels * positions
    step = scratch.rows(size, multiple=1 if size % 8 == 0 else 8)
    for start in range(0, batch, step):
        part = tensor[start : start + step]
        with scratch:
            yield (
                slice(start, start + part.shape[0]),
                scratch.take(tuple(part.shape), torch.float32).copy_(part),
            )


def per_channel(block: Tensor) -> Tensor:
    """Sum a block over batch and positions → C."""
    return block.sum(0).view(-1) if block.shape[2] == 1 else block.sum((0, 2))


def moments(y: Tensor, norm: Norm, scratch: Scratch) -> tuple[Tensor, Tensor]:
    """Return μ and the spread of `y` (B × C × S) per channel, float32.

    The spread is σ² = mean((Y − μ)²) for l2, and ψ = mean|Y − μ| for l1: what the moving averages hold. Means are over
    the batch of all processes that train together.
    """
    everyone = processes.current()
    count = y.shape[0] * y.shape[2] * everyone.count
    mean = everyone.sum_(total(per_channel(block) for _, block in blocks(y, scratch))).div_(count)
    centre = mean.unsqueeze(1)
    if norm == "l2":
        spread = total(per_channel(block.sub_(centre).square_()) for _, block in blocks(y, scratch))
    else:
        spread = total(per_channel(block.sub_(centre).abs_()) for _, block in blocks(y, scratch))
    return mean, everyone.sum_(spread).div_(count)


def total(parts: Iterable[Tensor]) -> Tensor:
    """Add up what every block gives."""
    first, *rest = parts
    for part in rest:
        first += part
    return first


def scale_of(spread: Tensor, norm: Norm) -> Tensor:
    """Return what Y − μ is divided by: σ = sqrt(σ² + ε) for l2, ψ (at least PSI_FLOOR) for l1."""
    return (spread + EPSILON).sqrt_() if norm == "l2" else spread.clamp(min=PSI_FLOOR)


def normalise_(
    y: Tensor, mean: Tensor, scale: Tensor, beta: Tensor, scratch: Scratch, keep: "Keep | None"
) -> None:
    """Overwrite `y` (B × C × S) with X⁺ = (Y − μ) / scale + β; `keep` sees every block of X⁺ as float32."""
    slope = scale.reciprocal().unsqueeze(1)
    offset = torch.addcmul(beta.float().unsqueeze(1), mean.unsqueeze(1), slope, value=-1)
    for rows, block in blocks(y, scratch):
        torch.addcmul(offset, block, slope, out=block)
        y[rows].copy_(block)
        if keep is not None:
            keep.see_(rows, block, scratch)
    everyone = processes.current()
    if keep is not None and everyone.count > 1:
        everyone.sum_(keep.magnitude).div_(everyone.count)


class Keep:
    """Retains of X⁺ what `lowmem` retains: the packed signs, the packed mask |X⁺| ≤ `clip_at` if wanted, and Σ|X⁺|."""

    def __init__(self, bits: Tensor, mask: Tensor | None, channels: int, clip_at: float = 1.0) -> None:
        self.bits, self.mask, self.clip_at = bits, mask, clip_at
        self.magnitude = torch.zeros(channels, device=bits.device)

    def see_(self, rows: slice, block: Tensor, scratch: Scratch) -> None:
        """Take in one block of X⁺ (float32, destroyed)."""
        size = block[0].numel()
        part = slice(rows.start * size // 8, (rows.stop * size + 7) // 8)
        with scratch:
            flags = scratch.take(tuple(block.shape), torch.int8)
            real = scratch.take(tuple(block.shape), torch.float32)
            pack_flags_(flags.copy_(torch.ge(block, 0, out=real)), self.bits[part], scratch)
            self.add_(block.abs_(), real)
            if self.mask is not None:
                pack_flags_(flags.copy_(block.le_(self.clip_at)), self.mask[part], scratch)

    def add_(self, magnitudes: Tensor, room: Tensor) -> None:
        """Take in one block of |X⁺|, which stays as it is; `room` is one of its shape."""
        self.magnitude += per_channel(magnitudes)

    def omega(self, elements: int) -> Tensor:
        """Return mean|X⁺| per channel, given how many elements X⁺ has."""
        return self.magnitude * len(self.magnitude) / elements


class Normalised(Protocol):
    """What the backward pass still knows of the normalised output."""

    def fill(self, rows: slice, out: Tensor, scratch: Scratch) -> Tensor:
        """Fill `out` (float32 block) with x̃, or with the sign that stands for it; return `out`."""
        ...


class FromSigns:
    """X̂⁺: the next stage's retained bits."""

    def __init__(self, bits: Tensor) -> None:
        self._bits = bits

    def fill(self, rows: slice, out: Tensor, scratch: Scratch) -> Tensor:
        """Fill `out` with ±1."""
        size = out[0].numel()
        return unpack_into(self._bits[rows.start * size // 8 : (rows.stop * size + 7) // 8], out, scratch)


class FromOutput:
    """x̃ = X⁺ − β: the next stage's retained real input, so that x̃ itself need not be kept."""

    def __init__(self, output: Tensor, beta: Tensor) -> None:
        self._output, self._beta = output, beta.unsqueeze(1)

    def fill(self, rows: slice, out: Tensor, scratch: Scratch) -> Tensor:
        """Fill `out` with x̃."""
        return out.copy_(self._output[rows]).sub_(self._beta)


class FromSum:
    """x̃ = S⁺ − S − β: of a shortcut, the sum and what the norm's output was added to are retained, so x̃ need not be."""

    def __init__(self, total: Tensor, shortcut: Tensor, beta: Tensor) -> None:
        self._total, self._shortcut, self._beta = total, shortcut, beta.unsqueeze(1)

    def fill(self, rows: slice, out: Tensor, scratch: Scratch) -> Tensor:
        """Fill `out` with x̃."""
        return out.copy_(self._total[rows]).sub_(self._shortcut[rows]).sub_(self._beta)


def backward_(
    gradient: Tensor,
    norm: Norm,
    scale: Tensor,
    omega: Tensor | None,
    known: Normalised,
    scratch: Scratch,
    beta: Tensor | None = None,
) -> tuple[Tensor, int]:
    """Overwrite ∂X⁺ (B × C × S) with ∂Y; return ∂β (float32, C) and how many elements saturated.

    Means are over the batch of all processes that train together, ∂β is of this one's part.

    With v = ∂X⁺ / scale, and means over the channel:
    l2       ∂Y = v − mean(v) − x̃ · mean(v ∘ x̃)
    l1       ∂Y = v − mean(v) − (sgn(x̃) − mean(sgn(x̃))) · mean(v ∘ x̃)
    l1_sign  ∂Y = v − mean(v) − X̂⁺ · ω · mean(v ∘ X̂⁺)   (Wang et al. 2023, Algorithm 2)
    l1_sign_centred  ∂Y = v − mean(v) − (X̂⁺ − mean(X̂⁺)) · (ω · mean(v ∘ X̂⁺) − β · mean(v))
    The last is `l1` with what signs can tell. Without the mean of X̂⁺, ∂Y has a mean where signs have one, though a
    shift of Y, which the norm takes off, changes nothing; and x̃ is X⁺ − β. Where a clip has made v 0, ω is to be
    `WITHIN_CLIP`.
    """
    sums, moment, signs = _sums(gradient, norm, known, scratch)
    everyone = processes.current()
    whole, whole_moment, whole_signs = everyone.sum_(torch.stack([sums, moment, signs]))
    count = gradient.shape[0] * gradient.shape[2] * everyone.count
    slope = scale.float().reciprocal()
    mean_v = (whole * slope / count).unsqueeze(1)
    factor = whole_moment.mul_(slope).div_(count)
    factor = (factor if omega is None else factor * omega.float()).unsqueeze(1)
    if norm == "l1_sign_centred":
        assert beta is not None
        factor.addcmul_(beta.detach().float().unsqueeze(1), mean_v, value=-1)
    mean_v.addcmul_(factor, whole_signs.div_(count).unsqueeze(1), value=-1)
    saturated = 0
    for rows, block in blocks(gradient, scratch):
        direction = known.fill(rows, scratch.take(tuple(block.shape), torch.float32), scratch)
        if norm == "l1":
            signs_into(direction, direction)
        torch.addcmul(mean_v, block, slope.unsqueeze(1).neg(), out=block)
        block.addcmul_(direction, factor).neg_()
        saturated += saturate_into(gradient[rows], block)
    return sums, saturated


def _sums(gradient: Tensor, norm: Norm, known: Normalised, scratch: Scratch) -> tuple[Tensor, Tensor, Tensor]:
    """Return Σ ∂X⁺, Σ ∂X⁺ ∘ x̃ (or its sign), and Σ sgn(x̃) where that is wanted (else 0), per channel."""
    sums = torch.zeros(gradient.shape[1], device=gradient.device)
    moment, signs = torch.zeros_like(sums), torch.zeros_like(sums)
    for rows, block in blocks(gradient, scratch):
        sums += per_channel(block)
        direction = known.fill(rows, scratch.take(tuple(block.shape), torch.float32), scratch)
        moment += per_channel(block.mul_(direction))
        if norm in CENTRED:
            signs += per_channel(signs_into(direction, direction))
    return sums, moment, signs
