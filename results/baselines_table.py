"""The tables of `harness baseline show` and `harness baseline update`."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from results import format as fmt
from results.baselines import Baselines
from results.fingerprint import shown
from results.metrics import METRICS
from results.ratchet import Change
from results.tables import add_row, new_table, titled


def baselines_view(file: Baselines) -> RenderableType:
    """Return every entry with its values, tolerances and promises, then the machines they are from."""
    parts: list[RenderableType] = []
    for key, entry in file.entries():
        table = new_table("metric", "value", "tolerance", "promise")
        for name, value in entry.metrics.items():
            show = METRICS[name].shown
            word = "" if value.bound is None else ("at most " if value.floor is None else "at least ")
            add_row(table, name, show(value.value), fmt.percent(value.tolerance), word + show(value.bound))
        parts.append(titled(str(key), table))
        if entry.reason:
            parts.append(Text(f"{entry.reason} ({entry.updated}, environment {entry.environment})\n"))
    for name, facts in file.environments.items():
        words = ", ".join(
            f"{fact.removesuffix('_bytes')} {shown(fact, value)}" for fact, value in facts.items()
        )
        parts.append(Text(f"· environment {name}: {words}"))
    return Group(*parts) if parts else Text("The file holds no baseline.")


def changes_view(changes: Sequence[Change]) -> RenderableType:
    """Return what an update set: the value before and after, and the tolerance from the repeats' spread."""
    table = new_table("configuration", "metric", "before", "after", "change", "tolerance", naming=2)
    table.columns[1].justify = "left"
    for change in changes:
        show, before = METRICS[change.metric].shown, change.before
        relative = fmt.change(change.after / before) if before else "new" if before is None else fmt.DASH
        cells = (show(before), show(change.after), relative, fmt.percent(change.tolerance))
        add_row(table, str(change.key), change.metric, *cells)
    return table
