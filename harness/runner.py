"""The parent: runs every trial of a plan in a fresh worker, reads the meters, and keeps the document as it grows.

The document is written after each trial, so that whatever ends the harness loses at most the trial under way.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from harness import accelerators, ceilings, folders, host, opening, refusal, synchronisation, throttling
from harness.collector import Collector
from harness.energy import EnergyWatch
from harness.memory import Residency, emulated
from harness.messages import AnyMessage
from harness.plan import Plan, TrialPlan
from harness.supervisor import Ending, Supervisor
from harness.trial import assemble
from harness.trial_watch import TrialWatch
from harness.window import WindowEdges, open_trigger
from harness.workers import program_command, worker_command, worker_environment
from results import schema
from results.format import counted


class Observer(Protocol):
    """Who looks on while a plan runs; the live display, or nobody."""

    def trial_begins(self, index: int, trial: TrialPlan) -> None:
        """The trial of that index (from 0) starts."""

    def idling(self, seconds: float) -> None:
        """The meters are being read without a load for so long."""

    def warning(self, text: str) -> None:
        """Something asked for will be missing, and why, in one line."""

    def captured(self, path: Path) -> None:
        """What a meter read over the run was written there."""

    def message(self, message: AnyMessage, pid: int) -> None:
        """The worker said something."""

    def residency(self, residency: Residency) -> None:
        """The worker holds this much just now."""

    def trial_ended(self, trial: schema.Trial) -> None:
        """The trial is over, whatever became of it."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C in the middle of a plan; what was measured is in `document`."""

    def __init__(self, document: schema.Document) -> None:
        super().__init__("interrupted")
        self.document = document


def run(plan: Plan, observer: Observer, keep: Callable[[schema.Document], None]) -> schema.Document:
    """Run every trial and return the document; `keep` is given it after each one.

    Raises Interrupted, after the worker is gone, with what was measured until then; MeterUnavailableError for a meter
    that was named and cannot be read; LimitUnavailableError for a ceiling that cannot be enforced.
    """
    document = opening.empty_document(plan)
    with instruments(plan, observer) as found:
        keep(document)
        try:
            if plan.options.synchronise:
                synchronisation.play_into(document, observer.idling)
            for trial in trials_with(plan, observer, found):
                document.trials.append(trial)
                keep(document)
            if plan.options.synchronise:
                synchronisation.play_into(document, observer.idling)
                keep(document)
        except KeyboardInterrupt:
            keep(document)
            raise Interrupted(document) from None
    return document


class Instruments(NamedTuple):
    """What a plan measures with, ready for its first trial, and how the processor's frequency is governed by then."""

    meters: EnergyWatch
    edges: WindowEdges
    governor: str | None


@contextmanager
def instruments(plan: Plan, observer: Observer) -> Iterator[Instruments]:
    """Open the meters and the trigger pin and try the ceiling: what is not there is an error before a document is.

    Raises MeterUnavailableError, TriggerUnavailableError or LimitUnavailableError; at the end DocumentWriteError for a
    capture.
    """
    if plan.options.captures_dir:
        folders.make(plan.options.captures_dir, "--captures")
    tried = _ceiling(plan, plan.trials[0])
    if tried:
        tried.close()
    with (
        EnergyWatch(
            plan.options.meters,
            plan.options.idle_s,
            observer.idling,
            observer.warning,
            idle_anyway=plan.options.synchronise,
            captures_dir=plan.options.captures_dir,
            captured=observer.captured,
        ) as meters,
        open_trigger(plan.options) or nullcontext() as trigger,
    ):
        yield Instruments(meters, WindowEdges(meters, trigger), host.governor())


def trials(plan: Plan, observer: Observer) -> Iterator[schema.Trial]:
    """Run the trials of a plan one after the other and yield each as it ends; the meters are open all the while."""
    with instruments(plan, observer) as found:
        yield from trials_with(plan, observer, found)


def trials_with(plan: Plan, observer: Observer, found: Instruments) -> Iterator[schema.Trial]:
    """Run the trials of a plan with these instruments and yield each as it ends."""
    for index, trial_plan in enumerate(plan.trials):
        observer.trial_begins(index, trial_plan)
        trial = run_trial(plan, trial_plan, found, observer)
        yield trial
        observer.trial_ended(trial)


class Metered(NamedTuple):
    """What the meters saw of one trial."""

    rows: list[schema.Energy]
    by_phase: list[schema.PhaseEnergy]
    traces: list[schema.Trace]
    windows: schema.Windows | None


def run_trial(plan: Plan, trial: TrialPlan, found: Instruments, observer: Observer) -> schema.Trial:
    """Run one trial in a fresh worker, under the plan's ceiling, and return it whatever became of it."""
    meters, edges, governor = found
    watch = TrialWatch(plan.options, meters, edges, governor)
    ceiling = _ceiling(plan, trial)
    phase_s = meters.phase_window_s() if plan.options.energy_phases else 0.0
    begun = time.monotonic()
    try:
        ending = _supervisor(plan, trial, phase_s, watch, ceiling, observer).run()
    finally:
        if ceiling:
            ceiling.close()
    wall_s = time.monotonic() - begun
    validity = watch.end()
    validity.notes += _notes(trial)
    pin = edges.end_trial()
    metered = _metered(plan, trial, meters, watch.collector, ending)
    ending, metered = _judged(ending, metered, validity)
    return assemble(
        trial,
        watch.collector,
        ending,
        allocator=plan.options.allocator,
        ceiling=ceiling,
        energy=metered.rows,
        energy_by_phase=metered.by_phase,
        validity=validity,
        wall_s=wall_s,
        trigger=pin,
        traces=[*watch.collector.residency_trace(watch.looks, ending.look_cpu_share), *metered.traces],
        windows=metered.windows,
    )


def _ceiling(plan: Plan, trial: TrialPlan) -> ceilings.Ceiling | None:
    """Return what holds a trial to the plan's ceiling: on an accelerator the allocator there, else the host."""
    if not plan.ceiling_bytes:
        return None
    if trial.accelerator:
        return accelerators.AllocatorLimit(plan.ceiling_bytes)
    return ceilings.choose(plan.ceiling_bytes, plan.options.mechanism)


def _supervisor(
    plan: Plan,
    trial: TrialPlan,
    phase_s: float,
    watch: TrialWatch,
    ceiling: ceilings.Ceiling | None,
    observer: Observer,
) -> Supervisor:
    """Return what starts the worker and stays with it; the watch hears of everything before the observer."""

    def hear(message: AnyMessage, pid: int) -> None:
        watch.hear(message, pid)
        observer.message(message, pid)

    def see(residency: Residency) -> None:
        watch.see(residency)
        observer.residency(residency)

    told = {"phase_s": phase_s}
    if ceiling:
        name = "ceiling_bytes" if ceiling.of_the_host else "accelerator_limit_bytes"
        told[name] = ceiling.limit_bytes
    return Supervisor(
        program_command() if trial.worker == "program" else worker_command(trial.python),
        trial.job() | told,
        worker_environment(trial.threads, plan.options.allocator),
        launch_settings={"fixed_addresses": plan.options.allocator == "pinned"},
        ceiling=ceiling,
        silence_s=plan.options.silence_s,
        answers=trial.trigger,
        refuse=refusal.judge(trial, ceiling),
        on_message=hear,
        on_residency=see,
    )


def _metered(
    plan: Plan, trial: TrialPlan, meters: EnergyWatch, collector: Collector, ending: Ending
) -> Metered:
    """Read the meters at idle once more and cut what they recorded to the trial's window."""
    rows = meters.after_trial(collector.window, trial.measured_steps, collector.pauses)
    by_phase = meters.by_phase(collector.repeated, ending.reason) if plan.options.energy_phases else []
    traces = meters.traces(collector.window, collector.began_ns())
    return Metered(rows, by_phase, traces, meters.windows(collector.window, collector.pauses))


def _judged(ending: Ending, metered: Metered, validity: schema.Validity) -> tuple[Ending, Metered]:
    """Return both as they are, or as invalid where the device slowed itself down."""
    why = throttling.why_invalid(validity)
    if not why:
        return ending, metered
    metered = metered._replace(
        rows=[throttling.invalidated(row, why) for row in metered.rows],
        by_phase=[throttling.invalidated(row, why) for row in metered.by_phase],
    )
    if ending.outcome == "ok":
        ending = msgspec.structs.replace(ending, outcome="invalid", reason=why)
    return ending, metered


def _notes(trial: TrialPlan) -> list[str]:
    """Say what a reader of the figures must know: who ran them, and which steps those of a resumed trial are of."""
    notes = ["the processor is emulated: the times are the emulator's"] if emulated() else []
    if not trial.resumed_at:
        return notes
    begun = f"resumed after {trial.resumed_at} of {counted(trial.steps, 'step')}"
    if not trial.measured_steps:
        return [*notes, f"{begun}: none was measured"]
    return [
        *notes,
        f"{begun}: time and energy are of the last {trial.measured_steps}, memory is of this process, "
        "losses and accuracy are of the whole training",
    ]
