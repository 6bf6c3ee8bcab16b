"""A variable of a trainer: what the memory model counts, and a plan places."""

from workloads.light_typing import Literal, NamedTuple
from workloads.recipes import BITS, DType

Lifetime = Literal["persistent", "transient"]

CLASSES = ("X", "dX_Y", "mu_psi", "dY", "W", "dW", "beta", "momenta", "masks", "scratch", "input")


class Variable(NamedTuple):
    """One tensor of a trainer: `name` is its class and stage, as in `dW.conv2`."""

    kind: str
    stage: str
    elements: int
    dtype: DType
    lifetime: Lifetime = "persistent"

    @property
    def name(self) -> str:
        """Class and stage in one word, the key of by-layer tables and of the ledger."""
        return f"{self.kind}.{self.stage}"

    @property
    def bytes(self) -> int:
        """Storage in bytes; elements of fewer than 8 bits are packed, the last byte filled up."""
        return (self.elements * BITS[self.dtype] + 7) // 8
