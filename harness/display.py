"""What a run shows while it runs: a live line on a terminal, one plain line a trial in a pipe."""

import time
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from harness.memory import Residency
from harness.messages import AnyMessage, PhaseBegun, Progress
from harness.output import say
from harness.plan import Plan, TrialPlan
from results.format import seconds, size
from results.schema import Trial


class Quiet:
    """Shows nothing."""

    def trial_begins(self, index: int, trial: TrialPlan) -> None:
        """Show nothing."""

    def idling(self, seconds: float) -> None:
        """Show nothing."""

    def warning(self, text: str) -> None:
        """Show nothing."""

    def captured(self, path: Path) -> None:
        """Show nothing."""

    def message(self, message: AnyMessage, pid: int) -> None:
        """Show nothing."""

    def residency(self, residency: Residency) -> None:
        """Show nothing."""

    def trial_ended(self, trial: Trial) -> None:
        """Show nothing."""

    def __enter__(self) -> "Quiet":
        return self

    def __exit__(self, *exception: object) -> None:
        pass


class Lines(Quiet):
    """One line when a trial begins and one when it ends; for pipes and logs."""

    def __init__(self, console: Console, plan: Plan) -> None:
        self._console, self._total = console, len(plan.trials)
        self._begun = 0.0

    def trial_begins(self, index: int, trial: TrialPlan) -> None:
        """Say which trial runs."""
        self._begun = time.monotonic()
        self._say(f"[{index + 1}/{self._total}] {_name(trial)}")

    def idling(self, seconds: float) -> None:
        """Say why nothing seems to happen."""
        self._say(f"      reading the meters at idle for {seconds:g} s")

    def warning(self, text: str) -> None:
        """Say it."""
        self._say(f"harness: {text}")

    def captured(self, path: Path) -> None:
        """Say where."""
        self._say(f"capture: {path}")

    def trial_ended(self, trial: Trial) -> None:
        """Say how it ended."""
        how = trial.outcome.replace("_", " ") + ("" if trial.reason is None else f": {trial.reason}")
        self._say(f"      {how} ({seconds(time.monotonic() - self._begun)})")

    def _say(self, text: str) -> None:
        say(self._console, text)


class Board(Quiet):
    """A live line: trial, phase, step, loss, memory now, time left. Ended trials stay above it."""

    def __init__(self, console: Console, plan: Plan) -> None:
        self._console, self._plan = console, plan
        self._started = self._trial_started = time.monotonic()
        self._index = 0
        self._phase, self._progress, self._rss_bytes = "starting", Progress(0, 0, None), 0
        self._steps_ended = 0
        # Last, since it renders at once.
        self._live = Live(console=console, transient=True, get_renderable=self._render, refresh_per_second=8)

    def __enter__(self) -> "Board":
        self._live.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._live.__exit__(None, None, None)

    def trial_begins(self, index: int, trial: TrialPlan) -> None:
        """Show which trial runs."""
        self._index, self._trial_started = index, time.monotonic()
        self._phase, self._progress, self._rss_bytes = "starting", Progress(0, trial.steps, None), 0

    def idling(self, seconds: float) -> None:
        """Show why nothing seems to happen."""
        self._phase = f"meters at idle, {seconds:g} s"

    def message(self, message: AnyMessage, pid: int) -> None:
        """Follow phase and step."""
        if isinstance(message, PhaseBegun):
            self._phase = message.name
        elif isinstance(message, Progress):
            if message.loss is not None and message.step < message.steps:
                self._phase = "train"  # without a loss it is a sign of life from an evaluation
            self._progress = message

    def warning(self, text: str) -> None:
        """Leave it standing above the line."""
        say(self._console, f"harness: {text}")

    def captured(self, path: Path) -> None:
        """Leave it standing above the line."""
        say(self._console, f"capture: {path}")

    def residency(self, residency: Residency) -> None:
        """Follow memory."""
        self._rss_bytes = residency.rss_bytes

    def trial_ended(self, trial: Trial) -> None:
        """Leave failures standing; the table tells the rest."""
        self._steps_ended += self._plan.trials[self._index].steps
        self._progress = Progress(0, 0, None)  # its steps are counted above
        if trial.outcome != "ok":
            self._console.print(Text(f"{trial.workload} {trial.trainer}: {trial.reason}", style="red"))

    def _render(self) -> Table:
        trial = self._plan.trials[self._index]
        progress = self._progress
        loss = "" if progress.loss is None else f"loss {progress.loss:.3f}"
        grid = Table.grid(padding=(0, 2))
        grid.add_row(
            Text(f"[{self._index + 1}/{len(self._plan.trials)}]", style="bold"),
            f"{trial.workload.name} {trial.recipe.name}",
            self._phase,
            f"{progress.step}/{trial.steps}",
            loss,
            size(self._rss_bytes) if self._rss_bytes else "",
            self._time_left(),
        )
        return grid

    def _time_left(self) -> str:
        """Extrapolate from the steps done in all trials so far."""
        done = self._steps_ended + self._progress.step
        if done == 0:
            return ""
        total = sum(trial.steps for trial in self._plan.trials)
        left = (time.monotonic() - self._started) * (total - done) / done
        return f"~{left:.0f} s left"


def display(console: Console, plan: Plan, *, quiet: bool) -> Quiet:
    """Return what suits the console: nothing, a live line, or plain lines."""
    if quiet:
        return Quiet()
    return Board(console, plan) if console.is_terminal else Lines(console, plan)


def _name(trial: TrialPlan) -> str:
    side = f", {trial.settings['ab']}" if "ab" in trial.settings else ""  # of two installations in turns
    return f"{trial.workload.name} {trial.recipe.name} ({trial.engine.name}, repeat {trial.repeat + 1}{side})"
