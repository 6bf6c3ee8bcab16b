"""The table of `harness check`: what broke, by how much, and which variable grew."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from results import format as fmt
from results.gate import EXIT_CODES, STRICT_EXIT_CODES, Status, Verdict, exit_code
from results.metrics import METRICS
from results.tables import add_row, new_table


def gate_view(verdicts: Sequence[Verdict], strict: bool = False) -> RenderableType:
    """Return what was checked, worst first; a line on each check that did not pass; the answer."""
    ordered = sorted(verdicts, key=_severity)
    table = new_table("configuration", "metric", "expected", "now", "verdict", naming=2)
    for index in (1, 4):
        table.columns[index].justify = "left"
    for verdict in ordered:
        style = "" if verdict.status in (Status.OK, Status.NOT_RUN) else "bold"
        add_row(table, *cells(verdict), style=style)
    lines = Table.grid(padding=(0, 1))
    for verdict in ordered:
        if verdict.status is not Status.OK:
            lines.add_row(
                Text("·"), Text(f"{verdict.key}, {verdict.metric}: {verdict.status}: {verdict.detail}")
            )
    return Group(table, Text(), lines, Text(summary_line(verdicts, strict)))


def cells(verdict: Verdict) -> tuple[str, str, str, str, str]:
    """Return a verdict's configuration, metric, expected value, value and status."""
    metric = METRICS.get(verdict.metric)
    expected, now = (metric.shown(v) if metric else fmt.DASH for v in (verdict.expected, verdict.value))
    return str(verdict.key), verdict.metric, expected, now, str(verdict.status)


def summary_line(verdicts: Sequence[Verdict], strict: bool = False) -> str:
    """Return the answer: how many checks ended how, and the exit code."""
    counts = {status: sum(verdict.status is status for verdict in verdicts) for status in Status}
    shown = ", ".join(f"{count} {status}" for status, count in counts.items() if count) or "nothing checked"
    code = exit_code(verdicts, strict)
    return f"{'passed' if code == 0 else 'failed'}: {shown} (exit code {code})"


def _severity(verdict: Verdict) -> int:
    """Return the place of a verdict in the table."""
    order = [status for _, statuses in (*EXIT_CODES, *STRICT_EXIT_CODES) for status in sorted(statuses)]
    return order.index(verdict.status) if verdict.status in order else len(order)
