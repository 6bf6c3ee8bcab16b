"""What an accelerator is to the worker: of the contract of `base`, apart from it so that no other worker holds it."""

from workloads.light_typing import Any, NamedTuple, Protocol


class AcceleratorMemory(NamedTuple):
    """What lies on an accelerator, all work that it was given being done; peaks are since the last reset.

    `allocated_bytes` is what the engine's allocator has handed out, `reserved_bytes` what it holds of the device to
    hand out. `used_bytes` is all of the device that is not free: the driver's context, libraries, other programs too.
    """

    allocated_bytes: int
    peak_allocated_bytes: int
    reserved_bytes: int
    peak_reserved_bytes: int
    used_bytes: int


class Accelerator(Protocol):
    """A device beside the processor that an engine trains on. Its methods may raise OutOfMemoryError."""

    def limit(self, limit_bytes: int) -> None:
        """Let the engine's allocator hold no more than this; called first, if at all."""

    def warm_up(self) -> None:
        """Bring the device to life, so that what its libraries hold is there before the training allocates."""

    def facts(self) -> dict[str, Any]:
        """Return what the record says of the device: the fields of `results.schema.Accelerator`."""
        ...

    def read(self) -> AcceleratorMemory:
        """Wait until the device has done its work, then read."""
        ...

    def reset_peak(self) -> None:
        """Let the peaks start anew from what is held now."""
