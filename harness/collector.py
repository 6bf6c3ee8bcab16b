"""What a worker said, kept and summed up: times, peaks, losses, the phases and their traces."""

import statistics
from collections.abc import Sequence
from typing import Any, Literal, cast

import msgspec

from harness import curve
from harness.accelerator_peaks import AcceleratorPeaks
from harness.ceilings import Ceiling
from harness.memory import Residency
from harness.messages import (
    AcceleratorPeak,
    AnyMessage,
    Evaluated,
    Facts,
    Ledger,
    Peak,
    PhaseBegun,
    Progress,
    Quality,
    Repeated,
    Saved,
    Timing,
    WindowEdge,
)
from harness.plan import TrialPlan
from harness.supervisor import Ending
from harness.traces import ResidencyTrace
from results import schema, stats

_KEPT_STEPS = 1000  # durations kept in the document, for distributions


class Collector:
    """Keeps what one worker says, so that a worker that dies half-way leaves all it had said."""

    def __init__(self) -> None:
        self.peaks: dict[str, Peak] = {}
        self._last: dict[str, Peak] = {}
        self._there = AcceleratorPeaks()
        self.phases: list[PhaseBegun] = []
        self.window: dict[str, int] = {}
        self.pauses: list[tuple[int, int]] = []
        self.evaluated: list[Evaluated] = []
        self._phase_ends_ns: dict[int, int] = {}  # by the phase's place in `phases`
        self.repeated: list[Repeated] = []
        self.steps_done = 0
        self.facts: dict[str, Any] = {}
        self._ledger: dict[str, int] = {}
        self._scratch: dict[str, int] = {}
        self._timing: dict[str, list[int] | None] = {}
        self._quality: Quality | None = None
        self._saved: list[Saved] = []

    def take(self, message: AnyMessage) -> None:
        """Keep one message; the highest peak of a phase counts."""
        match message:
            case Peak():
                self._close(message)
                self._last[message.phase] = message
                known = self.peaks.get(message.phase)
                if known is None or (message.peak_rss_bytes or 0) > (known.peak_rss_bytes or 0):
                    self.peaks[message.phase] = message
            case AcceleratorPeak():
                self._there.take(message)
            case PhaseBegun():
                self.phases.append(message)
            case WindowEdge():
                self.window[message.event] = message.t_ns
                if message.event == "resume" and "pause" in self.window:
                    self.pauses.append((self.window.pop("pause"), self.window.pop("resume")))
            case Repeated():
                self.repeated.append(message)
            case Progress():
                self.steps_done = message.step
            case Timing():
                self._timing = message.durations_ns
            case Saved():
                self._saved.append(message)
            case Ledger():
                self._ledger, self._scratch = message.allocated, message.scratch
            case Evaluated():
                self.evaluated.append(message)
            case Quality():
                self._quality = message
            case Facts():
                self.facts = message.engine
            case _:
                pass  # Done and Failure are the supervisor's

    def _close(self, peak: Peak) -> None:
        """Keep when the phase ended that this peak is of; a phase that evaluations interrupt is there several times."""
        last = len(self.phases) - 1
        if last >= 0 and self.phases[last].name == peak.phase:
            self._phase_ends_ns[last] = peak.t_ns

    def time(self, reason: str | None) -> schema.Time:
        """Return the medians over the measured steps; a fused update is null with that reason."""
        steps = self._timing.get("step")
        if not steps:
            return schema.Time.unavailable(
                reason or "no step was measured; a resumed training had too few left"
            )
        medians = {part: _median_s(each) for part, each in self._timing.items() if part != "step"}
        fused = [part for part, median in medians.items() if median is None]
        seconds = [t * 1e-9 for t in steps]
        return schema.Time(
            step_s=stats.estimate(seconds),
            forward_s=medians.get("forward"),
            backward_s=medians.get("backward"),
            update_s=medians.get("update"),
            data_s=medians.get("data"),
            reason=f"{', '.join(fused)}: fused into another part of the step" if fused else None,
            steps_s=_thinned(seconds, _KEPT_STEPS),
        )

    def memory(
        self, plan: TrialPlan, ending: Ending, allocator: str, ceiling: Ceiling | None
    ) -> schema.Memory:
        """Return the kernel's peaks beside the model and the ledger."""
        modelled = plan.modelled_by_variable()
        baseline, peak = self._baseline_bytes(), self._peak_bytes(ending.highest)
        library = self.peaks.get("library")
        unread = next((each.reason for each in self.peaks.values() if each.reason), None)
        missing = unread or ending.reason or "the worker ended before its set-up"
        trained = plan.resumed_at < plan.steps
        if not trained:
            missing = "no step was left to train when this was resumed"
        return schema.Memory(
            baseline_rss_bytes=baseline,
            peak_rss_bytes=peak,
            training_peak_bytes=None if baseline is None or peak is None or not trained else peak - baseline,
            by_phase={phase: each.peak_rss_bytes for phase, each in self.peaks.items()},
            modelled_bytes=sum(modelled.values()),
            modelled_by_variable=modelled,
            ledger_by_variable=self._ledger,
            scratch_by_name=self._scratch,
            allocator=cast(Literal["stock", "pinned"], allocator),
            anon_bytes=self._at_end_of_training("anon_bytes"),
            file_bytes=self._at_end_of_training("file_bytes"),
            library_bytes=None
            if baseline is None or library is None or library.rss_bytes is None
            else library.rss_bytes - baseline,
            ceiling=None
            if ceiling is None
            else schema.Ceiling(limit_bytes=ceiling.limit_bytes, mechanism=ceiling.mechanism),
            accelerator=self._there.memory(missing, trained=trained) if plan.accelerator else None,
            reason=missing if baseline is None or peak is None or not trained else None,
        )

    def quality(self, plan: TrialPlan, reason: str | None) -> schema.Quality:
        """Return losses and accuracy, or why there is none; the curve is kept of a trial that ended early too."""
        said, points = self._quality, curve.points(plan, self.evaluated)
        if said is None or said.items == 0:
            return schema.Quality(
                train_loss=[],
                test_accuracy=None,
                test_items=self.evaluated[-1].items if points else 0,
                evaluations=points,
                reason=reason or "nothing was evaluated",
            )
        return schema.Quality(
            train_loss=said.train_loss,
            test_accuracy=said.correct / said.items,
            test_items=said.items,
            statistics=said.statistics,
            evaluations=points,
        )

    def checkpoint(self, plan: TrialPlan) -> schema.Checkpoint | None:
        """Return what was written, and where the trial went on from; None where none was asked for."""
        if plan.checkpoint is None:
            return None
        return schema.Checkpoint(
            path=str(plan.checkpoint.path),
            every_steps=plan.checkpoint.every,
            resumed_at_step=plan.checkpoint.resumed_at,
            last_step=self._saved[-1].step if self._saved else None,
            written=len(self._saved),
            bytes=self._saved[-1].bytes if self._saved else None,
            write_s=_median_s([each.duration_ns for each in self._saved]),
            reason=None if self._saved else "none was written by this process",
        )

    def accelerator(self, plan: TrialPlan) -> schema.Accelerator | None:
        """Return what the worker trained on, in its own words, or as the plan found it where it never said."""
        said = self.facts.get("accelerator")
        return msgspec.convert(said, schema.Accelerator) if said else plan.accelerator

    def timeline(self) -> list[schema.Phase]:
        """Return the phases as windows of seconds since the worker's first."""
        if not self.phases:
            return []
        first_ns = self.phases[0].t_ns
        return [
            schema.Phase(
                name=each.name,
                start_s=(each.t_ns - first_ns) * 1e-9,
                end_s=(self._phase_ends_ns[place] - first_ns) * 1e-9,
            )
            for place, each in enumerate(self.phases)
            if place in self._phase_ends_ns  # a worker that died in a phase never said when that ended
        ]

    def began_ns(self) -> int | None:
        """Return when the worker's first phase began, the zero of every series; None where it never said."""
        return self.phases[0].t_ns if self.phases else None

    def residency_trace(self, looks: ResidencyTrace, cpu_share: float | None) -> list[schema.Trace]:
        """Return the parent's looks at the worker, sharpened by what the worker said at the end of each phase."""
        zero_ns = self.began_ns()
        if zero_ns is None:
            return []
        known = {each.name for each in self.phases}
        exact = {
            each.t_ns: each.rss_bytes
            for name, each in self.peaks.items()
            if name in known and each.rss_bytes is not None
        }
        trace = looks.trace(zero_ns, cpu_share, exact)
        return [trace] if trace else []

    def _baseline_bytes(self) -> int | None:
        imported = self.peaks.get("import")
        return None if imported is None else imported.rss_bytes

    def _peak_bytes(self, highest: Residency | None) -> int | None:
        """Return the highest of what the worker reported and what the parent saw, whichever could say."""
        said = [each.peak_rss_bytes for each in self.peaks.values() if each.peak_rss_bytes is not None]
        return max([*said, *([highest.peak_rss_bytes] if highest else [])], default=None)

    def _at_end_of_training(self, field: str) -> int | None:
        trained = self._last.get("train")
        return None if trained is None else cast("int | None", getattr(trained, field))


def _median_s(durations_ns: Sequence[int] | None) -> float | None:
    return statistics.median(durations_ns) * 1e-9 if durations_ns else None


def _thinned(values: Sequence[float], most: int) -> list[float]:
    """Return at most `most` of the values, evenly spaced, in order."""
    stride = max(1, -(-len(values) // most))
    return list(values[::stride])
