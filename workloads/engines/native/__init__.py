"""The native engine: the Python face of the C++ core. Standard library only; what it imports, the worker holds."""

from typing import Any

from workloads.engines.base import Job, Training
from workloads.engines.native import library
from workloads.engines.native.training import NativeTraining


def warm_up(threads: int) -> None:
    """Load the library and choose its kernels; raises CoreError where HARNESS_ISA names none."""
    library.instruction_set()


def create(job: Job) -> Training:
    """Return a training that has allocated nothing yet; raises UnsupportedError."""
    return NativeTraining(job)


def facts() -> dict[str, Any]:
    """Return the instruction set in use, and how the library was built."""
    return {"name": "native", "isa": library.instruction_set(), **library.build_facts()}
