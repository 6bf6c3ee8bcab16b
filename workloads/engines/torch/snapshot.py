"""A torch training as blocks of memory, for checkpoints: weights, momenta, averages, counters, generator."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from workloads.checkpoint import Block
from workloads.engines.torch.state import on_host, restore

if TYPE_CHECKING:
    from workloads.engines.torch.trainer import TorchTraining


class TorchSnapshot:
    """Everything as blocks of memory; see `workloads.engines.base.Snapshot`."""

    def __init__(self, training: "TorchTraining") -> None:
        self._training = training
        self._state = on_host(training)
        self.blocks = [_block(name, tensor) for name, tensor in self._state.items()]

    def adopt(self) -> None:
        """Make what the blocks now hold the training's own; on the CPU most of it is that already."""
        restore(self._training, self._state)


def _block(name: str, tensor: Tensor) -> Block:
    dtype = str(tensor.dtype).removeprefix("torch.")
    bytes_ = tensor.contiguous().view(-1).view(torch.uint8).numpy()
    data = memoryview(bytes_)  # type: ignore[arg-type]  # an ndarray is a buffer; mypy learns it with Python 3.12
    return Block(name, dtype, tuple(tensor.shape), data)
