"""Gradient accumulation: several micro-batches, one update.

Each micro-batch is a batch of its own for the batch normalisation: it has its own μ and scale, and counts in the moving
averages. What is summed over the micro-batches, and in which type:

- ∂W before its sign. Where the recipe keeps ∂W as real numbers, in that buffer. Where it keeps one bit, the sum is held
  in the type of ∂X (float16) in place of the bit, and the sign is taken of the sum when the update reads it: a sum of
  the signs of every micro-batch's ∂W would be a vote, not a gradient.
- ∂β, in its own type, in a second buffer.

float16 gradients carry the loss scale of their micro-batch, a power of two: every ∂W is brought to that of the first,
in float32 and exactly, before it is added.
"""

import torch
from torch import Tensor

from workloads.engines.torch.bits import pack, unpack
from workloads.engines.torch.gradients import WeightGradient
from workloads.engines.torch.layer import DTYPES, Layer
from workloads.engines.torch.rounding import saturate_into
from workloads.engines.torch.scratch import Scratch
from workloads.engines.torch.sources import signs_into


class SummedGradient(WeightGradient):
    """∂W summed over micro-batches (outputs × inputs): real numbers, read as they are, or as their signs.

    With the loss scale of the first micro-batch. `rescale` brings that of the present one to it.
    """

    def __init__(self, single: WeightGradient, dtype: torch.dtype) -> None:
        self.shape, self.is_sign = single.shape, single.is_sign
        self.scaled, self.magnitude = single.scaled, 0.0
        self.buffer = single.buffer
        if single.is_sign:
            self.buffer = torch.zeros(single.shape, dtype=dtype, device=single.buffer.device)
        self.first, self.rescale = True, 1.0

    @property
    def bits(self) -> Tensor:
        """The packed signs of the sum, in a tensor of their own."""
        return pack(self.buffer >= 0)

    def set_bits(self, bits: Tensor, scratch: Scratch) -> None:
        """Replace the sum by these signs, as ±1."""
        self.buffer.copy_(unpack(bits, self.buffer.numel()).view(self.shape))

    def begin(self) -> None:
        """Another micro-batch's ∂W is about to be added, or the first one's stored."""

    def store(self, outputs: slice, columns: slice, tile: Tensor, scratch: Scratch) -> int:
        """Keep or add a tile of ∂W (float32, destroyed); return how many elements of the sum saturated."""
        part = self.buffer[outputs, columns]
        if not self.first:
            tile.mul_(self.rescale).add_(part)
        return saturate_into(part, tile)

    def measure(self) -> None:
        """The sum is complete: take the mean of |∂W| where the recipe scales its signs by that."""
        if self.scaled:
            norm = torch.linalg.vector_norm(self.buffer, 1, dtype=torch.float32)
            self.magnitude = float(norm) / self.buffer.numel()

    def chunk(self, elements: slice, out: Tensor, scratch: Scratch) -> Tensor:
        """Fill `out` (float32, flat) with those elements of the sum, or of its sign (sgn(0) = +1)."""
        out.copy_(self.buffer.view(-1)[elements])
        return signs_into(out, out) if self.is_sign else out


class Accumulation:
    """Keeps the count of the micro-batches of a step and the sums over them; its place is around the backward pass."""

    def __init__(self, layers: list[Layer], beta: Tensor, count: int) -> None:
        """`beta` is β and ∂β of all layers (2 × channels). Call before the optimizer takes the layers' gradients."""
        self._layers, self._beta, self.count = layers, beta, count
        self._taken, self._unscale = 0, 1.0
        self.sum = torch.zeros_like(beta[1])
        self._gradients: list[SummedGradient] = []
        for layer in layers:
            summed = SummedGradient(layer.gradient, DTYPES[layer.recipe.gradient])
            layer.gradient = summed
            self._gradients.append(summed)

    def begin(self, unscale: float) -> None:
        """A micro-batch's backward pass begins; `unscale` takes its loss scale off."""
        if self._taken == 0:
            self._unscale = unscale
        for gradient in self._gradients:
            gradient.first, gradient.rescale = self._taken == 0, unscale / self._unscale

    def end(self) -> bool:
        """The backward pass has ended; tell whether it was the step's last, so that the update is due."""
        self._taken += 1
        if self._taken == 1:
            self.sum.copy_(self._beta[1])
        else:
            self.sum.add_(self._beta[1])
        if self._taken < self.count:
            return False
        self._taken = 0
        self._beta[1].copy_(self.sum)
        for layer, gradient in zip(self._layers, self._gradients, strict=True):
            layer.unscale = self._unscale
            gradient.measure()
        return True
