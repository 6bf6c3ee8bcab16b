"""The ledger: bytes of every class of variable as really allocated, beside which the memory model is put.

Persistent tensors are asked for their storage. What autograd retains is seen through saved-tensor hooks on the first
step, each storage once; a retained tensor that has no name is an error, so nothing can hide.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from workloads.engines.torch.bits import table_bytes
from workloads.engines.torch.flow import Activations
from workloads.engines.torch.layer import Layer
from workloads.engines.torch.optimizers import Update
from workloads.engines.torch.scratch import Scratch
from workloads.errors import WorkloadError
from workloads.memory_model import CLASSES


class Ledger:
    """Watches the first step, and adds up."""

    def __init__(self) -> None:
        self._retained: dict[int, int] | None = None
        self._names: dict[int, str] = {}
        self._watching = False

    def watch(self, first: Activations) -> AbstractContextManager[object]:
        """Return a context that sees what autograd retains; only the first one looks."""
        if self._retained is not None:
            self._watching = False
            return nullcontext()
        self._retained, self._watching = {}, True
        self._name(first.real, "input")
        self._name(first.bits, "X")
        return torch.autograd.graph.saved_tensors_hooks(self._pack, lambda tensor: tensor)

    def saw(self, layer: Layer, x: Activations) -> None:
        """Learn the names of what a stage retained and what it handed on."""
        if self._watching:
            self._names |= layer.retained
            self._name(x.real, "X")
            self._name(x.bits, "X")
            self._name(x.mask, "masks")
            self._name(x.branch, "X")

    def _name(self, tensor: Tensor | None, kind: str) -> None:
        if tensor is not None:
            self._names[tensor.untyped_storage().data_ptr()] = kind

    def _pack(self, tensor: Tensor) -> Tensor:
        assert self._retained is not None
        storage = tensor.untyped_storage()
        self._retained[storage.data_ptr()] = storage.nbytes()
        return tensor

    def retained(self) -> dict[str, int]:
        """Return the bytes that autograd kept from forward to backward, by class."""
        totals: dict[str, int] = {}
        for address, size in (self._retained or {}).items():
            kind = self._names.get(address)
            if kind is None:
                raise WorkloadError(f"autograd retains {size} bytes that no class of variable names")
            totals[kind] = totals.get(kind, 0) + size
        return totals

    def totals(self, layers: list[Layer], updates: list[Update], scratch: Scratch) -> dict[str, int]:
        """Return bytes by class of variable."""
        totals = dict.fromkeys(CLASSES, 0) | self.retained()
        for layer in layers:
            totals["W"] += layer.weights.storage.nbytes
            totals["dW"] += layer.gradient.buffer.nbytes
            totals["beta"] += layer.beta.nbytes + layer.beta_gradient.nbytes
            totals["mu_psi"] += layer.moving.nbytes
            for kind, size in layer.transient.items():
                totals[kind] = max(totals[kind], size)
        slots = [slot for update in updates for slot in update.slots]
        totals["momenta"] = sum(each.nbytes for slot in slots for each in slot.momenta.values())
        totals["scratch"] = scratch.bytes + table_bytes()
        return totals
