"""The native engine: the Python face of the C++ core. Standard library only; what it imports, the worker holds.

Importing this module alone loads nothing, so that the registry can ask `location` whether the core is there.
"""

from typing import Any

from workloads.engines.base import Job, Training


def warm_up(threads: int) -> None:
    """Load the library and choose its kernels; raises CoreError where HARNESS_ISA names none."""
    from workloads.engines.native import library

    library.instruction_set()


def create(job: Job) -> Training:
    """Return a training that has allocated nothing yet; raises UnsupportedError."""
    from workloads.engines.native.training import NativeTraining

    return NativeTraining(job)


def facts() -> dict[str, Any]:
    """Return the instruction set in use, and how the library was built."""
    from workloads.engines.native import library

    return {"name": "native", "isa": library.instruction_set(), **library.build_facts()}
