"""The tables of `harness baseline show` and `update`: what is promised and recorded, and what just changed."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from results import format as fmt
from results.baselines import Baselines, Change, Entry, Value
from results.metrics import METRICS, Key
from results.tables import new_table, titled


def baselines_view(path: Path, file: Baselines) -> RenderableType:
    """Return one table a configuration: promises, recorded values with their tolerance, and why they are."""
    parts = [_entry(key, entry) for key, entry in file.entries()]
    return Group(Text(str(path), style="bold"), Text(), *(parts or [Text("The file holds no baseline.")]))


def changes_view(path: Path, changes: Sequence[Change]) -> RenderableType:
    """Return what an update set, before and after."""
    table = new_table("configuration", "metric", "before", "after", "change", "tolerance")
    table.columns[1].justify = "left"
    for key, name, before, after, tolerance in changes:
        shown = METRICS[name].shown
        change = fmt.change(after / before) if before else fmt.DASH
        table.add_row(str(key), name, shown(before), shown(after), change, fmt.percent(tolerance, 1))
    return Group(table, Text(), Text(f"written: {path}"))


def _entry(key: Key, entry: Entry) -> RenderableType:
    table = new_table("metric", "promise", "recorded", "tolerance")
    for name, value in entry.metrics.items():
        shown = METRICS[name].shown
        tolerance = fmt.DASH if value.tolerance is None else fmt.percent(value.tolerance, 1)
        table.add_row(name, _promise(name, value), shown(value.value), tolerance)
    return titled(f"{key}{_why(entry)}", table)


def _promise(name: str, value: Value) -> str:
    """Return the bound with its side."""
    if value.bound is None:
        return fmt.DASH
    return f"{'≤' if METRICS[name].better == 'lower' else '≥'} {METRICS[name].shown(value.bound)}"


def _why(entry: Entry) -> str:
    """Return when and why the values were recorded."""
    said = [part for part in (entry.updated, entry.reason) if part]
    return f" ({': '.join(said)})" if said else ""
