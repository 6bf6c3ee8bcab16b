"""Checkpoints as the plan sees them: where each trial's file is, and whether it may be continued.

Everything is decided before the first trial: a file of another training is refused then, and so is
one that a run without `--resume` would write over.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from harness import folders
from harness.errors import UsageError
from results.conditions import TRAINED_BY
from results.format import counted
from results.schema import PROCESSOR
from workloads import checkpoint
from workloads.errors import CheckpointError

if TYPE_CHECKING:
    from harness.plan import TrialPlan
    from harness.run_options import Options

_TRAINED_BY = (*TRAINED_BY, "accumulate")
# What a fingerprint that does not say it is of: those of the processor do not name one.
_UNSAID = {"accelerator": PROCESSOR}


def measured_steps(steps: int, *, resumed_at: int | None, warmup: int) -> int:
    """Return how many of all `steps` one process measures: after those of its checkpoint and its own warm-up."""
    return max(0, steps - (resumed_at or 0) - warmup)


class Order(msgspec.Struct, kw_only=True, frozen=True):
    """What a trial's worker is told: write to `path` every so many steps; `resumed_at` is the step it goes on from."""

    path: Path
    every: int
    fingerprint: dict[str, Any]
    resumed_at: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the job document's `checkpoint`."""
        return {
            "path": str(self.path),
            "every": self.every,
            "resume": self.resumed_at is not None,
            "fingerprint": self.fingerprint,
        }


def ordered(trials: tuple["TrialPlan", ...], options: "Options") -> tuple["TrialPlan", ...]:
    """Return the trials with their checkpoints, if any were asked for.

    Raises UsageError for options that make no sense together, a folder that cannot be written to, a checkpoint that
    would be lost, and with `--resume` for one of another training, or none; CheckpointError for a damaged one.
    """
    folder = options.checkpoint
    if folder is None:
        _refuse_alone(options)
        return trials
    every = 100 if options.checkpoint_every is None else options.checkpoint_every
    folders.make(folder, "--checkpoint")
    orders = [_order(each, folder, every, resume=options.resume) for each in trials]
    if options.resume and all(order.resumed_at is None for order in orders):
        there = sorted(path.stem for path in folder.glob(f"*{checkpoint.SUFFIX}"))
        raise UsageError(
            f"--resume: '{folder}' has no checkpoint of {_stem(trials[0])}; it has: {', '.join(there) or 'none'}"
        )
    return tuple(
        msgspec.structs.replace(each, checkpoint=order) for each, order in zip(trials, orders, strict=True)
    )


def fingerprint(trial: "TrialPlan") -> dict[str, Any]:
    """Return what must be the same for a training to be continued, by the names that options have."""
    known = {
        "workload": trial.workload.name,
        "trainer": trial.recipe.name,
        "engine": trial.engine.name,
        "optimizer": trial.optimizer.name,
        "batch-size": trial.batch_size,
        "seed": trial.seed,
        "steps": trial.steps,
        **{name: trial.settings[name] for name in _TRAINED_BY},
        **_kind_of_device(trial),
        "dataset": f"{trial.dataset.name}, {trial.dataset.variant}, {trial.dataset.train.count} items",
        "network": trial.specification.to_json(),
        "recipe": trial.recipe.to_json(),
    }
    same: dict[str, Any] = json.loads(json.dumps(known))  # as it comes back from a file: lists, no tuples
    return same


def _kind_of_device(trial: "TrialPlan") -> dict[str, str]:
    """Return the kind of accelerator: its random generator is another than the processor's. Its number is no matter."""
    device = trial.settings.get("device")
    return {} if device is None else {"accelerator": str(device).partition(":")[0]}


def _refuse_alone(options: "Options") -> None:
    if options.resume or options.checkpoint_every is not None:
        name = "--resume" if options.resume else "--checkpoint-every"
        raise UsageError(f"{name} needs --checkpoint FOLDER: where the checkpoints are")


def _stem(trial: "TrialPlan") -> str:
    return f"{trial.workload.name}-{trial.recipe.name}-seed-{trial.seed}"


def _order(trial: "TrialPlan", folder: Path, every: int, *, resume: bool) -> Order:
    # Absolute: a worker need not have this folder as its own.
    path = folder.absolute() / f"{_stem(trial)}{checkpoint.SUFFIX}"
    order = Order(path=path, every=every, fingerprint=fingerprint(trial))
    if not path.exists():
        return order
    head = _head(path)
    if not resume:
        raise UsageError(
            f"'{path}' is the checkpoint of {counted(head['step'], 'step')}; "
            "add --resume to continue it, or name another folder"
        )
    _check(path, head, order.fingerprint)
    return msgspec.structs.replace(order, resumed_at=head["step"])


def _head(path: Path) -> dict[str, Any]:
    """Return the head with its `step` and `fingerprint`: the checksum is not read here, so a key may be damaged."""
    head = checkpoint.read_head(path)
    step, of = head.get("step"), head.get("fingerprint")
    if type(step) is not int or step < 0 or not isinstance(of, dict):
        raise CheckpointError(
            f"the checkpoint '{path}' is damaged: its head does not say at which step it is, or of what; "
            "delete it and train anew, or put back a copy"
        )
    return head


def _check(path: Path, head: dict[str, Any], wanted: dict[str, Any]) -> None:
    kept: dict[str, Any] = head["fingerprint"]
    for name in [*wanted, *kept]:
        before, now = (each.get(name, _UNSAID.get(name)) for each in (kept, wanted))
        if before != now:
            raise UsageError(f"--resume: '{path}' is of another training: {_difference(name, before, now)}")


def _difference(name: str, before: Any, now: Any) -> str:
    if isinstance(before, dict) or isinstance(now, dict):
        return f"its {name} is not that of this version"
    return f"{name} was {before}, now it is {now}"
