"""`harness run --ab OTHER_PYTHON`: two installations of the program, measured in turns by this one.

The other interpreter has its own edge-harness (another wheel, another revision, another torch). It plans its own
trials, so that its recipes, networks and memory model count, and its own workers run them. This program starts and
watches the workers of both, so that one and the same clock, meter and reading of the kernel's peaks measures both.
Trials alternate A B A B: what drifts over time falls on both alike. There are two documents, which `harness compare`
reads.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import chain, cycle
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from harness import opening, runner
from harness.errors import UsageError
from harness.plan import Options, Plan, TrialPlan
from harness.runner import Observer
from results import schema
from results.format import counted

_PLANNING_S = 120.0
# What runs in the other interpreter. It names only what every revision with a plan has; a core without `facts`, or
# one that cannot be loaded, has none to tell.
_PROGRAM = """
import json, platform, sys
from importlib import metadata
from pathlib import Path
from harness import __version__, plan

given = json.load(sys.stdin)
if given.get("data_dir"):
    given["data_dir"] = Path(given["data_dir"])
for name in ("workloads", "trainers", "meters", "settings"):
    if name in given:
        given[name] = tuple(given[name])
libraries = {}
for name in %r:
    try:
        libraries[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
trials = plan.build(plan.Options(**given)).trials
native = None
if any(each.engine.name == "native" for each in trials):
    try:
        from workloads.engines.native import facts
        native = {name: str(value) for name, value in facts().items()}
    except Exception:
        pass
json.dump({
    "version": __version__,
    "native": native,
    "python": platform.python_version(),
    "libraries": libraries,
    "trials": [{
        "engine": each.engine.name,
        "job": each.job(),
        "modelled_by_variable": each.memory_model().by_variable(),
    } for each in trials],
}, sys.stdout)
"""


class OtherTrial(TrialPlan, kw_only=True, frozen=True):
    """A trial as the other interpreter planned it: its job and its model, with what both must share from here."""

    other_job: dict[str, Any]
    other_modelled: dict[str, int]

    def job(self) -> dict[str, Any]:
        """Return the job that the other interpreter wrote for its own worker."""
        return self.other_job

    def modelled_by_variable(self) -> dict[str, int]:
        """Return what the other's memory model says."""
        return self.other_modelled


class Pair(NamedTuple):
    """The plan of both, in turns, and the two documents, still empty: this interpreter's and the other's."""

    plan: Plan
    this: schema.Document
    other: schema.Document


Keep = Callable[[schema.Document], None]


def pair(plan: Plan, python: str) -> Pair:
    """Let the other interpreter plan the same trials, and interleave them with this one's.

    Raises UsageError where it cannot be started, has no edge-harness, or plans something else.
    """
    path = _path(python)
    answer = _ask(path, plan.options)
    theirs = [_other_trial(mine, said, path) for mine, said in _matched(plan, answer, path)]
    ours = [_marked(each, "this", sys.executable) for each in plan.trials]
    turns = tuple(chain.from_iterable(zip(ours, theirs, strict=True)))
    this = opening.empty_document(plan)
    other = msgspec.structs.replace(
        this,
        harness=schema.HarnessInfo(version=answer["version"], native=_native_build(answer)),
        host=msgspec.structs.replace(this.host, python=answer["python"], libraries=answer["libraries"]),
        trials=[],
    )
    return Pair(msgspec.structs.replace(plan, trials=turns), this, other)


def _native_build(answer: dict[str, Any]) -> schema.NativeBuild | None:
    """Return how the core that the other's workers load was built; None where none loads it, or it does not say."""
    try:
        known: schema.NativeBuild | None = msgspec.convert(answer["native"], schema.NativeBuild | None)
    except msgspec.ValidationError:
        return None
    return known


def run(pair: Pair, observer: Observer, keep_this: Keep, keep_other: Keep) -> None:
    """Run the trials in turns; each document is kept anew after each of its trials."""
    sides = ((pair.this, keep_this), (pair.other, keep_other))
    with runner.instruments(pair.plan, observer) as found:
        for document, keep in sides:
            keep(document)
        running = runner.trials_with(pair.plan, observer, found)
        for (document, keep), trial in zip(cycle(sides), running, strict=False):
            document.trials.append(trial)
            keep(document)


def _path(python: str) -> str:
    """Return where the interpreter is; a link into a virtual environment stays the link that makes it one."""
    found = shutil.which(python)
    if found is None:
        raise UsageError(f"--ab {python}: no such program; name the python of another environment")
    return os.path.abspath(found)  # noqa: PTH100  # Path.resolve would follow the link


def _ask(path: str, options: Options) -> dict[str, Any]:
    """Return what the other interpreter plans, and what it is."""
    defaults = Options()
    given = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in msgspec.structs.asdict(options).items()
        # An older revision need not know what nobody asked for, nor what the meters read, which is kept here.
        if value != getattr(defaults, name) and name != "captures_dir"
    }
    command = [path, "-P", "-c", _PROGRAM % (opening.LIBRARIES,)]
    try:
        done = subprocess.run(
            command,
            input=json.dumps(given),
            capture_output=True,
            text=True,
            errors="replace",  # what is no Python may print anything
            timeout=_PLANNING_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"--ab {path}: it cannot be asked what it plans: {error}") from error
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise UsageError(
            f"--ab {path}: it cannot plan these trials: {last}; install edge-harness into its environment"
        )
    return _understood(done.stdout, path)


def _understood(said: str, path: str) -> dict[str, Any]:
    """Return what the program above printed. Raises UsageError where something else did, as `true` prints nothing."""
    try:
        answer = json.loads(said)
    except ValueError:
        answer = None
    if isinstance(answer, dict) and "trials" in answer:
        return answer
    raise UsageError(
        f"--ab {path}: it is no Python with edge-harness; name the python of another environment"
    )


def _matched(plan: Plan, answer: dict[str, Any], path: str) -> list[tuple[TrialPlan, dict[str, Any]]]:
    """Return the trials of both, pair by pair. Raises UsageError where a pair is not the same question."""
    said = answer["trials"]
    if len(said) != len(plan.trials):
        raise UsageError(
            f"--ab {path}: it plans {counted(len(said), 'trial')}, this one {len(plan.trials)}; name every option"
        )
    for mine, other in zip(plan.trials, said, strict=True):
        for name in ("batch_size", "steps", "warmup", "threads", "seed"):
            here, there = getattr(mine, name), other["job"][name]
            if here != there:
                raise UsageError(
                    f"--ab {path}: {name} is {there} there and {here} here; name it as an option"
                )
        if mine.engine.name != other["engine"]:
            raise UsageError(
                f"--ab {path}: the engine is {other['engine']} there and {mine.engine.name} here; name --engine"
            )
    return list(zip(plan.trials, said, strict=True))


def _other_trial(mine: TrialPlan, said: dict[str, Any], path: str) -> OtherTrial:
    marked = _marked(mine, "other", path)
    fields = {name: getattr(marked, name) for name in TrialPlan.__struct_fields__}
    fields["settings"] = said["job"]["settings"] | {"ab": "other", "interpreter": path}
    return OtherTrial(**fields, other_job=said["job"], other_modelled=said["modelled_by_variable"])


def _marked(trial: TrialPlan, side: str, path: str) -> TrialPlan:
    """Return the trial with the interpreter in its settings, which the document keeps."""
    settings = trial.settings | {"ab": side, "interpreter": path}
    return msgspec.structs.replace(trial, settings=settings, python=None if side == "this" else path)
