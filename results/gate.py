"""`harness check`: a document against the baselines, one verdict a metric, one exit code for all.

Bounds are promises and hold on every machine, in every run. Ratchets compare with recorded values, and
only where the environment, the setup and the noise allow it. Nothing passes in silence: what could not
be compared is a verdict of its own.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from results import format as fmt
from results.baselines import Baselines, Entry, Value
from results.conditions import length_words
from results.errors import NoisyRunError
from results.fingerprint import differences, machine_facts
from results.metrics import FASTEST, METRICS, Key, Measured, Metric, measure
from results.ratchet import require_quiet
from results.schema import Document
from results.stats import spread


class Status(StrEnum):
    """What became of one check."""

    OK = "ok"
    CEILING_BROKEN = "ceiling broken"
    OUT_OF_MEMORY = "out of memory"
    ERROR = "error"
    INVALID = "invalid"
    NOT_COMPARABLE = "not comparable"
    NO_BASELINE = "no baseline"
    REGRESSED = "regressed"
    IMPROVED = "improved"
    NOT_RUN = "not run"


# The contract's exit codes; where several apply, the first in this order is the answer.
EXIT_CODES: tuple[tuple[int, frozenset[Status]], ...] = (
    (3, frozenset({Status.CEILING_BROKEN, Status.OUT_OF_MEMORY})),
    (1, frozenset({Status.ERROR})),
    (6, frozenset({Status.INVALID})),
    (5, frozenset({Status.NOT_COMPARABLE, Status.NO_BASELINE})),
    (4, frozenset({Status.REGRESSED})),
)
STRICT_EXIT_CODES = ((5, frozenset({Status.NOT_RUN})), (7, frozenset({Status.IMPROVED})))

_TRIAL_STATUS = {
    "out_of_memory": Status.OUT_OF_MEMORY,
    "error": Status.ERROR,
    "invalid": Status.INVALID,
}


@dataclass(frozen=True)
class Verdict:
    """One check: of a metric, or of the trials themselves (`metric` is `trial`).

    `value` and `expected` are in the metric's unit; `expected` is the baseline, or the bound that broke.
    """

    key: Key
    metric: str
    status: Status
    value: float | None
    expected: float | None
    detail: str


def check(document: Document, baselines: Baselines) -> list[Verdict]:
    """Return the verdicts on every configuration of the document, then the baselines it did not run.

    Raises:
        NotComparableError: One key under two setups in the document.
    """
    entries = dict(baselines.entries())
    measured = measure([document])
    verdicts: list[Verdict] = []
    for key, group in measured.items():
        entry = entries.get(key)
        obstacle = _obstacle(document, baselines, group, entry)
        verdicts.extend(_check_group(group, entry, obstacle))
    missing = (key for key in entries if key not in measured)
    verdicts.extend(Verdict(key, "trial", Status.NOT_RUN, None, None, "not measured here") for key in missing)
    return verdicts


def exit_code(verdicts: Iterable[Verdict], strict: bool = False) -> int:
    """Return the exit code of the contract: 3 before 1, 6, 5, 4, and with `strict` 7.

    Nothing checked at all is 5, also beside baselines that nothing was measured for: a gate that saw nothing has not
    passed.
    """
    found = {verdict.status for verdict in verdicts}
    if found <= {Status.NOT_RUN}:
        found.add(Status.NO_BASELINE)
    codes = EXIT_CODES + (STRICT_EXIT_CODES if strict else ())
    return next((code for code, statuses in codes if statuses & found), 0)


def _check_group(group: Measured, entry: Entry | None, obstacle: Verdict | None) -> list[Verdict]:
    """Return the verdicts on one key: its trials, its bounds, then its ratchets."""
    spoilt = _spoilt(group)
    if entry is None:
        return [*spoilt, _verdict(group, "trial", Status.NO_BASELINE, detail=_NO_BASELINE)]
    verdicts = list(spoilt)
    for name, value in entry.metrics.items():
        broken = _check_bound(group, METRICS[name], value, entry)
        if broken is not None:
            verdicts.append(broken)
        elif value.value is not None and not spoilt and obstacle is None:
            verdicts.append(_check_ratchet(group, METRICS[name], value, entry))
        elif value.value is None and value.bound is not None and name in group.values:
            verdicts.append(_within_bound(group, METRICS[name], value.bound))
    if obstacle is not None and any(value.value is not None for value in entry.metrics.values()):
        verdicts.append(obstacle)
    return verdicts


_NO_BASELINE = "nothing to compare with; `harness baseline update` records it"


def _spoilt(group: Measured) -> list[Verdict]:
    """Return a verdict for each distinct way in which a trial did not end well."""
    found = {
        (_TRIAL_STATUS[trial.outcome], str(trial.reason)): None
        for trial in group.trials
        if trial.outcome != "ok"
    }
    if any(trial.validity.throttled for trial in group.trials if trial.outcome == "ok"):
        found[Status.INVALID, "the device throttled"] = None
    return [_verdict(group, "trial", status, detail=reason) for status, reason in found]


def _obstacle(
    document: Document, baselines: Baselines, group: Measured, entry: Entry | None
) -> Verdict | None:
    """Return why the ratchets of an entry may not be compared with this document, None where they may."""
    if entry is None:
        return None
    apart = entry.differences(group.setup)
    recorded = baselines.environments.get(entry.environment or "")
    if recorded is not None:
        apart += differences(recorded, machine_facts(document))
    return _verdict(group, "trial", Status.NOT_COMPARABLE, detail="; ".join(apart)) if apart else None


def _check_bound(group: Measured, metric: Metric, value: Value, entry: Entry) -> Verdict | None:
    """Return the verdict on a broken promise; every repeat must keep it, not only their median.

    A trial that did not finish counts too where it was measured: its peak was at least that much.
    """
    if value.bound is None:
        return None
    values = group.values.get(metric.name, []) + _unfinished(group, metric)
    if not values:
        status, detail = Status.NOT_COMPARABLE, f"cannot be held to its promise: {group.reason(metric.name)}"
        return _verdict(group, metric.name, status, None, value.bound, detail)
    worst = max(values) if metric.better == "lower" else min(values)
    broken = worst > value.bound if metric.better == "lower" else worst < value.bound
    if not broken:
        return None
    promise = "ceiling" if metric.better == "lower" else "floor"
    by = metric.shown(abs(worst - value.bound))
    detail = (
        f"{by} {'over' if metric.better == 'lower' else 'under'} the {promise}{_growth(group, metric, entry)}"
    )
    return _verdict(group, metric.name, Status.CEILING_BROKEN, worst, value.bound, detail)


def _unfinished(group: Measured, metric: Metric) -> list[float]:
    """Return a lower-is-better metric's values in trials that did not finish (memory up to their end)."""
    if metric.better != "lower" or not metric.name.endswith("_bytes"):
        return []
    values = (metric.value_of(trial, None) for trial in group.trials if trial.outcome != "ok")
    return [value for value in values if value is not None]


def _within_bound(group: Measured, metric: Metric, bound: float) -> Verdict:
    """Return the verdict on a kept promise that has no ratchet beside it."""
    return _verdict(group, metric.name, Status.OK, group.figure(metric.name), bound, "within its promise")


def _check_ratchet(group: Measured, metric: Metric, value: Value, entry: Entry) -> Verdict:
    """Compare a metric's median with its recorded value."""
    now, expected = group.figure(metric.name), value.value
    assert expected is not None and value.tolerance is not None
    if now is None:
        return _verdict(group, metric.name, Status.NOT_COMPARABLE, None, expected, group.reason(metric.name))
    if metric.name == "test_accuracy" and entry.length and entry.length != group.length():
        detail = f"trained for {length_words(group.length())}, the baseline for {length_words(entry.length)}"
        return _verdict(group, metric.name, Status.NOT_COMPARABLE, now, expected, detail)
    status = judge(metric, now, expected, value.tolerance)
    detail = f"{_change(now, expected)}, tolerance {value.tolerance * 100:.1f} %"
    # What disturbs a program slows it, so times that hold in spite of it do hold; other metrics are refused as noisy.
    noise = None if status is Status.OK and metric.name in FASTEST else _noise(group, metric)
    disturbed = group.disturbance(metric.name)
    if noise is not None:
        detail = "; ".join([noise, *([disturbed] if disturbed else [])])
        return _verdict(group, metric.name, Status.INVALID, now, expected, detail)
    if status is Status.REGRESSED:
        doubt = disturbed or _spared(group, metric, value)
        status, detail = (
            (Status.INVALID, f"{detail}, but {doubt}; run again")
            if doubt
            else (status, detail + _growth(group, metric, entry))
        )
    if status is Status.IMPROVED:
        detail += f"; {disturbed}" if disturbed else "; record it with `harness baseline update`"
    return _verdict(group, metric.name, status, now, expected, detail)


def _noise(group: Measured, metric: Metric) -> str | None:
    """Return why the repeats are too far apart to judge by, None where they are near enough."""
    try:
        require_quiet(metric, group)
    except NoisyRunError as error:
        return str(error)
    return None


def _spared(group: Measured, metric: Metric, value: Value) -> str | None:
    """Return in words why a regression may be noise: it spares a repeat, or is within what the repeats differ by."""
    assert value.value is not None and value.tolerance is not None
    repeats = group.values[metric.name]
    if metric.name in FASTEST:  # the figure is the best repeat already
        apart, change = spread(repeats), abs((group.figure(metric.name) or 0.0) / value.value - 1)
        return f"the repeats themselves differ by ±{apart * 100:.1f} %" if apart > change else None
    best = (min if metric.better == "lower" else max)(repeats)
    if judge(metric, best, value.value, value.tolerance) is Status.REGRESSED:
        return None
    return f"{_change(best, value.value)} in the best repeat"


def judge(metric: Metric, value: float, expected: float, tolerance: float) -> Status:
    """Return whether a value is worse, better, or the same within the tolerance."""
    slack = abs(expected) * tolerance
    worse = value - expected if metric.better == "lower" else expected - value
    if worse > slack:
        return Status.REGRESSED
    return Status.IMPROVED if worse < -slack else Status.OK


def grown(before: dict[str, int], after: dict[str, int]) -> tuple[str, int, int] | None:
    """Return the variable that grew most, with its bytes before and after; None where none grew."""
    names = dict.fromkeys([*before, *after])
    rows = [(name, before.get(name, 0), after.get(name, 0)) for name in names]
    name, old, new = max(rows, key=lambda row: row[2] - row[1], default=("", 0, 0))
    return (name, old, new) if new > old else None


def _growth(group: Measured, metric: Metric, entry: Entry) -> str:
    """Return the words on which variable of the ledger grew most, for a metric of memory."""
    if not metric.name.endswith("_bytes") or not entry.ledger_by_variable:
        return ""
    found = grown(entry.ledger_by_variable, group.ledger())
    if found is None:
        return "; no variable of the ledger grew"
    name, old, new = found
    return f"; {name} grew most, from {fmt.size(old)} to {fmt.size(new)}"


def _change(now: float, expected: float) -> str:
    """Return the change against a baseline, which may be 0."""
    return fmt.change(now / expected) if expected else f"{now:+.3g} from 0"


def _verdict(
    group: Measured,
    metric: str,
    status: Status,
    value: float | None = None,
    expected: float | None = None,
    detail: str = "",
) -> Verdict:
    return Verdict(group.key, metric, status, value, expected, detail)
