"""From options to trials: everything is checked and decided here, before anything runs."""

from typing import Any, NamedTuple, cast

import msgspec

from harness import accelerators, checkpoints, curve, devices, option_checks, settings
from harness.errors import UsageError
from harness.run_options import Options as Options  # `plan.Options`: what --ab asks any revision for
from results.format import counted
from results.schema import PROCESSOR, Accelerator, Worker
from workloads import memory_model, recipes, registry
from workloads.datasets.base import PreparedDataset
from workloads.datasets.registry import prepare
from workloads.engines.base import Job
from workloads.recipes import Optimizer, Recipe
from workloads.registry import Engine, Workload
from workloads.specification import Specification


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
    accelerator: Accelerator | None = None  # what is trained on; None is the processor
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

        return program.describe(self.engine_job())

    def engine_job(self) -> Job:
        """Return what the engine builds a training from."""
        return Job(
            self.specification,
            self.recipe,
            self.optimizer,
            self.batch_size,
            self.threads,
            self.seed,
            self.settings,
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
    option_checks.check(options)
    profile, found = devices.resolve(options.device, emulate=options.emulate)
    ceiling = options.ceiling_bytes or (profile.memory_bytes if options.emulate else None)
    if ceiling is None and options.mechanism != "auto":
        raise UsageError(
            f"--mechanism {options.mechanism} needs a ceiling to enforce: --ceiling SIZE, or --emulate"
        )
    prepared: dict[str, PreparedDataset] = {}
    cells = [_cell(options, profile, name, prepared) for name in _pairs(options)]
    # A B A B ...: what drifts over time then falls on all that is compared alike.
    there = accelerators.find(options)
    trials = tuple(
        msgspec.structs.replace(cell, repeat=repeat, seed=options.seed + repeat, accelerator=there)
        for repeat in range(options.repeats)
        for cell in cells
    )
    trials = checkpoints.ordered(trials, options)
    return Plan(options=options, profile=profile, found=found, ceiling_bytes=ceiling, trials=trials)


def _pairs(options: Options) -> list[tuple[str, str]]:
    # A pair named twice is one pair: its trials would write the same checkpoint.
    named = [(workload, trainer) for workload in options.workloads for trainer in options.trainers]
    return list(dict.fromkeys(named))


def _cell(
    options: Options, profile: devices.Profile, pair: tuple[str, str], prepared: dict[str, PreparedDataset]
) -> TrialPlan:
    """Decide one workload with one trainer, for every repeat alike."""
    workload = registry.workload(pair[0])
    recipe = settings.put_into(recipes.recipe(pair[1]), settings.parse(options.settings))
    optimizer = recipes.optimizer(options.optimizer)
    sums = ["accumulate"] if options.accumulate > 1 else []
    features = recipes.features(recipe, optimizer)
    asked = (*options.settings, *sums, *features, *accelerators.asked(options))
    engine = option_checks.engine_for(options, workload, recipe, asked)
    dataset = _dataset(options, workload, prepared)
    batch_size = options.batch_size or workload.batch_size
    length = _length(options, workload, dataset, batch_size)
    evaluate_every, evaluate_after = curve.interval(options, length.epochs, length.batches)
    return TrialPlan(
        workload=workload,
        specification=workload.specification(),
        dataset=dataset,
        recipe=recipe,
        optimizer=optimizer,
        engine=engine,
        batch_size=batch_size,
        steps=length.steps,
        warmup=options.warmup,
        threads=option_checks.threads_for(options, profile, engine),
        seed=options.seed,
        repeat=0,
        trigger=options.trigger_pin is not None,
        worker=cast(Worker, options.worker),
        evaluate_every=evaluate_every,
        evaluate_after=evaluate_after,
        settings=_settings(options, workload, recipe, dataset, length),
    )


def _dataset(options: Options, workload: Workload, prepared: dict[str, PreparedDataset]) -> PreparedDataset:
    """Return the workload's data, prepared once a plan; raise UsageError where its images do not fit the network."""
    source = f"synthetic-{workload.dataset}" if options.synthetic else workload.dataset
    if source not in prepared:
        prepared[source] = prepare(source, options.data_dir)
    dataset, specification = prepared[source], workload.specification()
    if dataset.shape != specification.image_shape or dataset.classes > specification.classes:
        raise UsageError(
            f"'{workload.name}' takes {specification.image_shape} images of up to {specification.classes} classes; "
            f"{dataset.description} has {dataset.shape} images of {dataset.classes}"
        )
    return dataset


class _Length(NamedTuple):
    """How long a training is: `epochs` is None where its steps were given; `batches` are those of an epoch."""

    epochs: int | None
    batches: int
    steps: int


def _length(options: Options, workload: Workload, dataset: PreparedDataset, batch_size: int) -> _Length:
    """Return the length of a training; raise UsageError where nothing is left to measure."""
    batches = dataset.train.count // batch_size
    if batches == 0:
        raise UsageError(
            f"--batch-size {batch_size}: {dataset.description} has "
            f"{counted(dataset.train.count, 'training item')}; take fewer"
        )
    epochs = None if options.steps else options.epochs or workload.epochs
    steps = options.warmup + options.steps if options.steps else batches * (epochs or 0) // options.accumulate
    if steps <= options.warmup:
        raise UsageError(
            f"--warmup {options.warmup} leaves nothing of {counted(steps, 'step')} to measure; take fewer"
        )
    return _Length(epochs, batches, steps)


def _settings(
    options: Options, workload: Workload, recipe: Recipe, dataset: PreparedDataset, length: _Length
) -> dict[str, Any]:
    """Return what the worker and the document are told of how to train; a setting given overrules the workload's."""
    found = {
        "learning_rate": workload.rate_of(options.optimizer),
        "schedule": workload.schedule,
        "augmentation": workload.augmentation,
        **settings.DEFAULTS,
        **settings.parse(options.settings),
        "layout": dataset.layout,
        "epochs": length.epochs,
        "accumulate": options.accumulate,
        "steps": length.steps,
        "warmup": options.warmup,
        "ste_mask": recipe.ste_mask,
        "border": recipe.border,
        "test_items": options.test_items,
    }
    if options.evaluate_every:
        found["evaluate_every"] = options.evaluate_every
    if options.accelerator != PROCESSOR:
        found["device"] = options.accelerator
    if options.settings:
        found["given"] = "; ".join(options.settings)
    return found
