"""From documents to what a terminal shows: the main table with its notes, and the tables of each verb.

Every function returns a rich renderable and prints nothing. The tables are made for 80 columns (and come in
parts on fewer), for no colour at all, and for a pipe: what colour says, a word says too.
"""

from collections.abc import Iterable, Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from results import curves
from results import format as fmt
from results.notes import notes_of
from results.parted import PartedTable
from results.schema import Document
from results.summary import Row, Setup, setup_title, summarize

OUTCOMES = {"out_of_memory": "out of memory", "error": "error", "invalid": "invalid"}


HEADS = ("step", "peak MiB\nmeasured", "peak MiB\nmodelled", "times\nsmaller", "energy\na step", "accuracy")


def new_table(*columns: str, naming: int = 1) -> Table:
    """Return an empty table of the house style: a rule under the head, first column left, figures right.

    On a terminal too narrow for its columns it comes in parts, each with the first `naming` columns: no figure is cut.
    """
    table = PartedTable(box=SIMPLE_HEAD)
    table.naming = naming
    table.show_edge = table.pad_edge = False
    # With the box's own divider this makes two spaces between columns: seven columns fit in 80.
    table.padding = (0, 0, 0, 1)
    for index, name in enumerate(columns):
        table.add_column(name, justify="right" if index else "left", no_wrap=index > 0, overflow="fold")
    return table


def add_row(table: Table, *cells: str, style: str = "") -> None:
    """Add a row of plain text: what a document holds is never markup."""
    table.add_row(*map(Text, cells), style=style)


def titled(title: str, table: Table) -> RenderableType:
    """Return a table under its title, with a blank line after it; the title may be wider than the table."""
    return Group(Text(title, style="bold"), table, Text())


def document_view(document: Document) -> RenderableType:
    """Return what `harness run` and `harness show` show: the machine, the tables, the notes."""
    return Group(machine_line(document), Text(), main_table(document), notes(document))


def machine_line(document: Document) -> Text:
    """Return where and when the document was measured, in one or two lines."""
    host = document.host
    libraries = [f"{name} {version}" for name, version in sorted(host.libraries.items())]
    facts = [
        host.cpu,
        fmt.counted(host.cores, "core"),
        fmt.size(host.memory_bytes),
        f"Python {host.python}",
        *libraries,
    ]
    version = f"edge-harness {document.harness.version}"
    return Text(f"{document.created:%Y-%m-%d %H:%M} UTC, {version}, on {', '.join(facts)}", style="dim")


def main_table(document: Document) -> RenderableType:
    """Return one table a setup (workload, engine, batch size, ...), one row a trainer."""
    groups = summarize(document)
    if not groups:
        return Text("The document holds no trial.")
    return Group(*(_setup_table(setup, rows) for setup, rows in groups.items()))


def notes(document: Document) -> RenderableType:
    """Return the lines below the table: what was measured how, and each distinct reason for a dash."""
    grid = Table.grid(padding=(0, 1))
    for note in notes_of(document):
        grid.add_row(Text("·"), Text(note))
    return grid


def _setup_table(setup: Setup, rows: Sequence[Row]) -> RenderableType:
    """Return the table of one setup; memory is the training peak, over what the libraries hold."""
    repeats = max(len(row.trials) for row in rows)
    table = new_table("trainer")
    table.columns[0].min_width = 15
    heads = (
        "step",
        "peak MiB\nmeasured",
        "peak MiB\nmodelled",
        "times\nsmaller",
        "energy\na step",
        "accuracy",
    )
    for name, width in zip(heads, (7, 8, 8, 7, 8, 8), strict=True):
        table.add_column(name, justify="right", min_width=width, no_wrap=True)
    for row in rows:
        add_row(table, _trainer_cell(row), *row_cells(row), style="" if row.outcome == "ok" else "red")
    shown = titled(setup_title(setup, repeats), table)
    found = curves.table(rows)
    return shown if found is None else Group(shown, _curves_table(*found))


def _curves_table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> RenderableType:
    """Return the table of accuracy while training."""
    table = new_table(*heads)
    table.columns[0].min_width = 15
    for line in lines:
        add_row(table, *line)
    return titled("accuracy while training", table)


def _trainer_cell(row: Row) -> str:
    """Return the trainer, and on a second line the outcome where not all of its trials are ok."""
    if not row.failed:
        return row.trainer
    if row.outcome == "ok":
        return f"{row.trainer}\n  {len(row.failed)} of {len(row.trials)} failed"
    return f"{row.trainer}\n  {OUTCOMES.get(row.outcome, row.outcome)}"


def row_cells(row: Row) -> tuple[str, ...]:
    """Return the figures of a row, a dash for each one that was not measured."""
    return (
        fmt.seconds(row.step.median if row.step else None),
        fmt.mib(row.training_peak_bytes),
        fmt.mib(row.modelled_bytes),
        fmt.ratio(row.memory_ratio),
        fmt.joules(row.energy_j_per_step, row.energy_uncertainty_j_per_step),
        fmt.percent(row.accuracy),
    )


def list_table(kind: str, rows: Iterable[Mapping[str, object]]) -> RenderableType:
    """Return the table of `harness list KIND`: one column a key of the first row, one row a mapping."""
    rows = list(rows)
    if not rows:
        return Text(f"There are no {kind}.")
    table = new_table()
    for index, name in enumerate(rows[0]):
        table.add_column(name.replace("_", " "), no_wrap=index == 0, overflow="fold")
    for row in rows:
        table.add_row(*(Text(_plain(row.get(name))) for name in rows[0]))  # not markup: a hint holds brackets
    return table


def _plain(value: object) -> str:
    """Return a cell for any listed value: sequences by commas, a dash for None."""
    if value is None or value == "":
        return fmt.DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(str, value)) or fmt.DASH
    return str(value)
