"""torch.cuda as one device whose counters are scripted, for what asks it; tensors stay on the CPU.

As strict as the real one where that refuses, and stricter: a device goes by its number (parts of torch refuse one
without), and counters that are read before the device was waited for, since the last reset, are an error.

The script: after k resets the peak is `base_bytes` + k MiB, of which `base_bytes` are held; twice that is reserved.
"""

import sys
from types import SimpleNamespace

import torch

from workloads.engines.torch import devices

MIB = 1 << 20


class ScriptedCuda:
    """Patches torch with its own methods; `events` says what was called, in order."""

    base_bytes = 8 * MIB
    total_bytes = 1 << 30
    free_bytes = 600 * MIB

    def __init__(self, count=1):
        self.events = []
        self.fraction = None
        self._count, self._resets, self._waited = count, 0, False

    def install(self, patch=setattr):
        for name in (
            "init", "device_count", "get_device_name", "get_device_properties", "set_device", "synchronize",
            "mem_get_info", "memory_allocated", "max_memory_allocated", "memory_reserved", "max_memory_reserved",
            "reset_peak_memory_stats", "set_per_process_memory_fraction",
        ):  # fmt: skip
            patch(torch.cuda, name, getattr(self, name))
        patch(torch.backends.cuda, "is_built", lambda: True)
        patch(torch.version, "cuda", "13.0")
        patch(devices, "named", lambda name: torch.device("cpu"))
        return self

    def _of(self, index):
        assert type(index) is int and 0 <= index < self._count, f"no number of a device: {index!r}"

    def _counters(self, index):
        self._of(index)
        assert self._waited, "counters read before the device was waited for"
        self.events.append("read")

    def init(self):
        pass

    def device_count(self):
        return self._count

    def get_device_name(self, index):
        self._of(index)
        return f"Scripted GPU {index}"

    def get_device_properties(self, index):
        return SimpleNamespace(
            name=self.get_device_name(index), total_memory=self.total_bytes, major=9, minor=0
        )

    def set_device(self, index):
        self._of(index)
        self.events.append(f"set {index}")

    def synchronize(self, index):
        self._of(index)
        self._waited = True
        self.events.append("wait")

    def mem_get_info(self, index):
        self._of(index)
        return self.free_bytes, self.total_bytes

    def memory_allocated(self, index):
        self._counters(index)
        return self.base_bytes

    def max_memory_allocated(self, index):
        self._counters(index)
        return self.base_bytes + self._resets * MIB

    def memory_reserved(self, index):
        self._counters(index)
        return 2 * self.base_bytes

    def max_memory_reserved(self, index):
        self._counters(index)
        return 2 * (self.base_bytes + self._resets * MIB)

    def reset_peak_memory_stats(self, index):
        self._of(index)
        self._resets, self._waited = self._resets + 1, False
        self.events.append("reset")

    def set_per_process_memory_fraction(self, fraction, index):
        self._of(index)
        assert isinstance(fraction, float) and 0 <= fraction <= 1
        self.fraction = fraction
        self.events.append("limit")


def run_worker():
    """Be a worker whose torch has the scripted device, and print what was called."""
    from harness.worker import main

    scripted = ScriptedCuda().install()
    try:
        main()
    finally:
        print(*scripted.events, file=sys.stderr)
