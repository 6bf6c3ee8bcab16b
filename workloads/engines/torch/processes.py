"""Which other processes train the same network; nobody, unless `distributed` says otherwise.

A process belongs to one training, so this is a fact about the process, as torch's default process group is. What needs
a sum over the whole batch asks `current()` for it, and knows nothing of networks of machines.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

if TYPE_CHECKING:
    from workloads.engines.torch.layer import Layer


class Processes(Protocol):
    """All processes of a training. Every one of them makes the same calls in the same order."""

    count: int
    # ∂W must be summed as real numbers, even where the recipe keeps its sign.
    sums_gradients: bool

    def sum_(self, values: Tensor) -> Tensor:
        """Overwrite float32 values with their sums over all processes; return them."""
        ...

    def max(self, value: float) -> float:
        """Return the largest value of all processes."""
        ...

    def exchange(self, layers: "Sequence[Layer]", beta_gradient: Tensor) -> None:
        """Overwrite ∂W and ∂β of this process's part of the batch with those of all parts."""


class Alone:
    """The one process of an ordinary training."""

    count = 1
    sums_gradients = False

    def sum_(self, values: Tensor) -> Tensor:
        """Return the values."""
        return values

    def max(self, value: float) -> float:
        """Return the value."""
        return value

    def exchange(self, layers: "Sequence[Layer]", beta_gradient: Tensor) -> None:
        """Leave the gradients as they are."""


_current: Processes = Alone()


def current() -> Processes:
    """Return the processes that train together with this one, itself included."""
    return _current


@contextmanager
def joined(processes: Processes) -> Iterator[None]:
    """Train together with these for a while."""
    global _current
    before, _current = _current, processes
    try:
        yield
    finally:
        _current = before
