"""Names → lazily imported things. One row a workload, one row an engine; nothing heavy is imported here."""

from collections.abc import Collection
from importlib import import_module
from importlib.util import find_spec
from typing import Literal, NamedTuple, cast

from workloads.engines.base import EngineModule
from workloads.errors import UnknownNameError, UnsupportedError
from workloads.recipes import RECIPES
from workloads.specification import Specification

Augmentation = Literal["none", "shift", "shift-flip"]
ACCELERATOR = "on an accelerator"
"""What an engine lacks that trains on the processor alone, as a refusal has it after the trainer."""


class Workload(NamedTuple):
    """A network on a data set, with the settings that belong to the pair.

    `learning_rate` is that at the start of the schedule, before an optimizer's own factors (`recipes.Optimizer`); the
    optimizers in `other_rates` start at another. `epochs` is what a run takes when neither steps nor epochs are given.
    `features` are what an engine may lack. Rows name a module and not a function, so that listing them imports nothing.
    """

    name: str
    summary: str
    model: str
    dataset: str
    batch_size: int
    learning_rate: float
    schedule: Literal["cosine", "constant"]
    epochs: int
    augmentation: Augmentation = "none"
    features: tuple[str, ...] = ()
    other_rates: tuple[tuple[str, float], ...] = ()

    def rate_of(self, optimizer: str) -> float:
        """Return the learning rate at the start of the schedule with that optimizer."""
        return dict(self.other_rates).get(optimizer, self.learning_rate)

    def specification(self) -> Specification:
        """Return the network, built by its module."""
        module = import_module(f"workloads.models.{self.model}")
        return cast(Specification, module.specification())


class Engine(NamedTuple):
    """What trains: the module that implements `EngineModule`, what it can run, and what it needs.

    `lacks` names settings, as NAME=VALUE, that it does not obey, features of workloads and of recipes with an optimizer
    (`recipes.features`) that it does not have, and `accumulate` and `ACCELERATOR` where it cannot. More threads than
    `most_threads` it does not take; None where it sets no limit.
    """

    name: str
    summary: str
    module: str
    trainers: tuple[str, ...]
    models: tuple[str, ...]
    requires: str | None = None
    missing_check: str | None = None
    lacks: tuple[str, ...] = ()
    most_threads: int | None = None

    def missing(self) -> str | None:
        """Return why this engine cannot be used here, or None; imports nothing heavy.

        `requires` names a package that must be installed, `missing_check` a module whose `missing()` is asked.
        """
        if self.requires and find_spec(self.requires) is None:
            return f"'{self.requires}' is not installed; try: pip install 'edge-harness[{self.requires}]'"
        if self.missing_check:
            return cast("str | None", import_module(self.missing_check).missing())
        return None

    def misnamed(self) -> bool:
        """Tell whether a user names this engine's file and it is not there: no reason to take another engine unsaid."""
        return self.missing_check is not None and bool(import_module(self.missing_check).misnamed())

    def supports(self, workload: Workload, trainer: str, settings: Collection[str] = ()) -> bool:
        """Tell whether this engine trains that workload with that trainer and those settings."""
        able = trainer in self.trainers and workload.model in self.models
        return able and not self.lacking(workload, settings)

    def lacking(self, workload: Workload, settings: Collection[str] = ()) -> list[str]:
        """Return which of the workload's features and of the settings this engine lacks."""
        return [each for each in (*workload.features, *settings) if each in self.lacks]

    def load(self) -> EngineModule:
        """Import the engine. Only a worker should."""
        return cast(EngineModule, import_module(self.module))


def _residual(name: str, summary: str, model: str) -> Workload:
    """Return a residual network's row. Its batch is one that fits a workstation; the paper's is 4096."""
    return Workload(
        name, summary, model, "imagenet", 64, 1e-3, "cosine", 1, "shift-flip", features=("shortcuts",)
    )


MOST_NATIVE_THREADS = 64  # kMaxThreads of src/core/threads.h
_WORKLOADS = (
    Workload("mlp-mnist", "784-256×4-10 on MNIST", "mlp", "mnist", 100, 1e-3, "cosine", 4),
    Workload(
        "cnv-cifar10",
        "CNV on CIFAR-10",
        "cnv",
        "cifar10",
        100,
        1e-3,
        "cosine",
        1,
        "shift-flip",
        other_rates=(("adam", 1e-2),),
    ),
    Workload("cnv-svhn", "CNV on SVHN", "cnv", "svhn", 100, 1e-3, "cosine", 1, "shift"),
    Workload(
        "binarynet-cifar10",
        "BinaryNet on CIFAR-10",
        "binarynet",
        "cifar10",
        100,
        1e-3,
        "cosine",
        1,
        "shift-flip",
    ),
    Workload("binarynet-svhn", "BinaryNet on SVHN", "binarynet", "svhn", 100, 1e-3, "cosine", 1, "shift"),
    _residual("resnete18-imagenet", "ResNetE-18 on ImageNet", "resnete18"),
    _residual("bireal18-imagenet", "Bi-Real-18 on ImageNet", "bireal18"),
)
_ENGINES = (
    Engine(
        "native",
        "this project's C++ core",
        "workloads.engines.native",
        trainers=("standard", "lowmem", "lowmem-centred", "lowmem-q6", "lean", "lean-centred", "lean8"),
        models=("mlp", "cnv", "binarynet"),
        missing_check="workloads.engines.native.location",
        lacks=("gradient_scale=layer", "shortcuts", "accumulate", "bop of real gradients", ACCELERATOR),
        most_threads=MOST_NATIVE_THREADS,
    ),
    Engine(
        "torch",
        "PyTorch",
        "workloads.engines.torch",
        trainers=tuple(name for name, row in RECIPES.items() if not row.single_buffer),
        models=("mlp", "cnv", "binarynet", "resnete18", "bireal18"),
        requires="torch",
    ),
)
WORKLOADS: dict[str, Workload] = {row.name: row for row in _WORKLOADS}
ENGINES: dict[str, Engine] = {row.name: row for row in _ENGINES}


def workload(name: str) -> Workload:
    """Return the workload of that name; raises UnknownNameError naming those there are."""
    if name not in WORKLOADS:
        raise UnknownNameError("workload", name, list(WORKLOADS))
    return WORKLOADS[name]


def engine(name: str) -> Engine:
    """Return the engine of that name; raises UnknownNameError naming those there are."""
    if name not in ENGINES:
        raise UnknownNameError("engine", name, list(ENGINES))
    return ENGINES[name]


def engine_for(
    row: Workload, trainer: str, wanted: str | None = None, settings: Collection[str] = ()
) -> Engine:
    """Return the engine named, or the first usable one that trains this workload with this trainer and these settings.

    Raises UnsupportedError naming what is missing or which engine would do; a named engine is never
    replaced by another.
    """
    candidates = [engine(wanted)] if wanted else list(ENGINES.values())
    able = [each for each in candidates if each.supports(row, trainer, settings)]
    if not able:
        others = [each.name for each in ENGINES.values() if each.supports(row, trainer, settings)]
        instead = f"; try: --engine {others[0]}" if others else "; no engine does yet"
        names = " or ".join(each.name for each in candidates)
        lacking = candidates[0].lacking(row) if wanted else []
        if lacking:
            raise UnsupportedError(
                f"engine {wanted} does not support {', '.join(lacking)}, which '{row.name}' has{instead}"
            )
        said = ", ".join([f"'{trainer}'", *settings])
        raise UnsupportedError(f"engine {names} does not train '{row.name}' with {said}{instead}")
    reasons = []
    for each in able:
        reason = each.missing()
        if reason is None:
            return each
        reasons.append(f"engine {each.name}: {reason}")
        if each.misnamed():
            break
    raise UnsupportedError("; ".join(reasons))
