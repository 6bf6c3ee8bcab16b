"""The table of `harness history`: one line a series, its sparkline, and what changed when."""

import itertools
import statistics
from collections.abc import Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from results import format as fmt
from results.conditions import length_words
from results.history import LoadReport, Trend
from results.metrics import METRICS
from results.summary import setup_title
from results.tables import add_row, new_table, titled
from results.trends import sparkline


def history_view(trends: Sequence[Trend], report: LoadReport) -> RenderableType:
    """Return a table a setup and machine, then the changes in words, then the files that were skipped."""
    parts: list[RenderableType] = []
    for setup, machine in dict.fromkeys((trend.setup, trend.machine) for trend in trends):
        rows = [trend for trend in trends if (trend.setup, trend.machine) == (setup, machine)]
        parts.append(titled(f"{setup_title(setup)}, machine {machine}", _table(rows)))
    lines = [line for trend in trends for line in change_lines(trend)]
    lines += [f"skipped {path}: {cause}" for path, cause in report.skipped.items()]
    parts.extend(Text(f"· {line}") for line in lines)
    parts.append(Text(summary_line(report)))
    return Group(*parts)


def nothing_found(folder: Path, trends: Sequence[Trend], metric: str | None, workload: str | None) -> str:
    """Return in one line that no series is of that metric and workload, and what there is; `trends` are all."""
    if not trends:
        return f"no document in '{folder}' holds anything measured; `harness run` writes documents"
    workloads = dict.fromkeys(trend.key.workload for trend in trends)
    if workload is not None and workload not in workloads:
        return f"no document in '{folder}' is of workload '{workload}'; there is: {', '.join(workloads)}"
    metrics = dict.fromkeys(trend.metric for trend in trends if workload in (None, trend.key.workload))
    of = "" if workload is None else f" of workload '{workload}'"
    return f"no document in '{folder}'{of} has metric '{metric}'; there is: {', '.join(metrics)}"


def summary_line(report: LoadReport) -> str:
    """Return in one line what the load did."""
    gone = f", {report.gone} gone" if report.gone else ""
    return f"documents: {report.loaded} new, {report.unchanged} known{gone}, {len(report.skipped)} skipped"


def change_lines(trend: Trend) -> list[str]:
    """Return each change of a series in words: from what to what, since when, and in which document first."""
    metric, values = METRICS[trend.metric], trend.values
    bounds = [0, *trend.changes, len(values)]
    levels = [statistics.median(values[a:b]) for a, b in itertools.pairwise(bounds)]
    lines, name = [], " ".join(_name(trend).split())
    for at, before, after in zip(trend.changes, levels, levels[1:], strict=False):
        point = trend.points[at]
        change = f" ({fmt.change(after / before)})" if before else ""
        lines.append(
            f"{trend.key.trainer} {name}: {metric.shown(before)} → {metric.shown(after)}{change} "
            f"since {point.created[:16].replace('T', ' ')} UTC, {point.path}"
        )
    return lines


def _table(trends: Sequence[Trend]) -> Table:
    """Return one line a series: how many documents, the first value, the present level, the shape."""
    table = new_table("trainer", "metric", "n", "first", "level", "change", "trend", naming=2)
    for index in (1, 6):
        table.columns[index].justify = "left"
    for trend in trends:
        shown, first = METRICS[trend.metric].shown, trend.values[0]
        change = fmt.change(trend.level / first) if first else fmt.DASH
        shape = sparkline(trend.values, width=16)
        cells = (trend.key.trainer, _name(trend), str(len(trend.points)), shown(first), shown(trend.level))
        add_row(table, *cells, change, shape)
    return table


def _name(trend: Trend) -> str:
    """Return the metric, of an accuracy with how long was trained in a line below."""
    return trend.metric + (f"\n  {length_words(trend.length)}" if trend.length else "")
