"""What a trial held on its accelerator, from what its worker said at the end of each phase."""

from harness.messages import AcceleratorPeak
from results import schema

_BEFORE = "library"
"""The phase that ends where the set-up begins: the device is open then, and its libraries have what they hold."""


class AcceleratorPeaks:
    """Keeps the highest peaks of each phase, and what was in use of the device."""

    def __init__(self) -> None:
        self._before: AcceleratorPeak | None = None
        self._last: AcceleratorPeak | None = None
        self._by_phase: dict[str, schema.AcceleratorPeak] = {}

    def take(self, message: AcceleratorPeak) -> None:
        """Keep one message."""
        if message.phase == _BEFORE:
            self._before = message
        self._last = message
        known = self._by_phase.get(message.phase, schema.AcceleratorPeak(allocated_bytes=0, reserved_bytes=0))
        self._by_phase[message.phase] = schema.AcceleratorPeak(
            allocated_bytes=max(known.allocated_bytes, message.peak_allocated_bytes),
            reserved_bytes=max(known.reserved_bytes, message.peak_reserved_bytes),
        )

    def memory(self, reason: str, *, trained: bool) -> schema.AcceleratorMemory:
        """Return the document's part, nothing but `reason` where the worker said nothing after its set-up began."""
        before, last = self._before, self._last
        phases = [peak for phase, peak in self._by_phase.items() if phase != _BEFORE]
        if before is None or last is None or not phases:
            return schema.AcceleratorMemory.unavailable(reason)
        highest = max(each.allocated_bytes for each in phases)
        return schema.AcceleratorMemory(
            baseline_bytes=before.allocated_bytes,
            peak_allocated_bytes=highest,
            peak_reserved_bytes=max(each.reserved_bytes for each in phases),
            training_peak_bytes=highest - before.allocated_bytes if trained else None,
            by_phase=self._by_phase,
            device_used_before_bytes=before.used_bytes,
            device_used_after_bytes=last.used_bytes,
            reason=None if trained else reason,
        )
