"""Accuracy while training: the mean curve of a trainer's repeats, and the few points that a table has room for."""

import statistics
from collections.abc import Sequence

from results import format as fmt
from results.schema import Trial
from results.summary import Row

MOST = 6
"""Points in a table: with the trainer's name they fit in 80 columns."""


def curve(row: Row) -> list[tuple[float, float]]:
    """Return (epoch, accuracy) of one trainer: the mean over its finished trials, where all of them were evaluated."""
    used = [trial for trial in row.trials if trial.outcome == "ok"]
    found = [{each.step: each for each in trial.quality.evaluations} for trial in used]
    if not found:
        return []
    common = sorted(set.intersection(*(set(each) for each in found)))
    return [
        (found[0][step].epoch, statistics.fmean(each[step].test_accuracy for each in found))
        for step in common
    ]


def table(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]] | None:
    """Return heads and lines of accuracy by epoch, at most `MOST` epochs, the last among them; None without a curve."""
    curves = {row.trainer: dict(curve(row)) for row in rows}
    epochs = sorted({epoch for points in curves.values() for epoch in points})
    if not epochs:
        return None
    if len(epochs) > MOST:
        epochs = [epochs[round(i * (len(epochs) - 1) / (MOST - 1))] for i in range(MOST)]
    lines = [
        [trainer, *(fmt.percent(points.get(epoch)) for epoch in epochs)] for trainer, points in curves.items()
    ]
    return ["epoch", *(f"{epoch:.3g}" for epoch in epochs)], lines


def loss_epochs(trial: Trial) -> list[float] | None:
    """Return the epoch at which each logged loss ends; None where the document does not say how long an epoch is."""
    steps, points = trial.settings.get("steps"), trial.quality.evaluations
    if not points or not isinstance(steps, int) or points[-1].step == 0:
        return None
    stretch = max(1, -(-steps // 100))  # as the workers log: at most 100 equal stretches
    epoch_a_step = points[-1].epoch / points[-1].step
    count = len(trial.quality.train_loss)
    return [min((i + 1) * stretch, steps) * epoch_a_step for i in range(count)]
