"""The ratchet: `harness baseline update` sets what was reached, with a tolerance from the spread of the repeats.

Promises, comments and the entries of other keys stay as they are; noisy, failed and resumed runs set nothing.
What an update does not set stays only where it was measured under the same conditions: an entry has one set of them.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import tomlkit
from tomlkit.items import Table

from results import format as fmt
from results.baselines import CONDITIONS, SCHEMA, Baselines, Entry, parsed, text_of
from results.errors import BaselineInvalidError, BaselineRequestError, NoisyRunError, NotComparableError
from results.files import write_whole
from results.fingerprint import Fact, differences, fingerprint, machine_facts
from results.metrics import FASTEST, METRICS, Key, Measured, Metric, measure
from results.schema import Document
from results.stats import spread

MIN_REPEATS = 3
SPREADS_ALLOWED = 3.0
"""The tolerance is this many half ranges of the repeats: three repeats show little of the real spread."""

_HEADER = """Baselines of one device. `value` is a ratchet, set by `harness baseline update`; `ceiling` (for
test_accuracy `floor`) is a promise, set by hand. Comments are kept."""


class Change(NamedTuple):
    """One value set by an update; `before` is None where it is new."""

    key: Key
    metric: str
    before: float | None
    after: float
    tolerance: float


def update(
    path: Path, documents: Sequence[Document], reason: str, only: Collection[str] | None = None
) -> list[Change]:
    """Set the values of every key that the documents measured, and write the file whole or not at all.

    `only` names the metrics to set (a run of few steps shows memory, but neither time nor accuracy); by default
    all that are ratchets. Bounds, comments, other metrics and the entries of other keys stay as they are.

    Raises:
        BaselineRequestError: No reason given, or a metric that no baseline records.
        BaselineInvalidError: Nothing measured, or a file that cannot be read.
        NoisyRunError: Failed or throttled trials, fewer than three repeats, or too wide a spread.
        NotComparableError: Documents from different machines, one key under two setups, or a value that is not set
            now and was measured on another machine or under another setup.
        DocumentWriteError: The file cannot be written.
    """
    if not reason.strip():
        raise BaselineRequestError("a baseline needs a reason: why is this figure right? (--reason TEXT)")
    facts = _common_machine(documents)
    measured = measure(documents)
    names = _ratchets(only)
    if not measured:
        raise BaselineInvalidError("the documents hold no trial to set a baseline by; run one first")
    for group in measured.values():
        _require_steady(group, names)
    before = text_of(path) if path.exists() else _new_file()
    recorded = parsed(before, path)
    for group in measured.values():
        _require_same_conditions(recorded, group, facts, names)
    file = tomlkit.parse(before)
    name = fingerprint(facts)
    _table(file, "environments")[name] = facts
    changes = [change for group in measured.values() for change in _set(file, group, name, reason, names)]
    if not changes:
        raise BaselineInvalidError(f"{_why_nothing(measured.values(), names)}; nothing was recorded")
    after = tomlkit.dumps(file)
    parsed(after, path)
    write_whole(path, after.encode(), hint="name another with --baseline FILE")
    return changes


def tolerance_of(metric: Metric, figures: Sequence[float], repeats: Sequence[float] = ()) -> float:
    """Return the relative tolerance that a metric's spread calls for, at least the metric's floor.

    `repeats` are given where the figure is not their median: it may come out anywhere in their range another time.
    """
    whole_range = 2.0 * spread(repeats) if repeats else 0.0
    return round(max(metric.floor, SPREADS_ALLOWED * spread(figures), whole_range), 4)


def require_quiet(metric: Metric, group: Measured) -> None:
    """Raise NoisyRunError where the repeats are too far apart to judge the metric by."""
    values = group.figures(metric.name)
    apart = spread(values)
    if apart > metric.max_spread:
        far = (
            f"±{apart * 100:.1f} %"
            if isfinite(apart)
            else f"from {min(values):g} to {max(values):g} around 0"
        )
        raise NoisyRunError(
            f"{group.key}: {metric.name} spreads {far} over {len(values)} repeats, "
            f"more than {metric.max_spread * 100:.1f} %; run again on a quiet machine, with more steps"
        )


def _ratchets(only: Collection[str] | None) -> list[str]:
    """Return the metrics to record; raise BaselineRequestError for one that is none."""
    there = [name for name, metric in METRICS.items() if metric.ratchet]
    for name in only or ():
        if name not in there:
            what = f"metric '{name}' is not recorded" if name in METRICS else f"unknown metric '{name}'"
            raise BaselineRequestError(f"{what}; there is: {', '.join(there)}")
    return [name for name in there if only is None or name in only]


def _require_steady(group: Measured, metrics: Collection[str]) -> None:
    """Raise NoisyRunError where a group may not become a baseline."""
    bad = next((trial for trial in group.trials if trial.outcome != "ok"), None)
    if bad is not None:
        raise NoisyRunError(f"{group.key}: a trial ended '{bad.outcome}' ({bad.reason}); run it again")
    if any(trial.validity.throttled for trial in group.trials):
        raise NoisyRunError(f"{group.key}: the device throttled; cool it and run again")
    if any(trial.checkpoint and trial.checkpoint.resumed_at_step is not None for trial in group.trials):
        raise NoisyRunError(
            f"{group.key}: a trial was resumed and measured its last steps alone; run it whole"
        )
    if len(group.trials) < MIN_REPEATS:
        raise NoisyRunError(
            f"{group.key}: {fmt.counted(len(group.trials), 'repeat')} cannot show a spread; "
            f"run with --repeats {MIN_REPEATS} or more"
        )
    for name in group.values:
        if name in metrics:
            require_quiet(METRICS[name], group)
            disturbed = group.disturbance(name)
            if disturbed:
                raise NoisyRunError(
                    f"{group.key}: {name} cannot be recorded: {disturbed}; run again on a quiet machine, or record "
                    "memory alone with --metric training_peak_bytes"
                )


def _require_same_conditions(
    recorded: Baselines, group: Measured, facts: Mapping[str, Fact], names: Collection[str]
) -> None:
    """Raise NotComparableError where a value that is not set now would stand under conditions it was not measured in.

    To drop it would open the gate in silence; to keep it, compare it with runs that it is not of.
    """
    entry = dict(recorded.entries()).get(group.key, Entry(metrics={}))
    setting = [name for name in names if name in group.values]
    held = [name for name, each in entry.metrics.items() if each.value is not None and name not in setting]
    apart = entry.differences(group.setup) + differences(
        recorded.environments.get(entry.environment or "", facts), facts
    )
    if setting and held and apart:
        raise NotComparableError(
            f"{group.key}: {', '.join(held)}: recorded under other conditions ({'; '.join(apart)}) and not set now; "
            "record all together from a run that measures them, delete by hand the value and tolerance of those that "
            "should go, or keep these conditions in a file of their own with --baseline F"
        )


def _why_nothing(groups: Iterable[Measured], names: Collection[str]) -> str:
    """Return why none of the metrics was measured, by the first group."""
    group = next(iter(groups))
    return f"{group.key}: {'; '.join(f'{name}: {group.reason(name)}' for name in names)}"


def _set(
    file: tomlkit.TOMLDocument, group: Measured, environment: str, reason: str, names: Collection[str]
) -> list[Change]:
    """Write one group's values into the file in memory; where it measured none of them, its entry stays as it is."""
    there = [name for name in names if name in group.values]
    if not there:
        return []
    key = group.key
    entry = _table(file, "baselines", key.workload, key.trainer, key.engine, f"batch-{key.batch_size}")
    for name, value in _facts(group, environment, reason, there).items():
        entry[name] = value
    metrics = _table(entry, "metrics")
    return [_set_metric(_table(metrics, name), group, METRICS[name]) for name in there]


def _facts(group: Measured, environment: str, reason: str, there: Collection[str]) -> dict[str, Any]:
    """Return what an entry says of its values; the length is of the accuracy alone, the ledger of the memory."""
    facts: dict[str, Any] = {name: getattr(group.setup, name) for name in CONDITIONS}
    facts |= {"environment": environment, "reason": reason, "updated": f"{datetime.now(UTC):%Y-%m-%d}"}
    if "test_accuracy" in there:
        facts["length"] = group.length()
    if any(name.endswith("_bytes") for name in there):
        facts["ledger_by_variable"] = group.ledger()
    return facts


def _set_metric(table: Table, group: Measured, metric: Metric) -> Change:
    """Write one metric's value and tolerance; its bound stays."""
    figures, repeats = group.figures(metric.name), group.values[metric.name]
    after = group.figure(metric.name)
    assert after is not None
    before = table.get("value")
    tolerance = tolerance_of(metric, figures, repeats if metric.name in FASTEST else ())
    table["value"] = round(after) if metric.name.endswith("_bytes") else float(f"{after:.6g}")
    table["tolerance"] = tolerance
    return Change(group.key, metric.name, None if before is None else float(before), after, tolerance)


def _common_machine(documents: Sequence[Document]) -> dict[str, Fact]:
    """Return the machine of all documents; raise NotComparableError where they differ."""
    machines = [machine_facts(document) for document in documents]
    for other in machines[1:]:
        apart = differences(machines[0], other)
        if apart:
            raise NotComparableError(f"the documents are from different machines: {'; '.join(apart)}")
    return machines[0] if machines else {}


def _new_file() -> str:
    """Return an empty baseline file with its explanation."""
    comments = "".join(f"# {line}\n" for line in _HEADER.splitlines())
    return f'{comments}schema = "{SCHEMA}"\nschema_version = 1\n'


def _table(parent: Any, *names: str) -> Table:
    """Return the nested table of that path, made where it is missing."""
    for index, name in enumerate(names):
        if name not in parent:
            parent[name] = tomlkit.table(is_super_table=index < len(names) - 1)
        parent = parent[name]
    table: Table = parent
    return table
