"""Weights as the products read them: latent real values whose signs are taken, signs alone (Bop), or real values."""

from typing import Protocol

import torch
from torch import Tensor

from workloads.engines.torch.bits import pack_flags_, packed_bytes, unpack_into
from workloads.engines.torch.scratch import Scratch
from workloads.engines.torch.sources import signs_into


class Weights(Protocol):
    """A weight matrix, outputs × inputs."""

    shape: tuple[int, int]
    storage: Tensor

    def signs(self, outputs: slice, columns: slice, out: Tensor, scratch: Scratch) -> Tensor:
        """Fill `out` (float32 tile) with the operand of the product, Ŵ; return `out`."""
        ...


class LatentWeights:
    """Real W (float32 or float16); Ŵ = sgn(W)."""

    def __init__(self, values: Tensor) -> None:
        self.storage = values
        self.shape = (values.shape[0], values.shape[1])

    def signs(self, outputs: slice, columns: slice, out: Tensor, scratch: Scratch) -> Tensor:
        """Fill `out` with sgn(W) of that tile."""
        return signs_into(self.storage[outputs, columns], out)


class RealWeights(LatentWeights):
    """Real W (float32 or float16), used as it is: a full-precision stage's."""

    def signs(self, outputs: slice, columns: slice, out: Tensor, scratch: Scratch) -> Tensor:
        """Fill `out` with that tile of W itself, the operand of the product."""
        return out.copy_(self.storage[outputs, columns])


class PackedWeights:
    """Ŵ as packed bits and nothing else. Output slices start at multiples of 8, column slices too or span all."""

    def __init__(self, signs: Tensor, scratch: Scratch) -> None:
        self.shape = (signs.shape[0], signs.shape[1])
        self.storage = torch.empty(packed_bytes(signs.numel()), dtype=torch.uint8, device=signs.device)
        pack_flags_((signs >= 0).contiguous(), self.storage, scratch)

    def signs(self, outputs: slice, columns: slice, out: Tensor, scratch: Scratch) -> Tensor:
        """Fill `out` with that tile of Ŵ."""
        features = self.shape[1]
        part = self.storage[outputs.start * features // 8 : (outputs.stop * features + 7) // 8]
        if columns.stop - columns.start != features:
            part = part.view(-1, features // 8)[:, columns.start // 8 : columns.stop // 8]
        return unpack_into(part, out, scratch)
