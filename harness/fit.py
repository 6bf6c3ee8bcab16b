"""`harness fit`: the largest batch size that a device's memory takes, predicted by the model and verified by runs.

The honest model and the measured baseline of a worker say where to look. What counts is a real run of a few steps
under the enforced ceiling, which `fit_search` looks for.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from harness import ceilings, devices, host, opening, plan
from harness.energy import EnergyWatch
from harness.errors import NotThatDeviceError, UsageError
from harness.fit_search import Say, Search
from harness.plan import Plan
from harness.run_options import DEFAULT_TRAINERS, Options
from results.fit_document import FitDocument
from results.format import size


class Question(msgspec.Struct, kw_only=True, frozen=True):
    """What is asked; `resolution` None is 2 % of the prediction, `ceiling_bytes` None the device's memory."""

    workload: str
    trainers: tuple[str, ...] = DEFAULT_TRAINERS
    device: str = "auto"
    ceiling_bytes: int | None = None
    reserve_bytes: int = 0
    resolution: int | None = None
    mechanism: str = "auto"
    options: Options = Options(
        steps=2, warmup=1, repeats=1, meters=("none",), allocator="pinned", test_items=1
    )


def question(**given: Any) -> Question:
    """Return the question that the command line's options ask: some are its own, the rest the runs'."""
    own = {name: given.pop(name) for name in Question.__struct_fields__ if name in given}
    if "trainers" in own:  # one that is named twice is searched for once
        own["trainers"] = tuple(dict.fromkeys(own["trainers"]))
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
        search = Search(partial(build, trainer), limit_bytes, question.resolution, say)
        fitted = search.run()
        document.trainers.append(fitted)
        keep(document)
        if metered:
            document.trainers[-1] = search.metered(fitted)
            keep(document)
    return document


def _empty_document(question: Question, first: Plan, limit_bytes: int, mechanism: str) -> FitDocument:
    """Return the document before the first search; `first` is the plan of a run."""
    head = opening.empty_document(first)
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
