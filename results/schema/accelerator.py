"""The accelerator that a trial was trained on, and what it held there."""

from typing import Self

import msgspec

from results.schema.parts import Bytes, Integer, Positive, require_reason

PROCESSOR = "cpu"
"""What stands for an accelerator's name where the processor trained."""


class Accelerator(msgspec.Struct, kw_only=True, frozen=True):
    """The device beside the processor that a trial was trained on.

    `device` is as it was asked for. `cuda_version` is that of the toolkit torch was built with, `driver_version` that
    of the kernel's module.
    """

    device: str
    name: str
    total_bytes: Positive
    compute_capability: str
    cuda_version: str | None
    driver_version: str | None
    reason: str | None = None

    def __post_init__(self) -> None:
        require_reason("accelerator", None in (self.cuda_version, self.driver_version), self.reason)


class AcceleratorPeak(msgspec.Struct, kw_only=True):
    """The most that one phase held, by the engine's allocator there: handed out, and held of the device to hand out."""

    allocated_bytes: Bytes
    reserved_bytes: Bytes


class AcceleratorMemory(msgspec.Struct, kw_only=True):
    """What a trial held on its accelerator, by the exact counters of the engine's allocator.

    `baseline_bytes` is what was handed out before the set-up (to the device's libraries), `training_peak_bytes` the
    peak of what was handed out less that. The allocator sees neither the driver's context nor code: the two
    `device_used_...` are what was in use of the whole device, by any program, before the set-up and at the last look.
    """

    baseline_bytes: Bytes | None
    peak_allocated_bytes: Bytes | None
    peak_reserved_bytes: Bytes | None
    training_peak_bytes: Integer | None
    by_phase: dict[str, AcceleratorPeak]
    device_used_before_bytes: Bytes | None
    device_used_after_bytes: Bytes | None
    reason: str | None = None

    def __post_init__(self) -> None:
        named = (
            self.baseline_bytes,
            self.peak_allocated_bytes,
            self.peak_reserved_bytes,
            self.training_peak_bytes,
            self.device_used_before_bytes,
            self.device_used_after_bytes,
        )
        require_reason("memory.accelerator", None in named, self.reason)

    @classmethod
    def unavailable(cls, reason: str) -> Self:
        """Return a memory in which nothing was measured, and why."""
        return cls(
            baseline_bytes=None,
            peak_allocated_bytes=None,
            peak_reserved_bytes=None,
            training_peak_bytes=None,
            by_phase={},
            device_used_before_bytes=None,
            device_used_after_bytes=None,
            reason=reason,
        )
