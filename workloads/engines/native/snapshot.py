"""What a native training must remember to continue bit for bit: the arena's lasting variables, and counters."""

from array import array

from workloads.checkpoint import Block
from workloads.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workloads.engines.native.training import NativeTraining

# Everything else in the arena is written anew by every step.
_LASTING = ("mu_psi.moving", "beta", "W", "momenta", "momenta.beta")


class NativeSnapshot:
    """Blocks of the arena itself; see `workloads.engines.base.Snapshot`."""

    def __init__(self, training: "NativeTraining") -> None:
        self._training = training
        self._counters = memoryview(array("Q", training.counters()))
        views = [
            (f"{each.role}.{each.stage}", training.variable(each.role, each.stage))
            for each in training.plan.variables
            if each.role in _LASTING
        ]
        self.blocks = [Block(name, "uint8", (view.nbytes,), view) for name, view in views]
        self.blocks.append(Block("counters", "uint64", (3,), self._counters))

    def adopt(self) -> None:
        """Take the counters over; the arena holds the rest already."""
        self._training.set_counters(self._counters)
