"""What a gate looks at: metrics by workload × trainer × engine × batch size, with their values a repeat."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from results import format as fmt
from results.conditions import length_of
from results.errors import NotComparableError
from results.noise import disturbance
from results.schema import Document, Setting, Trial
from results.summary import (
    REFERENCE,
    Setup,
    memory_reason,
    setup_of,
    setup_title,
    training_peak_bytes,
)
from results.whole_energy import measured_energy


class Key(NamedTuple):
    """What a baseline is kept for."""

    workload: str
    trainer: str
    engine: str
    batch_size: int

    def __str__(self) -> str:
        return f"{self.workload} {self.trainer} {self.engine} batch {self.batch_size}"


class Metric(NamedTuple):
    """A gated quantity.

    `floor` is the least relative tolerance, `max_spread` the relative half range over repeats beyond which
    a run is too noisy to judge. `ratchet` metrics are recorded by `baseline update`; the others may only
    have a bound written by hand (a step time in seconds moves with the clock of the machine).
    """

    name: str
    better: Literal["lower", "higher"]
    floor: float
    max_spread: float
    ratchet: bool
    shown: Callable[[float | None], str]
    value_of: Callable[[Trial, Trial | None], float | None]
    disturbable: bool = False


def _step_s(trial: Trial, reference: Trial | None) -> float | None:
    return trial.time.step_s.median if trial.time.step_s else None


def _time_ratio(trial: Trial, reference: Trial | None) -> float | None:
    """Return the step time ÷ that of the reference trainer in the same repeat: it survives another clock."""
    if reference is None or trial.trainer == REFERENCE:
        return None
    own, other = _step_s(trial, None), _step_s(reference, None)
    return own / other if own is not None and other else None


def _energy_j(trial: Trial, reference: Trial | None) -> float | None:
    row = measured_energy(trial)
    return row.net_j_per_step if row else None


METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            "training_peak_bytes",
            "lower",
            0.01,
            0.02,
            True,
            fmt.size,
            lambda trial, _: training_peak_bytes(trial),
        ),
        Metric(
            "peak_rss_bytes",
            "lower",
            0.01,
            0.02,
            False,
            fmt.size,
            lambda trial, _: trial.memory.peak_rss_bytes,
        ),
        Metric(
            "modelled_bytes",
            "lower",
            0.001,
            0.0,
            True,
            fmt.size,
            lambda trial, _: trial.memory.modelled_bytes,
        ),
        Metric("time_ratio", "lower", 0.15, 0.15, True, fmt.ratio, _time_ratio, disturbable=True),
        Metric("step_s", "lower", 0.10, 0.15, False, fmt.seconds, _step_s, disturbable=True),
        Metric("net_j_per_step", "lower", 0.05, 0.10, True, fmt.joules, _energy_j, disturbable=True),
        Metric(
            "test_accuracy",
            "higher",
            0.01,
            0.02,
            True,
            fmt.percent,
            lambda trial, _: trial.quality.test_accuracy,
        ),
    )
}

FASTEST = frozenset({"time_ratio"})
"""The metrics that are judged by their fastest repeats, not by the median."""


@dataclass
class Measured:
    """One key's trials, and by metric the values of the finished ones; a metric without any is absent."""

    key: Key
    setup: Setup
    trials: list[Trial] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=dict)
    timed: list[tuple[Trial, Trial]] = field(default_factory=list)
    """Finished trials, each with the reference's of the same repeat."""

    def disturbance(self, metric: str) -> str | None:
        """Return in words what others took of the processors while a metric was measured; None where too little."""
        if not METRICS[metric].disturbable:
            return None
        return disturbance([*self.trials, *(other for _, other in self.timed if metric in FASTEST)])

    def figure(self, metric: str) -> float | None:
        """Return what a metric is judged by (see `Metric`), None where nothing was measured."""
        values = self.values.get(metric)
        if not values:
            return None
        return _fastest_ratio(self.timed) if metric in FASTEST else statistics.median(values)

    def figures(self, metric: str) -> list[float]:
        """Return the figures whose spread tells how sure the metric is; not for one that was not measured.

        Of the time ratio, what it would be without each of the repeats: near each other where at least two of them
        agree on the fastest. Of all others, the repeats themselves.
        """
        if metric not in FASTEST or len(self.timed) < 2:
            return self.values[metric]
        return [_fastest_ratio(self.timed[:i] + self.timed[i + 1 :]) for i in range(len(self.timed))]

    def ledger(self) -> dict[str, int]:
        """Return the ledger of the first finished trial, or the model's figures where there is no ledger."""
        trial = next((trial for trial in self.trials if trial.outcome == "ok"), None)
        if trial is None:
            return {}
        return dict(trial.memory.ledger_by_variable or trial.memory.modelled_by_variable)

    def length(self) -> dict[str, Setting]:
        """Return how long the first finished trial trained: accuracy depends on it, cost a step does not."""
        trial = next((trial for trial in self.trials if trial.outcome == "ok"), None)
        return length_of(trial) if trial else {}

    def reason(self, metric: str) -> str:
        """Return why a metric has no value."""
        for trial in self.trials:
            if metric == "net_j_per_step":
                reasons = [row.reason for row in trial.energy if row.reason] or ["no meter was asked for"]
                return reasons[0]
            if metric == "test_accuracy" and trial.quality.reason:
                return trial.quality.reason
            if metric in ("step_s", "time_ratio") and trial.time.reason:
                return trial.time.reason
            reason = memory_reason(trial) if metric == "training_peak_bytes" else trial.memory.reason
            if metric.endswith("_bytes") and reason:
                return reason
        return f"the document has no '{REFERENCE}' trial beside it" if metric == "time_ratio" else "no value"


def measure(documents: Sequence[Document]) -> dict[Key, Measured]:
    """Return the metrics of the documents' trials, the repeats of all of them together.

    Raises:
        NotComparableError: One key under two setups (optimizer, threads, allocator mode, data).
    """
    found: dict[Key, Measured] = {}
    for measured in measure_setups(documents):
        first = found.setdefault(measured.key, measured)
        if first is not measured:
            raise NotComparableError(
                f"{measured.key} was measured under two setups ({setup_title(first.setup)} and "
                f"{setup_title(measured.setup)}); gate one at a time"
            )
    return found


def measure_setups(documents: Sequence[Document]) -> list[Measured]:
    """Return the same for every key and setup apart, in order of first appearance."""
    found: dict[tuple[Key, Setup], Measured] = {}
    for document in documents:
        references = {(setup_of(t), t.repeat): t for t in document.trials if _is_reference(t)}
        for trial in document.trials:
            key, setup = Key(trial.workload, trial.trainer, trial.engine, trial.batch_size), setup_of(trial)
            measured = found.setdefault((key, setup), Measured(key, setup))
            measured.trials.append(trial)
            if trial.outcome == "ok":
                _add_values(measured, trial, references.get((setup, trial.repeat)))
    return list(found.values())


def _is_reference(trial: Trial) -> bool:
    """Tell whether other trainers are timed against this trial."""
    return trial.trainer == REFERENCE and trial.outcome == "ok"


def _add_values(measured: Measured, trial: Trial, reference: Trial | None) -> None:
    """Append a finished trial's values."""
    for metric in METRICS.values():
        value = metric.value_of(trial, reference)
        if value is not None:
            measured.values.setdefault(metric.name, []).append(value)
            if metric.name == "time_ratio" and reference is not None:
                measured.timed.append((trial, reference))


def _fastest_ratio(timed: Sequence[tuple[Trial, Trial]]) -> float:
    """Return the least step time of the first ÷ the least of the second; both are known for every pair."""
    own, other = ([_step_s(trial, None) or 0.0 for trial in side] for side in zip(*timed, strict=True))
    return min(own) / min(other)
