"""The search of `harness fit`: where runs of one trainer cease to fit under the enforced ceiling.

From the model's prediction it gallops to where runs begin or cease to fit, and bisects. What is answered has been run.
"""

from bisect import bisect_right
from collections.abc import Callable
from math import ceil
from typing import cast

import msgspec

from harness import runner
from harness.display import Quiet
from harness.errors import TrialFailedError
from harness.plan import Plan
from results import schema
from results.fit_document import Attempt, FittedTrainer, Outcome
from results.format import size
from results.summary import uncertainty_j_per_step
from results.whole_energy import measured_energy

_PROBE_BATCH = 8
"""Batch of the first run, which shows the baseline: as small as still has statistics over a batch."""
_RELATIVE_RESOLUTION = 0.02
_METERED_S = 5.0
"""What the meters are read for at the answer, at least; the runs of the search are too short for any."""

Say = Callable[[str], None]


def largest_fitting(start: int, most: int, resolution: int, fits: Callable[[int], bool]) -> int:
    """Return a batch size that fits, with one at most `resolution` above it that does not; 0 where not even 1 fits.

    Gallops from `start` in doubling strides until it has one of each, then bisects. `most` is returned where it fits.
    Of `fits` it is taken that it holds below some size and not above.
    """
    low, high = 0, most + 1
    guess, stride = min(max(start, 1), most), resolution
    while not _decided(low, high, most, resolution):
        if fits(guess):
            low = guess
        else:
            high = guess
        if low and high <= most:
            guess = (low + high) // 2
        else:
            guess = min(low + stride, most) if low else max(high - stride, 1)
            stride *= 2
    return low


def _decided(low: int, high: int, most: int, resolution: int) -> bool:
    """Tell whether the largest that fits (0: none yet) and the smallest that does not are near enough."""
    if low == 0:
        return high == 1
    return low == most if high > most else high - low <= resolution


class Search:
    """One trainer: its runs so far, and what they say."""

    def __init__(
        self, build: Callable[..., Plan], limit_bytes: int, resolution: int | None, say: Say
    ) -> None:
        self._build, self._limit_bytes, self._resolution, self._say = build, limit_bytes, resolution, say
        self._first = build(1).trials[0]
        self._accumulate = int(self._first.settings["accumulate"])
        self._most = self._first.dataset.train.count
        self._trials: dict[int, schema.Trial] = {}

    def run(self) -> FittedTrainer:
        """Probe, predict, and let runs decide."""
        probe = min(_PROBE_BATCH, self._most)
        self._fits(probe)
        memory = self._trials[probe].memory
        baseline = memory.baseline_rss_bytes
        if baseline is None:
            return self._fitted(0, 0, 1, None)
        # What this engine holds beyond the model shows in the probe already; it only moves the start of the search.
        beyond = 0
        if memory.training_peak_bytes is not None and memory.modelled_bytes is not None:
            beyond = max(memory.training_peak_bytes - memory.modelled_bytes, 0)
        predicted = self._predicted(baseline)
        resolution = self._resolution or max(1, round(_RELATIVE_RESOLUTION * predicted))
        start = self._predicted(baseline + beyond) if self._trials[probe].outcome == "ok" else probe
        found = largest_fitting(start, self._most, resolution, self._fits)
        return self._fitted(found, predicted, resolution, baseline)

    def _predicted(self, baseline_bytes: int) -> int:
        """Return the largest batch size whose modelled need fits beside the baseline; 0 if none does."""
        left = self._limit_bytes - baseline_bytes
        return bisect_right(range(1, self._most + 1), left, key=self._modelled)

    def _modelled(self, batch_size: int) -> int:
        trial = msgspec.structs.replace(self._first, batch_size=batch_size)
        return sum(trial.modelled_by_variable().values())

    def _fits(self, batch_size: int) -> bool:
        """Run that batch size under the ceiling, once, and tell whether it ended well."""
        if batch_size not in self._trials:
            self._trials[batch_size] = self._run(self._build(batch_size), "")
        return self._trials[batch_size].outcome != "out_of_memory"

    def _run(self, one: Plan, how: str) -> schema.Trial:
        """Run the one trial of a plan and say what became of it."""
        trial = next(iter(runner.trials(one, Quiet())))
        name = f"{trial.workload} {trial.trainer} at batch {trial.batch_size}{how}"
        if trial.outcome == "error":
            raise TrialFailedError(f"{name} failed: {trial.reason}")
        peak = trial.memory.peak_rss_bytes
        shown = "unknown" if peak is None else size(peak)
        self._say(f"{name}: {trial.outcome.replace('_', ' ')}, peak {shown}")
        return trial

    def metered(self, fitted: FittedTrainer) -> FittedTrainer:
        """Run the answer once more, long enough for a meter, and return it with its energy."""
        if fitted.batch_size is None or fitted.step_s is None:
            return fitted
        steps = ceil(_METERED_S / fitted.step_s)
        trial = self._run(self._build(fitted.batch_size, steps), ", metered")
        energy = measured_energy(trial)
        items = fitted.batch_size * self._accumulate
        uncertainty_j = uncertainty_j_per_step(energy) if energy else None
        step_s = trial.time.step_s.median if trial.time.step_s else fitted.step_s
        return msgspec.structs.replace(
            fitted,
            step_s=step_s,
            sample_s=step_s / items,
            energy=trial.energy,
            net_j_per_sample=None if not energy else (energy.net_j_per_step or 0.0) / items,
            uncertainty_j_per_sample=None if uncertainty_j is None else uncertainty_j / items,
        )

    def _fitted(self, found: int, predicted: int, resolution: int, baseline: int | None) -> FittedTrainer:
        best = self._trials.get(found)
        step = best.time.step_s if best else None
        items = found * self._accumulate
        return FittedTrainer(
            trainer=self._first.recipe.name,
            engine=self._first.engine.name,
            batch_size=found or None,
            reason=None if found else self._why_nothing(baseline),
            bound="data" if found == self._most else "memory",
            predicted_batch_size=predicted,
            resolution=resolution,
            baseline_rss_bytes=best.memory.baseline_rss_bytes if best else baseline,
            modelled_bytes=best.memory.modelled_bytes if best else None,
            peak_rss_bytes=best.memory.peak_rss_bytes if best else None,
            step_s=step.median if step else None,
            sample_s=step.median / items if step else None,
            energy=[],
            attempts=[self._attempt(trial, baseline) for trial in self._trials.values()],
        )

    def _why_nothing(self, baseline: int | None) -> str:
        if baseline is None or baseline > self._limit_bytes:
            return f"the {self._first.engine.name} engine alone does not fit into {size(self._limit_bytes)}"
        return (
            f"of {size(self._limit_bytes)} the {self._first.engine.name} engine alone takes {size(baseline)}"
        )

    def _attempt(self, trial: schema.Trial, baseline: int | None) -> Attempt:
        modelled = trial.memory.modelled_bytes
        return Attempt(
            batch_size=trial.batch_size,
            outcome=cast(Outcome, trial.outcome),
            reason=trial.reason,
            needed_bytes=None if modelled is None or baseline is None else modelled + baseline,
            peak_rss_bytes=trial.memory.peak_rss_bytes,
        )
