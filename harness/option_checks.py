"""What options may say, checked before anything is prepared."""

from math import inf
from typing import TYPE_CHECKING, get_args

from harness import accelerators, ceilings, curve
from harness.devices import Profile
from harness.errors import UsageError
from harness.host import usable_cores
from power import registry as meters
from results.format import counted
from results.schema import Worker
from workloads import registry
from workloads.recipes import Recipe
from workloads.registry import Engine, Workload

if TYPE_CHECKING:
    from harness.run_options import Options

WORKERS = get_args(Worker)
_LONGEST_IDLE_S = 86_400


def check(options: "Options") -> None:
    """Raise UsageError for numbers out of range, and for options that exclude each other.

    Raises UnknownMeterError for a meter that nobody knows.
    """
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
    for meter in options.meters:
        meters.make(meter)  # raises UnknownMeterError, which names those there are
    _check_durations(options)
    if options.worker not in WORKERS:
        raise UsageError(f"--worker {options.worker}: there is: {', '.join(WORKERS)}")
    if options.mechanism not in ceilings.MECHANISMS:
        raise UsageError(f"--mechanism {options.mechanism}: there is: {', '.join(ceilings.MECHANISMS)}")
    if options.trigger_active_low and options.trigger_pin is None:
        raise UsageError("--trigger-active-low needs --trigger-pin N: the pin whose polarity it is")
    if options.captures_dir and set(options.meters) == {"none"}:
        raise UsageError(
            "--captures keeps what meters read, and --meter none reads none; leave one of the two out"
        )
    if options.warmup < 0:
        raise UsageError(f"--warmup must not be negative, not {options.warmup}")
    if options.steps is not None and options.epochs is not None:
        raise UsageError("--steps and --epochs exclude each other; give one of them")
    if options.energy_phases and options.accumulate > 1:
        raise UsageError(
            "--energy-phases repeats steps of one batch and does not know --accumulate; leave one of the two out"
        )
    curve.check(options)
    accelerators.check(options)
    if options.threads is not None and options.threads > usable_cores():
        raise UsageError(
            f"--threads {options.threads}: this machine has {counted(usable_cores(), 'processor')} to run on"
        )


def threads_for(options: "Options", profile: Profile, engine: Engine) -> int:
    """Return the threads asked for, else as many as the device has processors and the engine takes.

    Raises UsageError where more are asked for than the engine takes.
    """
    most = engine.most_threads
    if options.threads is None:
        counts = (usable_cores(), profile.cores, most)
        return min(count for count in counts if count is not None)
    if most is not None and options.threads > most:
        raise UsageError(
            f"--threads {options.threads}: the {engine.name} engine takes at most {most}; "
            "take that many, or another --engine"
        )
    return options.threads


def _check_durations(options: "Options") -> None:
    """Raise UsageError for times that nothing can wait for; NaN is within no bounds."""
    if options.idle_s is not None and not 0 <= options.idle_s <= _LONGEST_IDLE_S:
        raise UsageError(f"--idle must be from 0 to {_LONGEST_IDLE_S} s, not {options.idle_s:g}")
    if not 0 < options.silence_s < inf:
        raise UsageError(f"--timeout must be a number of seconds above 0, not {options.silence_s:g}")


def engine_for(options: "Options", workload: Workload, recipe: Recipe, asked: tuple[str, ...]) -> Engine:
    """Return what trains; harness-train is a form of the native engine.

    Raises UsageError where the worker asked for is not there or cannot do what the options ask.
    """
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
