"""`harness fit`: the largest batch size that a device's memory takes, predicted by the model and verified by runs.

The honest model and the measured baseline of a worker say where to look. What counts is a real run of a few steps
under the enforced ceiling: from the prediction the search gallops to where runs begin or cease to fit, and bisects.
"""

from bisect import bisect_right
from collections.abc import Callable
from functools import partial
from math import ceil
from typing import Any, cast

import msgspec

from harness import ceilings, devices, host, plan, runner
from harness.display import Quiet
from harness.energy import EnergyWatch
from harness.errors import NotThatDeviceError, TrialFailedError, UsageError
from harness.plan import Options, Plan
from results import schema
from results.fit_document import Attempt, FitDocument, FittedTrainer, Outcome
from results.format import size
from results.summary import uncertainty_j_per_step
from results.whole_energy import measured_energy

_PROBE_BATCH = 8
"""Batch of the first run, which shows the baseline: as small as still has statistics over a batch."""
_RELATIVE_RESOLUTION = 0.02
_METERED_S = 5.0
"""What the meters are read for at the answer, at least; the runs of the search are too short for any."""


class Question(msgspec.Struct, kw_only=True, frozen=True):
    """What is asked; `resolution` None is 2 % of the prediction, `ceiling_bytes` None the device's memory."""

    workload: str
    trainers: tuple[str, ...] = plan.DEFAULT_TRAINERS
    device: str = "auto"
    ceiling_bytes: int | None = None
    reserve_bytes: int = 0
    resolution: int | None = None
    mechanism: str = "auto"
    options: Options = Options(
        steps=2, warmup=1, repeats=1, meters=("none",), allocator="pinned", test_items=1
    )


Say = Callable[[str], None]


def question(**given: Any) -> Question:
    """Return the question that the command line's options ask: some are its own, the rest the runs'."""
    own = {name: given.pop(name) for name in Question.__struct_fields__ if name in given}
    return Question(**own, options=msgspec.structs.replace(Question(workload="").options, **given))


def answer(
    question: Question, say: Say, keep: Callable[[FitDocument], None] = lambda document: None
) -> FitDocument:
    """Search for every trainer and return the document; `say` is given one line a run.

    `keep` is given the document after each search and after the metered run at its answer, so that whatever ends a
    later one loses none before it.

    Raises UsageError for a device with more memory than this machine, MeterUnavailableError for a meter that was named
    and cannot be read, TrialFailedError where a run fails in another way than by its memory, and whatever `plan.build`
    and `ceilings.choose` raise.
    """
    device, emulated = _device(question)
    limit_bytes = _limit(question, device)
    mechanism = _mechanism(limit_bytes, question.mechanism)
    build = partial(_plan, question, device.name, emulated, limit_bytes, mechanism)
    # Every option of every run is looked at before the first search, that of the metered run too.
    for trainer in question.trainers:
        build(trainer, 1, metered_steps=1)
    metered = question.options.meters != ("none",)
    if metered:
        with EnergyWatch(question.options.meters, 0.0, lambda seconds: None, say):
            pass  # a meter that cannot be read is an error now, not after the search
    document = _empty_document(question, build(question.trainers[0], 1), limit_bytes, mechanism)
    for trainer in question.trainers:
        search = _Search(partial(build, trainer), limit_bytes, question.resolution, say)
        fitted = search.run()
        document.trainers.append(fitted)
        keep(document)
        if metered:
            document.trainers[-1] = search.metered(fitted)
            keep(document)
    return document


def _empty_document(question: Question, first: Plan, limit_bytes: int, mechanism: str) -> FitDocument:
    """Return the document before the first search; `first` is the plan of a run."""
    head = runner.empty_document(first)
    trial = first.trials[0]
    return FitDocument(
        created=head.created,
        harness=head.harness,
        host=head.host,
        device=head.device,
        workload=question.workload,
        dataset_variant=trial.dataset.variant,
        optimizer=trial.optimizer.name,
        threads=trial.threads,
        steps=trial.steps,
        worker=question.options.worker,
        accumulate=question.options.accumulate,
        limit_bytes=limit_bytes,
        reserve_bytes=question.reserve_bytes,
        mechanism=mechanism,
        trainers=[],
    )


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


class _Search:
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


def _device(question: Question) -> tuple[devices.Profile, bool]:
    """Return the profile, and whether it is emulated here because this machine is another."""
    try:
        return devices.resolve(question.device, emulate=False)[0], False
    except NotThatDeviceError:
        return devices.resolve(question.device, emulate=True)[0], True


def _limit(question: Question, device: devices.Profile) -> int:
    """Return what a worker may use. Raises UsageError where this machine cannot show it."""
    if question.resolution is not None and question.resolution < 1:
        raise UsageError(f"--resolution must be at least 1, not {question.resolution}")
    if question.ceiling_bytes is not None and question.ceiling_bytes < 1:
        raise UsageError(f"--ceiling must be at least 1, not {question.ceiling_bytes}")
    here = host.memory_bytes()
    limit = (question.ceiling_bytes or device.memory_bytes or here) - question.reserve_bytes
    if limit < 1:
        raise UsageError(f"--reserve {size(question.reserve_bytes)} leaves nothing of the device's memory")
    if limit > here:
        raise UsageError(
            f"a run in {size(limit)} cannot be tried on this machine, which has {size(here)}; take a smaller device, "
            "or --ceiling SIZE"
        )
    return limit


def _mechanism(limit_bytes: int, wanted: str) -> str:
    """Return what will enforce the ceiling, so that every run is under the same."""
    ceiling = ceilings.choose(limit_bytes, wanted)
    ceiling.close()
    return ceiling.mechanism


def _plan(
    question: Question,
    device: str,
    emulated: bool,
    limit_bytes: int,
    mechanism: str,
    trainer: str,
    batch_size: int,
    metered_steps: int | None = None,
) -> Plan:
    """Return the plan of one run; without `metered_steps` no meter is read, since a search's runs are too short.

    One batch of the test set shows all that an evaluation needs.
    """
    given = question.options
    if metered_steps is None:
        given = msgspec.structs.replace(given, meters=("none",), idle_s=0.0)
    options = msgspec.structs.replace(
        given,
        steps=max(given.steps or 0, metered_steps or 0),
        device=device,
        emulate=emulated,
        workloads=(question.workload,),
        trainers=(trainer,),
        batch_size=batch_size,
        ceiling_bytes=limit_bytes,
        mechanism=mechanism,
        test_items=batch_size,
    )
    return plan.build(options)
