"""The updates, fused and in place, a chunk of elements at a time: no value, momentum or gradient is copied whole.

Units. A one-bit ∂W is stored as ±1 and stands for ±1/√N (Wang et al. 2023); a float16 gradient is a sum over the batch
and stands for the mean. `Slot.attenuation` is that factor. It is folded into the step and ε, never multiplied
into the stored gradient, so that momenta live near 1 and float16 neither underflows nor loses digits.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from workloads.engines.torch.bits import pack_flags_, unpack_into
from workloads.engines.torch.rounding import Dither
from workloads.engines.torch.scratch import Scratch

# Fills a float32 chunk with the gradient of those flat elements.
GradientReader = Callable[[slice, Tensor, Scratch], Tensor]
# 128 KiB a float32 chunk: the six that a float16 update works with fit a core's L2 cache.
CHUNK = 1 << 15


class Chunk(NamedTuple):
    """A run of a slot's elements: views of its values and momenta, and where it lies."""

    part: slice
    stored: tuple[Tensor, ...]


class Slot:
    """One tensor to be trained.

    `attenuation` × stored gradient = gradient of the loss. `latent` marks weights whose sign is used: their
    gradient is cancelled at the border (where |W| ≥ 1, or |W| > 1 if `clip`), and `clip` keeps them in
    [−1, 1] after the step. Where `values` are packed (Bop), `elements` says how many there are. `rate` is
    the factor on the learning rate, and `threshold` Bop's, in units of the stored gradient (`recipes.Optimizer`).
    """

    def __init__(
        self,
        name: str,
        values: Tensor,
        read: GradientReader,
        attenuation: float,
        *,
        latent: bool,
        clip: bool,
        rate: float = 1.0,
        threshold: float = 0.0,
        elements: int | None = None,
    ) -> None:
        self.name, self.values, self.read = name, values, read
        self.attenuation, self.latent, self.clip = attenuation, latent, clip
        self.rate, self.threshold = rate, threshold
        self.elements = values.numel() if elements is None else elements
        self.momenta: dict[str, Tensor] = {}

    def chunks(self, size: int) -> list[Chunk]:
        """Cut values and momenta into runs of `size` elements."""
        parts = [slice(start, min(start + size, self.elements)) for start in range(0, self.elements, size)]
        return [
            Chunk(part, (self._values(part), *(m[part] for m in self.momenta.values()))) for part in parts
        ]

    def _values(self, part: slice) -> Tensor:
        if self.values.dtype == torch.uint8:
            return self.values[part.start // 8 : (part.stop + 7) // 8]
        return self.values.view(-1)[part]


class Update(ABC):
    """Runs over its slots in chunks; subclasses say which momenta they keep and how a chunk is updated."""

    momenta: tuple[str, ...] = ()

    def __init__(
        self,
        slots: list[Slot],
        dtype: torch.dtype,
        dither: Dither,
        scratch: Scratch,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.slots, self.dtype, self.settings = slots, dtype, settings or {}
        self.dither, self.scratch = dither, scratch
        self.steps_taken = 0
        size = CHUNK if dither.generator.device.type == "cpu" else 1 << 24
        self._chunks: list[tuple[Slot, Chunk]] = []
        for slot in slots:
            for name in self.momenta:
                slot.momenta[name] = torch.zeros(slot.elements, dtype=dtype, device=slot.values.device)
            self._chunks += [(slot, chunk) for chunk in slot.chunks(size)]

    def step(self, learning_rate: float) -> None:
        """Update every slot from its gradient."""
        self.steps_taken += 1
        for slot, chunk in self._chunks:
            with self.scratch:
                self._step_chunk(slot, chunk, learning_rate)

    def _step_chunk(self, slot: Slot, chunk: Chunk, learning_rate: float) -> None:
        if self.dtype == torch.float32:
            self._update(slot, chunk.stored, self._gradient(slot, chunk), learning_rate)
        else:
            self._update_rounded(slot, chunk, learning_rate)

    def _update_rounded(self, slot: Slot, chunk: Chunk, learning_rate: float) -> None:
        """Update float32 copies and round them back."""
        count = chunk.part.stop - chunk.part.start
        work = self.scratch.take((len(chunk.stored), count), torch.float32)
        rows = work.unbind()
        for row, stored in zip(rows, chunk.stored, strict=True):
            row.copy_(stored)
        self._update(slot, rows, self._gradient(slot, chunk), learning_rate)
        self.dither.apply_(work, self.scratch)
        for row, stored in zip(rows, chunk.stored, strict=True):
            stored.copy_(row)

    @abstractmethod
    def _update(self, slot: Slot, state: tuple[Tensor, ...], gradient: Tensor, learning_rate: float) -> None:
        """Update a chunk's values and momenta (float32, in place) from its gradient (float32, destroyed)."""

    def _gradient(self, slot: Slot, chunk: Chunk) -> Tensor:
        """Return the chunk's gradient, cancelled where a latent weight is saturated."""
        out = self.scratch.take((chunk.part.stop - chunk.part.start,), torch.float32)
        gradient = slot.read(chunk.part, out, self.scratch)
        if slot.latent:
            values = chunk.stored[0]
            low, high = torch.aminmax(values)
            if float(low) <= -1 or float(high) >= 1:
                gradient.mul_(values.abs() <= 1 if slot.clip else values.abs() < 1)
        return gradient


class Adam(Update):
    """Adam (Kingma & Ba 2015), ε outside the root.

    float16 keeps the second moment as its square root s: v of a ±1 gradient starts at 1e-3 and grows by steps
    that a float16 v would lose; s is of the gradient's own magnitude, and stochastic rounding keeps its mean. The
    variance that rounding adds to s² is below 2^-22 of it.
    """

    momenta = ("first", "second")
    epsilon = 1e-8

    @property
    def betas(self) -> tuple[float, float]:
        """β1 and β2 (setting `betas`)."""
        first, second = self.settings.get("betas", (0.9, 0.999))
        return float(first), float(second)

    def _update(self, slot: Slot, state: tuple[Tensor, ...], gradient: Tensor, learning_rate: float) -> None:
        decay, decay2 = self.betas
        values, first, second = state
        first.lerp_(gradient, 1 - decay)
        if self.dtype == torch.float32:
            second.mul_(decay2).addcmul_(gradient, gradient, value=1 - decay2)
            root = torch.sqrt(second, out=gradient)
        else:
            second.mul_(second).mul_(decay2).addcmul_(gradient, gradient, value=1 - decay2).sqrt_()
            root = second
        correction = math.sqrt(1 - decay2**self.steps_taken)
        root = torch.add(root, self.epsilon / slot.attenuation * correction, out=gradient)
        values.addcdiv_(
            first, root, value=-learning_rate * slot.rate * correction / (1 - decay**self.steps_taken)
        )
        if slot.clip:
            values.clamp_(-1, 1)


class Momentum(Update):
    """Stochastic gradient descent with momentum 0.9: m ← 0.9·m + g; w ← w − η·m, η the slot's rate × the learning rate.

    m is kept as the running mean (1 − 0.9)·m, which is of the gradient's own magnitude.
    """

    momenta = ("first",)
    decay = 0.9

    def _update(self, slot: Slot, state: tuple[Tensor, ...], gradient: Tensor, learning_rate: float) -> None:
        values, first = state
        first.lerp_(gradient, 1 - self.decay)
        values.add_(first, alpha=-learning_rate * slot.rate * slot.attenuation / (1 - self.decay))
        if slot.clip:
            values.clamp_(-1, 1)


class Bop(Update):
    """Bop (Helwegen et al. 2019): m ← (1 − γ)·m + γ·g; a weight flips where |m| > τ and m has its sign.

    There are no latent weights: the slot's values are packed signs. γ is the slot's rate × the learning rate, whose
    schedule it so follows (the paper decays γ in place of a learning rate).
    """

    momenta = ("first",)

    def _step_chunk(self, slot: Slot, chunk: Chunk, learning_rate: float) -> None:
        packed, stored = chunk.stored
        count = chunk.part.stop - chunk.part.start
        gradient, signs, first = (self.scratch.take((count,), torch.float32) for _ in range(3))
        slot.read(chunk.part, gradient, self.scratch)
        unpack_into(packed, signs, self.scratch)
        self._update(slot, (signs, first.copy_(stored)), gradient, learning_rate)
        flags = self.scratch.take((count,), torch.int8).copy_(signs.ge_(0))
        pack_flags_(flags, packed, self.scratch)
        if stored.dtype == torch.float16:
            self.dither.apply_(first, self.scratch)
        stored.copy_(first)

    def _update(self, slot: Slot, state: tuple[Tensor, ...], gradient: Tensor, learning_rate: float) -> None:
        signs, first = state
        first.lerp_(gradient, slot.rate * learning_rate)
        # m·w > τ says at once that |m| > τ and that the signs agree.
        flips = torch.mul(first, signs, out=gradient).gt_(slot.threshold)
        signs.addcmul_(signs, flips, value=-2)
