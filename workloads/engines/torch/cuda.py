"""A CUDA device as the worker sees it (`workloads.engines.base.Accelerator`), by torch's own allocator.

Run as `python -m workloads.engines.torch.cuda cuda:0` it prints, as JSON, the facts of that device or what is missing:
the parent asks so before any trial, since it must not hold torch itself.

How exact: the allocator counts every block that it hands out, rounded up to 512 bytes, so a peak is never missed. It
does not see the driver's context and code, nor what libraries take from the driver themselves; that is part of what
`mem_get_info` says is used, which counts every program on the device.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch

from workloads.engines.accelerator import AcceleratorMemory
from workloads.engines.torch import devices
from workloads.engines.torch.refusals import memory_errors
from workloads.errors import UnsupportedError

_DRIVER = Path("/sys/module/nvidia/version")


def missing(name: str) -> str | None:
    """Return in one line why a training cannot use the device of that name, and the way out; None where it can."""
    if not torch.backends.cuda.is_built():  # type: ignore[no-untyped-call]
        return (
            f"torch {torch.__version__} was built without CUDA; install a build that has it "
            "(https://pytorch.org/get-started/locally)"
        )
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except (RuntimeError, AssertionError) as error:  # the latter of a build that lacks a part
        return f"torch {torch.__version__} reaches no device: {str(error).splitlines()[0]}"
    count = torch.cuda.device_count()
    if _index(name) < count:
        return None
    there = ", ".join(f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(count))
    return f"there is: {there or 'none'}"


class Cuda:
    """One device; what torch is asked of it goes by its number, which not all of torch takes a device without."""

    def __init__(self, name: str) -> None:
        """Raises UnsupportedError where there is no such device."""
        self._name, self._index = name, _index(name)
        lacking = missing(name)
        if lacking:
            raise UnsupportedError(f"no device '{name}': {lacking}")
        torch.cuda.set_device(self._index)  # so that no other one gets a context

    def limit(self, limit_bytes: int) -> None:
        """Let torch's allocator reserve no more than this of the device; see `Accelerator.limit`."""
        with memory_errors():
            _, total = torch.cuda.mem_get_info(self._index)
            torch.cuda.set_per_process_memory_fraction(min(1.0, limit_bytes / total), self._index)

    def warm_up(self) -> None:
        """Open the context, and make one product forward and back: autograd goes back in a thread of its own.

        Each of the two threads has a handle of cuBLAS, whose workspace is taken from torch's allocator.
        """
        with memory_errors():
            a = torch.ones(64, 64, device=devices.named(self._name), requires_grad=True)
            (a @ a).sum().backward()  # type: ignore[no-untyped-call]
            torch.cuda.synchronize(self._index)

    def facts(self) -> dict[str, Any]:
        """Return what the record says of the device."""
        device = torch.cuda.get_device_properties(self._index)
        driver = _driver_version()
        versions = {"cuda_version": torch.version.cuda, "driver_version": driver}
        lacking = [f"{name}: not known" for name, version in versions.items() if version is None]
        return {
            "device": self._name,
            "name": device.name,
            "total_bytes": device.total_memory,
            "compute_capability": f"{device.major}.{device.minor}",
            **versions,
            "reason": "; ".join(lacking) or None,
        }

    def read(self) -> AcceleratorMemory:
        """Wait until the device has done its work, then read what the allocator counted and what is used in all."""
        index = self._index
        torch.cuda.synchronize(index)
        free, total = torch.cuda.mem_get_info(index)
        return AcceleratorMemory(
            allocated_bytes=torch.cuda.memory_allocated(index),
            peak_allocated_bytes=torch.cuda.max_memory_allocated(index),
            reserved_bytes=torch.cuda.memory_reserved(index),
            peak_reserved_bytes=torch.cuda.max_memory_reserved(index),
            used_bytes=total - free,
        )

    def reset_peak(self) -> None:
        """Let both peaks start anew from what is held now."""
        torch.cuda.reset_peak_memory_stats(self._index)


def _index(name: str) -> int:
    """Return the device's number; without one it is the first, as torch has it."""
    return torch.device(name).index or 0


def _driver_version() -> str | None:
    """Return the version of NVIDIA's kernel module, or None where there is none to ask (as under WSL)."""
    try:
        return _DRIVER.read_text().strip() or None
    except OSError:
        return None


def main() -> None:
    """Print the facts of the device that the command line names, or `missing`."""
    name = sys.argv[1]
    lacking = missing(name)
    sys.stdout.write(json.dumps({"missing": lacking} if lacking else Cuda(name).facts()) + "\n")


if __name__ == "__main__":
    main()
