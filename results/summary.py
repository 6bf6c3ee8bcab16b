"""From trials to rows: repeats of one configuration become one row; no table and no unit is chosen here."""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

from results import format as fmt
from results.schema import PROCESSOR, Document, Energy, Estimate, Trial
from results.stats import half_width, median_interval
from results.whole_energy import measured_energy

T = TypeVar("T")

REFERENCE = "standard"
"""The trainer that every other one is compared with."""


class Setup(NamedTuple):
    """What trials must share to stand in one table: all but the trainer."""

    workload: str
    dataset_variant: str
    engine: str
    optimizer: str
    batch_size: int
    threads: int
    allocator: str
    worker: str = "python"
    accumulate: int = 1
    accelerator: str = PROCESSOR
    """The name of what was trained on, where that was not the processor."""


@dataclass(frozen=True)
class Row:
    """One trainer under one setup: medians over its finished trials, the mean for accuracy.

    `trials` are all of them, in running order; values come from those with outcome `ok`, or, where there
    is none, from those marked `invalid` or stopped short, so that what they did reach is still shown.
    The uncertainty of the energy is half its 95 % interval, the spread between repeats included.
    A value is None where no trial has it. Ratios are the reference's value ÷ this one's.
    """

    setup: Setup
    trainer: str
    trials: tuple[Trial, ...]
    step: Estimate | None
    training_peak_bytes: float | None
    modelled_bytes: float | None
    energy: Energy | None
    energy_j_per_step: float | None
    energy_uncertainty_j_per_step: float | None
    accuracy: float | None
    memory_ratio: float | None = None

    @property
    def failed(self) -> tuple[Trial, ...]:
        """Return the trials whose outcome is not `ok`."""
        return tuple(trial for trial in self.trials if trial.outcome != "ok")

    @property
    def outcome(self) -> str:
        """Return `ok` where any trial is, else the outcome of the first."""
        return "ok" if len(self.failed) < len(self.trials) else self.trials[0].outcome


def setup_of(trial: Trial) -> Setup:
    """Return what a trial shares with those it may be put beside."""
    return Setup(
        trial.workload,
        trial.dataset_variant,
        trial.engine,
        trial.optimizer,
        trial.batch_size,
        trial.threads,
        trial.memory.allocator,
        trial.worker,
        _accumulate(trial),
        trial.accelerator.name if trial.accelerator else PROCESSOR,
    )


def _accumulate(trial: Trial) -> int:
    """Return the micro-batches of an update; a document from before there were any means 1."""
    count = trial.settings.get("accumulate")
    return count if isinstance(count, int) else 1


def setup_title(setup: Setup, repeats: int = 1) -> str:
    """Return a setup in words, as it stands over a table: what all its rows share."""
    batch = f"batch {setup.batch_size}" + (f" × {setup.accumulate}" if setup.accumulate > 1 else "")
    there = "" if setup.accelerator == PROCESSOR else f" on {setup.accelerator}"
    parts = [f"{setup.engine}{there}", setup.optimizer, batch, f"{setup.dataset_variant} data"]
    parts.append(fmt.counted(setup.threads, "thread"))
    if setup.worker == "program":
        parts.append("harness-train")
    if setup.allocator != "stock":
        parts.append(f"{setup.allocator} allocator")
    if repeats > 1:
        parts.append(f"{repeats} repeats")
    return f"{setup.workload}: {', '.join(parts)}"


def training_peak_bytes(trial: Trial) -> int | None:
    """Return the peak of the memory that was trained in: the accelerator's where there was one, else the host's."""
    if trial.accelerator is None:
        return trial.memory.training_peak_bytes
    return trial.memory.accelerator.training_peak_bytes if trial.memory.accelerator else None


def memory_reason(trial: Trial) -> str | None:
    """Return why that peak is not known; None where it is."""
    there = trial.memory.accelerator
    return there.reason if trial.accelerator and there else trial.memory.reason


def summarize(document: Document) -> dict[Setup, list[Row]]:
    """Return the rows of a document by setup, both in order of first appearance."""
    groups: dict[Setup, dict[str, list[Trial]]] = {}
    for trial in document.trials:
        groups.setdefault(setup_of(trial), {}).setdefault(trial.trainer, []).append(trial)
    return {
        setup: _with_ratios([_row(setup, trainer, trials) for trainer, trials in rows.items()])
        for setup, rows in groups.items()
    }


def uncertainty_j_per_step(row: Energy) -> float | None:
    """Return the uncertainty of the net energy a step; the row's own belongs to the whole window."""
    if row.uncertainty_j is None or not row.net_j or row.net_j_per_step is None:
        return None
    return abs(row.uncertainty_j * row.net_j_per_step / row.net_j)


def repeated_uncertainty(values: Sequence[float], own: Iterable[float | None]) -> float | None:
    """Return half the 95 % interval of the median of repeats: the meter's own part and their spread, in squares.

    `own` are the repeats' own uncertainties, in the unit of the values: what a meter may err by in all of them alike
    (its gain) does not show in their spread, and what differs between trainings does not show in one window. The part
    that a meter errs by at random is in both, which overstates the sum a little (JCGM 100:2008, 5.1.2 for the squares).
    """
    known = [value for value in own if value is not None]
    parts = [half_width(values), statistics.median(known) if known else None]
    there = [part for part in parts if part is not None]
    return math.hypot(*there) if there else None


def _row(setup: Setup, trainer: str, trials: list[Trial]) -> Row:
    """Aggregate the repeats of one trainer."""
    used = [trial for trial in trials if trial.outcome == "ok"] or trials
    energies = [row for row in map(measured_energy, used) if row is not None]
    net_j = [row.net_j_per_step for row in energies if row.net_j_per_step is not None]
    return Row(
        setup=setup,
        trainer=trainer,
        trials=tuple(trials),
        step=_step(used),
        training_peak_bytes=_median(used, _shown_peak_bytes),
        modelled_bytes=_median(used, lambda trial: trial.memory.modelled_bytes),
        energy=energies[0] if energies else None,
        energy_j_per_step=statistics.median(net_j) if net_j else None,
        energy_uncertainty_j_per_step=repeated_uncertainty(net_j, map(uncertainty_j_per_step, energies)),
        accuracy=_mean(trial.quality.test_accuracy for trial in used),
    )


def _shown_peak_bytes(trial: Trial) -> float | None:
    """Return the training peak; of a trial that failed on the way it is not that of a training."""
    return None if trial.outcome == "error" else training_peak_bytes(trial)


def _step(trials: Sequence[Trial]) -> Estimate | None:
    """Return the median step over repeats: the interval of a lone trial, else that between trials."""
    steps = [trial.time.step_s for trial in trials if trial.time.step_s is not None]
    if len(steps) <= 1:
        return steps[0] if steps else None
    medians = [step.median for step in steps]
    return Estimate(median=statistics.median(medians), ci95=median_interval(medians), n=len(medians))


def _with_ratios(rows: list[Row]) -> list[Row]:
    """Return the rows with each one's memory ratio to the reference trainer of the same setup."""
    usable = (row.training_peak_bytes for row in rows if row.trainer == REFERENCE and row.outcome == "ok")
    reference = next(usable, None)
    return [
        replace(row, memory_ratio=reference / row.training_peak_bytes)
        if reference and row.training_peak_bytes and row.outcome == "ok"
        else row
        for row in rows
    ]


def _median(items: Iterable[T], value_of: Callable[[T], float | None]) -> float | None:
    """Return the median of the values that are there; None without any."""
    values = [value for value in map(value_of, items) if value is not None]
    return statistics.median(values) if values else None


def _mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that are there; None without any."""
    there = [value for value in values if value is not None]
    return statistics.fmean(there) if there else None
