"""Markdown of documents and gates: for a review comment, a README, an issue."""

from collections.abc import Iterable, Sequence

from results import curves
from results import format as fmt
from results.gate import Status, Verdict
from results.gate_table import cells, summary_line
from results.notes import notes_of
from results.schema import Document
from results.summary import Row, setup_title, summarize
from results.tables import HEADS, machine_line, row_cells

_MARKS = str.maketrans({"|": "\\|", "\n": " ", "<": "&lt;", "`": "\\`", "*": "\\*", "_": "\\_"})


def document_markdown(document: Document) -> str:
    """Return the tables of a document with their notes, as the terminal shows them."""
    lines = [machine_line(document).plain, ""]
    for setup, rows in summarize(document).items():
        lines += [f"**{_escaped(setup_title(setup, max(len(row.trials) for row in rows)))}**", ""]
        heads = [head.replace("\n", " ") for head in HEADS]
        lines += _table(["trainer", *heads], [_row(row) for row in rows])
        lines.append("")
        lines += _curves(rows)
    lines += [f"- {_escaped(note)}" for note in notes_of(document)]
    return "\n".join(lines).rstrip() + "\n"


def _curves(rows: Sequence[Row]) -> list[str]:
    """Return the table of accuracy while training with its title; nothing where none was measured."""
    found = curves.table(rows)
    return [] if found is None else ["Test accuracy while training:", "", *_table(*found), ""]


def gate_markdown(verdicts: Sequence[Verdict], strict: bool = False) -> str:
    """Return what was checked, with a line for each check that did not pass."""
    rows = [list(cells(verdict)) for verdict in verdicts]
    lines = [f"**{_escaped(summary_line(verdicts, strict))}**", ""]
    lines += _table(["configuration", "metric", "expected", "now", "verdict"], rows, left=(0, 1, 4))
    lines.append("")
    lines += [
        f"- {_escaped(f'{verdict.key}, {verdict.metric}: {verdict.status}: {verdict.detail}')}"
        for verdict in verdicts
        if verdict.status is not Status.OK
    ]
    return "\n".join(lines).rstrip() + "\n"


def _row(row: Row) -> list[str]:
    """Return a trainer's cells; what did not finish says so beside the name."""
    name = row.trainer if not row.failed else f"{row.trainer} ({len(row.failed)} of {len(row.trials)} failed)"
    return [name, *row_cells(row)]


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], left: Sequence[int] = (0,)) -> list[str]:
    """Return the lines of a table; figures are set right."""
    rule = [":--" if index in left else "--:" for index in range(len(heads))]
    body = ([_escaped(cell) for cell in row] for row in rows)
    return [f"| {' | '.join(row)} |" for row in ([_escaped(head) for head in heads], rule, *body)]


def _escaped(text: str) -> str:
    """Return text that Markdown takes literally; an empty cell is a dash."""
    return text.translate(_MARKS) or fmt.DASH
