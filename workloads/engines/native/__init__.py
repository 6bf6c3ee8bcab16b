"""The native engine: the Python face of the C++ core. Standard library only; what it imports, the worker holds.

Importing this module alone loads nothing, so that the registry can ask `location` whether the core is there.
"""

from workloads.engines.base import Job, Training
from workloads.light_typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workloads.datasets.core import DataCore


def load() -> None:
    """Load the library and choose its kernels.

    Raises CoreError where HARNESS_ISA names no instruction set that runs here.
    """
    from workloads.engines.native import data, library, training  # noqa: F401

    library.instruction_set()


def warm_up(threads: int) -> None:
    """Run a few steps of a tiny network, so that the pages of the library's code are held."""
    from workloads.engines.native import training

    training.rehearse(threads)


def create(job: Job) -> Training:
    """Return a training that has allocated nothing yet; raises UnsupportedError."""
    from workloads.engines.native.training import NativeTraining

    return NativeTraining(job)


def data_core() -> "DataCore":
    """Return the core's data path."""
    from workloads.engines.native.data import CoreData

    return CoreData()


def facts() -> dict[str, Any]:
    """Return the instruction set in use, and how the library was built."""
    from workloads.engines.native import library

    return {"name": "native", "isa": library.instruction_set(), **library.build_facts()}
