"""From options to trials: everything is checked and decided here, before anything runs."""

from pathlib import Path
from typing import Any, cast, get_args

import msgspec

from harness import ceilings, checkpoints, curve, devices, settings
from harness.errors import UsageError
from harness.host import usable_cores
from results.schema import Worker
from workloads import memory_model, recipes, registry
from workloads.datasets.base import PreparedDataset
from workloads.datasets.registry import prepare
from workloads.engines.base import Job
from workloads.recipes import Optimizer, Recipe
from workloads.registry import Engine, Workload
from workloads.specification import Specification

DEFAULT_WORKLOADS = ("mlp-mnist",)
DEFAULT_TRAINERS = ("standard", "lowmem")
WORKERS = get_args(Worker)


class Options(msgspec.Struct, kw_only=True, frozen=True):
    """What the command line asks for; None leaves the choice to the workload or the device."""

    device: str = "auto"
    emulate: bool = False
    workloads: tuple[str, ...] = DEFAULT_WORKLOADS
    trainers: tuple[str, ...] = DEFAULT_TRAINERS
    engine: str | None = None
    worker: str = "python"
    optimizer: str = "adam"
    batch_size: int | None = None
    steps: int | None = None
    epochs: int | None = None
    warmup: int = 10
    repeats: int = 2
    meters: tuple[str, ...] = ()
    trigger_pin: int | None = None
    trigger_active_low: bool = False
    ceiling_bytes: int | None = None
    mechanism: str = "auto"
    threads: int | None = None
    seed: int = 0
    data_dir: Path | None = None
    synthetic: bool = False
    test_items: int | None = None
    allocator: str = "stock"
    settings: tuple[str, ...] = ()
    accumulate: int = 1
    checkpoint: Path | None = None
    checkpoint_every: int | None = None
    resume: bool = False
    evaluate_every: int | None = None  # epochs, or measured steps where `steps` is given
    silence_s: float = 900.0
    idle_s: float = 10.0
    energy_phases: bool = False
    synchronise: bool = False


class TrialPlan(msgspec.Struct, kw_only=True, frozen=True):
    """One trial, decided in full. `steps` counts all of them, the `warmup` steps at the start included."""

    workload: Workload
    specification: Specification
    dataset: PreparedDataset
    recipe: Recipe
    optimizer: Optimizer
    engine: Engine
    batch_size: int
    steps: int
    warmup: int
    threads: int
    seed: int
    repeat: int
    settings: dict[str, Any]
    trigger: bool = False
    worker: Worker = "python"  # "program": harness-train, which holds no Python
    evaluate_every: int | None = None  # micro-batches between evaluations; None: at the end alone
    evaluate_after: int = 0  # steps from which they are counted
    checkpoint: checkpoints.Order | None = None
    python: str | None = None  # another interpreter, whose worker runs the trial; None is this one

    @property
    def resumed_at(self) -> int:
        """Steps that were taken before this process; 0 unless it resumes a checkpoint."""
        return (self.checkpoint and self.checkpoint.resumed_at) or 0

    @property
    def measured_steps(self) -> int:
        """Steps that this process measures."""
        return checkpoints.measured_steps(self.steps, resumed_at=self.resumed_at, warmup=self.warmup)

    def job(self) -> dict[str, Any]:
        """Return the job document that the worker reads; harness-train needs a part of its own."""
        document = {
            "schema": "harness.job",
            "engine_module": self.engine.module,
            "specification": self.specification.to_json(),
            "recipe": self.recipe.to_json(),
            "optimizer": self.optimizer._asdict(),
            "data": self.dataset.to_json(),
            "batch_size": self.batch_size,
            "steps": self.steps,
            "warmup": self.warmup,
            "threads": self.threads,
            "seed": self.seed,
            "settings": self.settings,
            "trigger": self.trigger,
            "checkpoint": self.checkpoint and self.checkpoint.to_json(),
        }
        if self.evaluate_every is not None:
            document["evaluate"] = {"every": self.evaluate_every, "after": self.evaluate_after}
        return document | ({"program": self._program()} if self.worker == "program" else {})

    def _program(self) -> dict[str, Any]:
        from workloads.engines.native import program  # what only this worker needs

        return program.describe(
            Job(
                self.specification,
                self.recipe,
                self.optimizer,
                self.batch_size,
                self.threads,
                self.seed,
                self.settings,
            )
        )

    def memory_model(self) -> memory_model.MemoryModel:
        """Return the honest model of this trial."""
        accumulate = self.settings["accumulate"]
        return memory_model.model(
            self.specification, self.recipe, self.optimizer, self.batch_size, accumulate=accumulate
        )

    def modelled_by_variable(self) -> dict[str, int]:
        """Return the bytes that the honest model gives each class of variables; their sum is the need."""
        return self.memory_model().by_variable()


class Plan(msgspec.Struct, kw_only=True, frozen=True):
    """All trials in running order, and what they run under."""

    options: Options
    profile: devices.Profile
    found: devices.Found | None
    ceiling_bytes: int | None
    trials: tuple[TrialPlan, ...]


def build(options: Options) -> Plan:
    """Decide everything.

    Raises UsageError, UnknownNameError, UnsupportedError or NotThatDeviceError for what cannot run, and DataError for
    data that is missing or corrupt, CheckpointError for a damaged one: before the first trial, not in the middle.
    """
    _check(options)
    profile, found = devices.resolve(options.device, emulate=options.emulate)
    ceiling = options.ceiling_bytes or (profile.memory_bytes if options.emulate else None)
    if ceiling is None and options.mechanism != "auto":
        raise UsageError(
            f"--mechanism {options.mechanism} needs a ceiling to enforce: --ceiling SIZE, or --emulate"
        )
    prepared: dict[str, PreparedDataset] = {}
    cells = [_cell(options, profile, name, prepared) for name in _pairs(options)]
    # A B A B ...: what drifts over time then falls on all that is compared alike.
    trials = tuple(
        msgspec.structs.replace(cell, repeat=repeat, seed=options.seed + repeat)
        for repeat in range(options.repeats)
        for cell in cells
    )
    trials = checkpoints.ordered(trials, options)
    return Plan(options=options, profile=profile, found=found, ceiling_bytes=ceiling, trials=trials)


def _pairs(options: Options) -> list[tuple[str, str]]:
    # A pair named twice is one pair: its trials would write the same checkpoint.
    named = [(workload, trainer) for workload in options.workloads for trainer in options.trainers]
    return list(dict.fromkeys(named))


def _check(options: Options) -> None:
    positive = {
        "--batch-size": options.batch_size,
        "--steps": options.steps,
        "--epochs": options.epochs,
        "--repeats": options.repeats,
        "--threads": options.threads,
        "--test-items": options.test_items,
        "--ceiling": options.ceiling_bytes,
        "--checkpoint-every": options.checkpoint_every,
        "--accumulate": options.accumulate,
        "--evaluate-every": options.evaluate_every,
    }
    for name, value in positive.items():
        if value is not None and value < 1:
            raise UsageError(f"{name} must be at least 1, not {value}")
    if options.worker not in WORKERS:
        raise UsageError(f"--worker {options.worker}: there is: {', '.join(WORKERS)}")
    if options.mechanism not in ceilings.MECHANISMS:
        raise UsageError(f"--mechanism {options.mechanism}: there is: {', '.join(ceilings.MECHANISMS)}")
    if options.trigger_active_low and options.trigger_pin is None:
        raise UsageError("--trigger-active-low needs --trigger-pin N: the pin whose polarity it is")
    if options.warmup < 0:
        raise UsageError(f"--warmup must not be negative, not {options.warmup}")
    if options.steps is not None and options.epochs is not None:
        raise UsageError("--steps and --epochs exclude each other; give one of them")
    if options.energy_phases and options.accumulate > 1:
        raise UsageError(
            "--energy-phases repeats steps of one batch and does not know --accumulate; leave one of the two out"
        )
    curve.check(options)
    if options.threads is not None and options.threads > usable_cores():
        raise UsageError(
            f"--threads {options.threads}: this machine has {usable_cores()} processors to run on"
        )


def _engine(options: Options, workload: Workload, recipe: Recipe, asked: tuple[str, ...]) -> Engine:
    """Return what trains; harness-train is a form of the native engine."""
    engine = registry.engine_for(workload, recipe.name, options.engine, asked)
    if options.worker == "python":
        return engine
    if engine.name != "native":
        raise UsageError(
            f"--worker program runs the native engine, and {engine.name} would train '{workload.name}' with "
            f"'{recipe.name}'; leave --worker out"
        )
    given = {"--checkpoint": options.checkpoint is not None, "--energy-phases": options.energy_phases}
    for option in (name for name, is_given in given.items() if is_given):
        raise UsageError(f"--worker program does not know {option}; leave one of the two out")
    from workloads.engines.native import program

    missing = program.missing()
    if missing:
        raise UsageError(f"--worker program: {missing}")
    return engine


def _cell(
    options: Options, profile: devices.Profile, pair: tuple[str, str], prepared: dict[str, PreparedDataset]
) -> TrialPlan:
    """Decide one workload with one trainer, for every repeat alike."""
    workload, recipe = registry.workload(pair[0]), recipes.recipe(pair[1])
    optimizer = recipes.optimizer(options.optimizer)
    asked = (*options.settings, *(["accumulate"] if options.accumulate > 1 else []))
    engine = _engine(options, workload, recipe, asked)
    source = f"synthetic-{workload.dataset}" if options.synthetic else workload.dataset
    if source not in prepared:
        prepared[source] = prepare(source, options.data_dir)
    dataset = prepared[source]
    specification = workload.specification()
    if dataset.shape != specification.image_shape or dataset.classes > specification.classes:
        raise UsageError(
            f"'{workload.name}' takes {specification.image_shape} images of up to {specification.classes} classes; "
            f"{dataset.description} has {dataset.shape} images of {dataset.classes}"
        )
    batch_size = options.batch_size or workload.batch_size
    batches = dataset.train.count // batch_size
    if batches == 0:
        raise UsageError(
            f"--batch-size {batch_size}: {dataset.description} has {dataset.train.count} training items; take fewer"
        )
    epochs = None if options.steps else options.epochs or workload.epochs
    steps = options.warmup + options.steps if options.steps else batches * (epochs or 0) // options.accumulate
    if steps <= options.warmup:
        raise UsageError(f"--warmup {options.warmup} leaves nothing of {steps} steps to measure; take fewer")
    evaluate_every, evaluate_after = curve.interval(options, epochs, batches)
    return TrialPlan(
        workload=workload,
        specification=specification,
        dataset=dataset,
        recipe=recipe,
        optimizer=optimizer,
        engine=engine,
        batch_size=batch_size,
        steps=steps,
        warmup=options.warmup,
        threads=options.threads or min(profile.cores or usable_cores(), usable_cores()),
        seed=options.seed,
        repeat=0,
        trigger=options.trigger_pin is not None,
        worker=cast(Worker, options.worker),
        evaluate_every=evaluate_every,
        evaluate_after=evaluate_after,
        settings={
            "learning_rate": workload.learning_rate,
            "schedule": workload.schedule,
            "augmentation": workload.augmentation,
            **settings.DEFAULTS,
            **settings.parse(options.settings),
            "layout": dataset.layout,
            "epochs": epochs,
            "accumulate": options.accumulate,
            "steps": steps,
            "warmup": options.warmup,
            "ste_mask": recipe.ste_mask,
            "test_items": options.test_items,
        }
        | ({"evaluate_every": options.evaluate_every} if options.evaluate_every else {})
        | ({"given": "; ".join(options.settings)} if options.settings else {}),
    )
