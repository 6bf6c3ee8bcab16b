"""`baselines/<device>.toml`: what was promised (ceilings) and what was reached (values with a tolerance).

The files are under version control and edited by hand, so tomlkit keeps their comments and order, and a
misspelt name is an error. One entry a workload × trainer × engine × batch size:

    [baselines.mlp-mnist.lowmem.torch.batch-100]
    optimizer = "adam"           # what else must agree
    environment = "1f0c..."      # whose values these are: a table under [environments]
    reason = "first recorded"    # why they are what they are
    [baselines.mlp-mnist.lowmem.torch.batch-100.metrics.training_peak_bytes]
    value = 41943040             # the ratchet: a median over repeats (of a time ratio, their fastest)
    tolerance = 0.01             # relative, from the spread of the repeats
    ceiling = 50331648           # the promise, never moved by update; for test_accuracy it is a `floor`
"""

import re
import tomllib
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import tomlkit
from tomlkit.items import Table

from results.errors import BaselineInvalidError, BaselineMissingError, NoisyRunError, NotComparableError
from results.files import cause_of, write_whole
from results.fingerprint import Fact, differences, fingerprint, machine_facts
from results.metrics import FASTEST, METRICS, Key, Measured, Metric, measure
from results.schema import Document, Setting
from results.stats import spread

SCHEMA = "harness.baselines"
MIN_REPEATS = 3
SPREADS_ALLOWED = 3.0
"""The tolerance is this many half ranges of the repeats: three repeats show little of the real spread."""

_HEADER = """Baselines of one device. `value` is a ratchet, set by `harness baseline update`; `ceiling` (for
test_accuracy `floor`) is a promise, set by hand. Comments are kept."""


class Value(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One metric's baseline: a value with its tolerance, a promise (`ceiling` or `floor`), or both."""

    value: float | None = None
    tolerance: Annotated[float, msgspec.Meta(ge=0)] | None = None
    ceiling: float | None = None
    floor: float | None = None

    @property
    def bound(self) -> float | None:
        """Return the promise, whichever side it is on."""
        return self.ceiling if self.ceiling is not None else self.floor


class Entry(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The baseline of one key. Conditions left out (an entry written by hand) are not compared.

    `length` (steps, epochs) is a condition of the accuracy alone.
    """

    optimizer: str | None = None
    threads: int | None = None
    allocator: str | None = None
    dataset_variant: str | None = None
    worker: str = "python"
    accumulate: int = 1
    environment: str | None = None
    reason: str | None = None
    updated: str | None = None
    length: dict[str, Setting] = msgspec.field(default_factory=dict)
    ledger_by_variable: dict[str, int] = msgspec.field(default_factory=dict)
    metrics: dict[str, Value]


class Baselines(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A baseline file: environments by fingerprint, entries by workload, trainer, engine, `batch-N`."""

    schema: Literal["harness.baselines"]
    schema_version: Literal[1]
    environments: dict[str, dict[str, Fact]] = msgspec.field(default_factory=dict)
    baselines: dict[str, dict[str, dict[str, dict[str, Entry]]]] = msgspec.field(default_factory=dict)

    def entries(self) -> Iterator[tuple[Key, Entry]]:
        """Yield every entry with its key, in the file's order."""
        for workload, trainers in self.baselines.items():
            for trainer, engines in trainers.items():
                for engine, batches in engines.items():
                    for batch, entry in batches.items():
                        yield Key(workload, trainer, engine, int(batch.removeprefix("batch-"))), entry


class Change(NamedTuple):
    """One value set by an update; `before` is None where it is new."""

    key: Key
    metric: str
    before: float | None
    after: float
    tolerance: float


def path_for(folder: Path, document: Document) -> Path:
    """Return the baseline file of a document's device profile: `<folder>/<profile>.toml`."""
    return folder / f"{document.device.profile}.toml"


def read(path: Path) -> Baselines:
    """Return a baseline file.

    Raises:
        BaselineMissingError: There is no such file.
        BaselineInvalidError: Not TOML, or against the schema; the message says where.
    """
    return _parsed(_text(path), path)


def update(
    path: Path, documents: Sequence[Document], reason: str, only: Collection[str] | None = None
) -> list[Change]:
    """Set the values of every key that the documents measured, and write the file whole or not at all.

    `only` names the metrics to set (a run of few steps shows memory, but neither time nor accuracy); by default
    all that are ratchets. Bounds, comments, other metrics and the entries of other keys stay as they are.

    Raises:
        BaselineInvalidError: No reason given, nothing measured, or a file that cannot be read.
        NoisyRunError: Failed or throttled trials, fewer than three repeats, or too wide a spread.
        NotComparableError: Documents from different machines, or one key under two setups.
        DocumentWriteError: The file cannot be written.
    """
    if not reason.strip():
        raise BaselineInvalidError("a baseline needs a reason: why is this figure right? (--reason TEXT)")
    facts = _common_machine(documents)
    measured = measure(documents)
    names = _ratchets(only)
    if not measured:
        raise BaselineInvalidError("the documents hold no trial to set a baseline by; run one first")
    for group in measured.values():
        _require_steady(group, names)
    before = _text(path) if path.exists() else _new_file()
    _parsed(before, path)
    file = tomlkit.parse(before)
    name = fingerprint(facts)
    _table(file, "environments")[name] = facts
    changes = [change for group in measured.values() for change in _set(file, group, name, reason, names)]
    after = tomlkit.dumps(file)
    _parsed(after, path)
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
    if any(values) and spread(values) > metric.max_spread:
        raise NoisyRunError(
            f"{group.key}: {metric.name} spreads ±{spread(values) * 100:.1f} % over {len(values)} repeats, "
            f"more than {metric.max_spread * 100:.1f} %; run again on a quiet machine, with more steps"
        )


def _ratchets(only: Collection[str] | None) -> list[str]:
    """Return the metrics to record; raise BaselineInvalidError for one that is none."""
    there = [name for name, metric in METRICS.items() if metric.ratchet]
    unknown = [name for name in only or () if name not in there]
    if unknown:
        raise BaselineInvalidError(f"'{unknown[0]}' cannot be recorded; there is: {', '.join(there)}")
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
            f"{group.key}: {len(group.trials)} repeat(s) show no spread; "
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


def _set(
    file: tomlkit.TOMLDocument, group: Measured, environment: str, reason: str, names: Collection[str]
) -> list[Change]:
    """Write one group's values into the file in memory."""
    key, setup = group.key, group.setup
    entry = _table(file, "baselines", key.workload, key.trainer, key.engine, f"batch-{key.batch_size}")
    facts: dict[str, Any] = {
        "optimizer": setup.optimizer,
        "threads": setup.threads,
        "allocator": setup.allocator,
        "dataset_variant": setup.dataset_variant,
        "worker": setup.worker,
        "accumulate": setup.accumulate,
        "environment": environment,
        "reason": reason,
        "updated": f"{datetime.now(UTC):%Y-%m-%d}",
        "length": group.length(),
        "ledger_by_variable": group.ledger(),
    }
    for name, value in facts.items():
        entry[name] = value
    metrics = _table(entry, "metrics")
    there = [name for name in names if name in group.values]
    return [_set_metric(_table(metrics, name), group, METRICS[name]) for name in there]


def _set_metric(table: Table, group: Measured, metric: Metric) -> Change:
    """Write one metric's value and tolerance; its bound stays."""
    figures, repeats = group.figures(metric.name), group.values[metric.name]
    after = group.figure(metric.name)
    assert after is not None
    before = table.get("value")
    tolerance = (
        tolerance_of(metric, figures, repeats if metric.name in FASTEST else ())
        if any(figures)
        else metric.floor
    )
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


def _parsed(text: str, path: Path) -> Baselines:
    """Return the content of a baseline file's text."""
    try:
        plain = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise BaselineInvalidError(f"'{path}' cannot be read: {error}") from error
    return _checked(plain, path)


def _text(path: Path) -> str:
    """Return the file's text."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BaselineMissingError(
            f"no baseline file '{path}'; `harness baseline update FILE --reason TEXT` writes one"
        ) from None
    except IsADirectoryError:
        raise BaselineMissingError(f"'{path}' is a folder; name a baseline file in it") from None
    except (OSError, UnicodeError) as error:
        raise BaselineInvalidError(f"'{path}' cannot be read: {cause_of(error)}") from error


def _checked(plain: dict[str, Any], path: Path) -> Baselines:
    """Return the file's content, strictly typed, with names that mean something."""
    try:
        file = msgspec.convert(plain, Baselines)
        for levels in file.baselines.values():
            batches = [batch for engines in levels.values() for table in engines.values() for batch in table]
            for batch in batches:
                if not re.fullmatch(r"batch-[1-9][0-9]*", batch):
                    raise ValueError(f"'{batch}' is not of the form 'batch-100'")
        for key, entry in file.entries():
            _check_entry(file, key, entry)
    except (msgspec.ValidationError, ValueError) as error:
        raise BaselineInvalidError(f"'{path}' is not a valid baseline file: {error}") from error
    return file


def _check_entry(file: Baselines, key: Key, entry: Entry) -> None:
    """Raise ValueError for an unknown metric, or a value without its tolerance or environment."""
    for name, value in entry.metrics.items():
        if name not in METRICS:
            raise ValueError(f"{key}: unknown metric '{name}'; there is: {', '.join(METRICS)}")
        wrong = "floor" if METRICS[name].better == "lower" else "ceiling"
        if getattr(value, wrong) is not None:
            raise ValueError(f"{key}: {name} cannot have a {wrong}: {METRICS[name].better} is better")
        if value.value is not None and value.tolerance is None:
            raise ValueError(f"{key}: {name} has a value without a tolerance")
        if value.value is not None and entry.environment not in file.environments:
            raise ValueError(f"{key}: {name} has a value, but environment '{entry.environment}' is not there")


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
