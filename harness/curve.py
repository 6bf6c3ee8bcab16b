"""The accuracy curve as the parent sees it: how often the test set is evaluated while training, and each point."""

from typing import TYPE_CHECKING

from harness.errors import UsageError
from harness.messages import Evaluated
from results.schema import Evaluation

if TYPE_CHECKING:
    from harness.plan import TrialPlan
    from harness.run_options import Options


def check(options: "Options") -> None:
    """Raise UsageError for what would measure the evaluations as training."""
    if options.evaluate_every is None:
        return
    for option, given in (
        ("--trigger-pin", options.trigger_pin is not None),
        ("--synchronise", options.synchronise),
    ):
        if given:
            raise UsageError(
                f"{option} and --evaluate-every exclude each other: a meter that records by itself knows one window, "
                "and the evaluations would lie in it"
            )


def interval(options: "Options", epochs: int | None, batches: int) -> tuple[int | None, int]:
    """Return after how many micro-batches each the test set is evaluated, and from which step on they are counted.

    The option counts in what the training's length is given in: epochs (of so many `batches`), or measured steps.
    (None, 0) is at the end alone. Raises UsageError where no evaluation would lie in between.
    """
    every = options.evaluate_every
    if every is None:
        return None, 0
    longest, unit = (options.steps, "steps") if options.steps else (epochs or 0, "epochs")
    if every > longest:
        raise UsageError(f"--evaluate-every {every}: the training has {longest} {unit}; take fewer")
    return (every * options.accumulate, options.warmup) if options.steps else (every * batches, 0)


def points(plan: "TrialPlan", said: list[Evaluated]) -> list[Evaluation]:
    """Return the points of the curve that the worker's counts are."""
    batches = plan.dataset.train.count // plan.batch_size  # an epoch drops its incomplete batch
    return [
        Evaluation(
            step=each.step,
            epoch=each.step * plan.settings["accumulate"] / batches,
            test_accuracy=each.correct / each.items,
            duration_s=each.duration_ns * 1e-9,
        )
        for each in said
        if each.items
    ]
