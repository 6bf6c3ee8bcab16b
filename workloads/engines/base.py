"""What an engine is: the contract between the worker and whatever trains.

The worker knows no tensor. It hands over bytes of a batch and gets a loss; it asks for the ledger; it is told of the
border between two phases so that it can read the kernel's peak there.
"""

from collections.abc import Callable, Iterable, Sequence

from workloads.light_typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol
from workloads.recipes import Optimizer, Recipe
from workloads.specification import Specification

if TYPE_CHECKING:
    from workloads.checkpoint import Block
    from workloads.datasets.core import DataCore
    from workloads.engines.accelerator import Accelerator

Phase = Literal["forward", "backward", "update"]
# Called when a phase has just ended, in the order forward, backward, update, once each a step. An engine whose update
# is fused into its backward pass never calls it with "update". It may raise, to leave the step at that border: the next
# step starts afresh.
Mark = Callable[[Phase], None]
# Pixels (uint8, batch × channels × height × width, flat) and labels (uint8, or uint16 above 256 classes; batch).
Batch = tuple[memoryview, memoryview]


class Job(NamedTuple):
    """All an engine needs to build a training, and nothing about measuring it."""

    specification: Specification
    recipe: Recipe
    optimizer: Optimizer
    batch_size: int
    threads: int
    seed: int
    settings: dict[str, Any]
    ceiling_bytes: int | None = None  # what the whole process may hold; None where nothing holds it to that


class Snapshot(Protocol):
    """All that a training must remember to continue bit for bit; valid until its next step.

    Weights in their storage types, momenta, moving averages, counters, the state of the random generators. Blocks
    are the training's own memory wherever the host can reach it: to be written out, or filled and then adopted.
    """

    @property
    def blocks(self) -> "Sequence[Block]":
        """What is to be kept, in an order that is the same for every training of the same job."""
        ...

    def adopt(self) -> None:
        """Make what the blocks now hold the training's own."""


class Training(Protocol):
    """One network in training. Methods are called in this order; every one may raise OutOfMemoryError."""

    def set_up(self) -> None:
        """Allocate and initialise every persistent variable."""

    def step(self, images: memoryview, labels: memoryview, learning_rate: float, mark: Mark) -> float:
        """Train on one batch of exactly `batch_size` items and return its mean cross-entropy.

        With the job's setting `accumulate` = N it is a micro-batch: every Nth call updates, and only that is marked so.
        """
        ...

    def recalibrate(self, batches: Iterable[Batch]) -> None:
        """Replace the moving averages by statistics over these batches, without training."""

    def evaluate(self, images: memoryview, labels: memoryview) -> int:
        """Return how many of up to `batch_size` items are classified rightly, with the moving averages."""
        ...

    def ledger(self) -> dict[str, int]:
        """Return bytes by class of variable (`memory_model.CLASSES`), as really allocated."""
        ...

    def scratch_by_name(self) -> dict[str, int]:
        """Return what the class `scratch` of the ledger is made of, bytes by name; empty where nobody knows."""
        ...

    def snapshot(self) -> Snapshot:
        """Return a view of everything that continuing bit for bit needs; only between two steps."""
        ...

    def close(self) -> None:
        """Release everything."""


class EngineModule(Protocol):
    """The face of an engine's module."""

    def load(self) -> None:
        """Import everything that training needs; what is resident afterwards is the baseline of the measurement."""

    def warm_up(self, threads: int) -> None:
        """Bring the engine's own libraries to life (thread pools, code pages), so that their memory has a name."""

    def accelerator(self, device: str) -> "Accelerator":
        """Return the accelerator of that name, which the setting `device` has a training use.

        Raises UnsupportedError where it is not there. An engine that `lacks` accelerators need not have this.
        """
        ...

    def create(self, job: Job) -> Training:
        """Return a training that has allocated nothing yet; raises UnsupportedError."""
        ...

    def data_core(self) -> "DataCore | None":
        """Return what does the data path's work on every item, once `load` was called; None leaves it to Python."""
        ...

    def facts(self) -> dict[str, Any]:
        """Return what the record should say of the engine: version, instruction set, compiler, ..."""
        ...
