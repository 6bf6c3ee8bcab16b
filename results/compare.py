"""`harness compare A B`: ratios between two documents, pair by pair, with intervals and a verdict in words.

What may not be compared is refused with the difference named: another machine, or no configuration
(workload, batch size, allocator mode, ...) that both documents have. Accuracies of different trainings are left out.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from rich.console import Group, RenderableType
from rich.text import Text

from results import format as fmt
from results.conditions import accuracy_differences
from results.errors import NotComparableError
from results.fingerprint import differences, machine_facts, software_facts
from results.pairs import Key, Pair, by_key, left_out, nothing_in_common, paired
from results.schema import Document, Energy, Trial
from results.stats import Paired, paired_difference, paired_ratio
from results.summary import setup_title, training_peak_bytes
from results.tables import add_row, new_table, titled
from results.whole_energy import measured_energy

MARGIN = 0.01
"""Ratios whose whole interval lies within 1 % of 1 count as the same, however sure the difference is."""
ACCURACY_MARGIN = 0.005
"""The same for accuracy: half a point."""


class Quantity(NamedTuple):
    """Something compared: its name, unit formatter, the words for less and for more, and where it is."""

    name: str
    shown: Callable[[float | None], str]
    less: str
    more: str
    value_of: Callable[[Trial], float | None]


Effect = Literal["less", "more", "same", "unclear", "unknown"]


@dataclass(frozen=True)
class Row:
    """One quantity of one configuration in both documents; values are medians over the pairs."""

    key: Key
    quantity: str
    before: str
    after: str
    paired: Paired
    effect: Effect
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """All rows; what only one document has; and the software that differs."""

    rows: list[Row]
    left_out: list[str]
    software: list[str]


QUANTITIES = (
    Quantity(
        "step time",
        fmt.seconds,
        "faster",
        "slower",
        lambda trial: trial.time.step_s.median if trial.time.step_s else None,
    ),
    Quantity("peak memory", fmt.size, "less memory", "more memory", training_peak_bytes),
    Quantity(
        "energy a step",
        fmt.joules,
        "less energy",
        "more energy",
        lambda trial: row.net_j_per_step if (row := measured_energy(trial)) else None,
    ),
    Quantity("accuracy", fmt.percent, "lower", "higher", lambda trial: trial.quality.test_accuracy),
)


def compare(before: Document, after: Document) -> Comparison:
    """Return what changed from one document to the other; trials are paired by repeat number.

    Raises:
        NotComparableError: Different machines, or no configuration, repeat or figure that is in both.
    """
    foreign = differences(machine_facts(before), machine_facts(after))
    if foreign:
        raise NotComparableError(
            f"the documents are from different machines ({'; '.join(foreign)}); measure both on one machine"
        )
    old, new = by_key(before), by_key(after)
    common = [key for key in old if key in new]
    if not common:
        raise NotComparableError(nothing_in_common(list(old), list(new)))
    found = [_rows(key, paired(old[key], new[key])) for key in common]
    lines = left_out(before, after) + [line for _, some in found for line in some]
    rows = [row for some, _ in found for row in some]
    if not rows:
        raise NotComparableError(f"the documents have no pair of figures to compare: {'; '.join(lines)}")
    return Comparison(
        rows=rows,
        left_out=lines,
        software=differences(software_facts(before), software_facts(after)),
    )


def comparison_view(comparison: Comparison, before: str, after: str) -> RenderableType:
    """Return one table a setup, then what was left out; `before` and `after` name the documents."""
    parts: list[RenderableType] = [Text(f"before: {before}\nafter:  {after}\n")]
    for setup in dict.fromkeys(row.key.setup for row in comparison.rows):
        table = new_table("trainer", naming=2)
        table.add_column("", justify="left", no_wrap=True)
        for name in ("before", "after"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("verdict", justify="left", overflow="fold")
        rows = [row for row in comparison.rows if row.key.setup == setup]
        for row in rows:
            add_row(table, row.key.trainer, row.quantity, row.before, row.after, row.verdict)
        pairs = max(row.paired.n for row in rows)
        parts.append(titled(f"{setup_title(setup)}, {fmt.counted(pairs, 'pair')}", table))
    lines = [f"left out: {line}" for line in comparison.left_out]
    lines += [f"software differs: {line}" for line in comparison.software]
    parts.extend(Text(f"· {line}") for line in lines)
    return Group(*parts)


def _rows(key: Key, pairs: Sequence[Pair]) -> tuple[list[Row], list[str]]:
    """Return a row for each quantity that all pairs may be compared by, and in words why others have none."""
    rows, lines = [], []
    for quantity in QUANTITIES:
        values = [(quantity.value_of(a), quantity.value_of(b)) for a, b in pairs]
        whole = [(a, b) for a, b in values if a is not None and b is not None]
        one_sided = sum((a is None) != (b is None) for a, b in values)
        if one_sided:
            lines.append(
                f"{key}: {quantity.name}: on one side only in {one_sided} of {fmt.counted(len(pairs), 'pair')}"
            )
        obstacle = _obstacle(quantity, pairs, whole) if whole else None
        if obstacle:
            lines.append(f"{key}: {quantity.name}: {obstacle}")
        elif whole:
            rows.append(_row(key, quantity, whole))
    return rows, lines


def _obstacle(quantity: Quantity, pairs: Sequence[Pair], values: Sequence[tuple[float, float]]) -> str | None:
    """Return why a quantity may not be compared though both sides measured it; None where it may."""
    if quantity.name == "accuracy":
        apart = dict.fromkeys(line for pair in pairs for line in accuracy_differences(*pair))
        return "; ".join(apart) or None
    if quantity.name == "energy a step":
        measured = ((measured_energy(a), measured_energy(b)) for a, b in pairs)
        places = {
            f"{_place(a)} → {_place(b)}": None for a, b in measured if a and b and _place(a) != _place(b)
        }
        if places:
            return f"measured elsewhere: {'; '.join(places)}"
    least = min(min(pair) for pair in values)
    return f"{quantity.shown(least)} has no ratio" if least <= 0 else None


def _place(energy: Energy) -> str:
    """Return where an energy was measured: other domains cover something else."""
    return f"{energy.meter} ({energy.domain})"


def _row(key: Key, quantity: Quantity, pairs: list[tuple[float, float]]) -> Row:
    """Judge one quantity: accuracies by their difference, everything else by its ratio."""
    before, after = [a for a, _ in pairs], [b for _, b in pairs]
    is_accuracy = quantity.name == "accuracy"
    change = paired_difference(before, after) if is_accuracy else paired_ratio(before, after)
    centre, margin = (0.0, ACCURACY_MARGIN) if is_accuracy else (1.0, MARGIN)
    effect = judge(change, centre, margin)
    return Row(
        key=key,
        quantity=quantity.name,
        before=quantity.shown(statistics.median(before)),
        after=quantity.shown(statistics.median(after)),
        paired=change,
        effect=effect,
        verdict=_words(quantity, change, effect),
    )


def judge(paired: Paired, centre: float, margin: float) -> Effect:
    """Return what the interval says about the pairs, where `centre` is no change.

    `same`: the whole interval is within the margin. `less`, `more`: it leaves out the centre.
    `unclear`: it does neither. `unknown`: there is no interval (a single pair).
    """
    if paired.interval is None:
        return "unknown"
    low, high = paired.interval
    if centre - margin <= low and high <= centre + margin:
        return "same"
    if high < centre:
        return "less"
    return "more" if low > centre else "unclear"


def _words(quantity: Quantity, paired: Paired, effect: Effect) -> str:
    """Return the verdict as a phrase with the change, and its interval in the same unit."""
    shown = _points if quantity.name == "accuracy" else fmt.change
    if paired.interval is None:
        return f"{shown(paired.value)}; one pair, so no interval and no verdict"
    low, high = (shown(value).split()[0] for value in paired.interval)
    span = f"{shown(paired.value)} ({low} to {high})"
    if effect == "same":
        return f"the same: {span}"
    if effect == "unclear":
        return f"no difference shown: {span}"
    return f"{quantity.less if effect == 'less' else quantity.more}: {span}"


def _points(difference: float) -> str:
    """Return a difference of fractions in percentage points."""
    return f"{difference * 100:+.2f} points"
