"""`harness report`: one self-contained page of documents, with figures; nothing is fetched when it is opened.

The page carries plotly's script (4.8 MB of it) and forbids itself every connection by its own content
security policy. Without a script the tables, notes and facts are still there.
"""

import html
import importlib
import json
from collections.abc import Iterable, Sequence
from importlib import resources

from results import curves
from results import format as fmt
from results.errors import ReportError
from results.fingerprint import machine_facts, shown, software_facts
from results.model_table import MEANINGS
from results.notes import notes_of
from results.reports import figures as fig
from results.reports.again import commands
from results.reports.paper import ACCURACY
from results.schema import VARIABLES, Document
from results.summary import Row, Setup, setup_title, summarize
from results.tables import HEADS, machine_line, row_cells

MAX_BYTES = 6_000_000

_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"


def report_html(documents: Sequence[tuple[str, Document]], title: str = "What training costs here") -> str:
    """Return the page of documents, each given with the name that it is shown under.

    Raises:
        ReportError: plotly is not installed (the `report` extra).
    """
    page = _Page()
    body = "\n".join(_document(page, name, document) for name, document in documents)
    # In a script element only "</" and "<!--" end or change the text; escaped, JSON means the same.
    data = json.dumps(page.figures).replace("<", "\\u003c")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<link rel="icon" href="data:,">
<title>{_text(title)}</title>
<style>{_resource("page.css")}</style>
</head>
<body>
<main>
<h1>{_text(title)}</h1>
{body}
</main>
<script type="application/json" id="figures">{data}</script>
<script>{_plotly()}</script>
<script>{_resource("page.js")}</script>
</body>
</html>
"""


class _Page:
    """The figures of a page, numbered in the order in which they stand."""

    def __init__(self) -> None:
        self.figures: list[fig.Figure] = []

    def figure(self, caption: str, figure: fig.Figure | None) -> str:
        """Return the place of a figure with its caption, nothing where there is no figure."""
        if figure is None:
            return ""
        name = f"figure-{len(self.figures) + 1}"
        self.figures.append({"id": name, "data": figure["data"], "layout": figure["layout"]})
        legend = "".join(
            f'<li><i style="background:{colour}"></i>{_text(label)}</li>'
            for label, colour in figure.get("legend", ())
        )
        return (
            (f'<figure><ul class="legend">{legend}</ul>' if legend else "<figure>")
            + f'<div class="plot" id="{name}" role="img" aria-label="{_text(caption)}"></div>'
            f"<figcaption>{_text(caption)}</figcaption></figure>"
        )


def _document(page: _Page, name: str, document: Document) -> str:
    """Return one document: its tables and figures a setup, its traces, and where it comes from."""
    groups = summarize(document)
    parts = [f"<h2>{_text(name)}</h2>", f'<p class="soft">{_text(machine_line(document).plain)}</p>']
    parts += [_setup(page, setup, rows) for setup, rows in groups.items()]
    if not groups:
        parts.append("<p>The document holds no trial.</p>")
    parts.append("<ul>" + "".join(f"<li>{_text(note)}</li>" for note in notes_of(document)) + "</ul>")
    for heading, traces in (
        ("Memory over time", fig.memory_trace_figures(document)),
        ("Power over time", fig.power_trace_figures(document)),
    ):
        parts += [f"<h3>{heading}</h3>"] if traces else []
        parts += [page.figure(caption, figure) for caption, figure in traces]
    parts += ["<h3>The machine</h3>", _facts(document), "<h3>To measure it again</h3>"]
    parts.append(f"<pre>{_text(chr(10).join(commands(document)))}</pre>")
    return "\n".join(parts)


def _setup(page: _Page, setup: Setup, rows: Sequence[Row]) -> str:
    """Return the table and figures of one setup."""
    repeats = max(len(row.trials) for row in rows)
    paper = ACCURACY.get(setup.workload)
    claimed = (
        f" The paper's low-memory trainer reaches {fmt.percent(paper, 2)}, fully trained." if paper else ""
    )
    accuracy = fig.accuracy_figure(rows)
    figures = (
        (
            "Memory by variable: measured over the libraries, by our model, and by the paper's.",
            fig.memory_figure(setup, rows),
        ),
        ("Time of a step: median, quartiles, range, outliers; all finished repeats.", fig.time_figure(rows)),
        (f"Training loss, a line a repeat.{'' if accuracy else claimed}", fig.loss_figure(rows)),
        (f"Test accuracy while training, a line a repeat.{claimed}", accuracy),
    )
    return "\n".join(
        [
            f"<h3>{_text(setup_title(setup, repeats))}</h3>",
            _main_table(rows),
            *(page.figure(caption, figure) for caption, figure in figures),
            _accuracies(rows),
            _variables(setup, rows),
        ]
    )


def _main_table(rows: Sequence[Row]) -> str:
    """Return the main table, as the terminal shows it."""
    heads = ["trainer", *HEADS]
    body = [
        (
            _text(row.trainer)
            + (f"<br>{_text(row.outcome.replace('_', ' '))}" if row.outcome != "ok" else ""),
            row,
        )
        for row in rows
    ]
    lines = [
        f"<tr{'' if row.outcome == 'ok' else CLASS_FAILED}><td>{name}</td>{_cells(row_cells(row))}</tr>"
        for name, row in body
    ]
    return _table(heads, lines)


CLASS_FAILED = ' class="failed"'


def _accuracies(rows: Sequence[Row]) -> str:
    """Return the accuracy curves as a table, folded away; nothing where none was measured."""
    found = curves.table(rows)
    if found is None:
        return ""
    heads, lines = found
    body = [f"<tr>{_cells(line)}</tr>" for line in lines]
    return f"<details><summary>Test accuracy by epoch as a table</summary>{_table(heads, body)}</details>"


def _variables(setup: Setup, rows: Sequence[Row]) -> str:
    """Return the figures of the memory figure as a table, folded away."""
    columns = [
        (f"{row.trainer} {kind}", parts)
        for row in rows
        for kind, parts in fig.memory_bars(setup, row)
        if parts
    ]
    names = [name for name in (*VARIABLES, fig.REST) if any(parts.get(name) for _, parts in columns)]
    if not names:
        return ""
    lines = []
    for name in names:
        meaning = f'<td>{_text(name)} <span class="soft">{_text(MEANINGS.get(name, ""))}</span></td>'
        lines.append(f"<tr>{meaning}{_cells(fmt.mib(parts.get(name)) for _, parts in columns)}</tr>")
    totals = _cells(fmt.mib(sum(parts.values())) for _, parts in columns)
    lines.append(f"<tr><td>total</td>{totals}</tr>")
    heads = ["MiB", *(head for head, _ in columns)]
    return f"<details><summary>Memory by variable as a table</summary>{_table(heads, lines)}</details>"


def _facts(document: Document) -> str:
    """Return the machine and software as a list of terms, with why something is unknown."""
    facts = {**machine_facts(document), **software_facts(document)}
    rows = [(name.removesuffix("_bytes"), shown(name, value)) for name, value in facts.items()]
    rows += [(name, f"unknown: {reason}") for name, reason in document.host.reasons.items()]
    return "<dl>" + "".join(f"<dt>{_text(n)}</dt><dd>{_text(v)}</dd>" for n, v in rows) + "</dl>"


def _table(heads: Iterable[str], lines: Iterable[str]) -> str:
    """Return a table that scrolls on its own where the page is narrow."""
    head = "".join(f"<th>{_text(name)}</th>" for name in heads)
    table = f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody>"
    return f'<div class="wide"><table>{table}</table></div>'


def _cells(texts: Iterable[str]) -> str:
    return "".join(f"<td>{_text(text)}</td>" for text in texts)


def _text(text: str) -> str:
    """Return text as HTML: nothing that a document holds becomes markup."""
    return html.escape(text).replace("\n", "<br>")


def _resource(name: str) -> str:
    """Return a file that stands beside this one."""
    return resources.files("results.reports").joinpath(name).read_text(encoding="utf-8")


def _plotly() -> str:
    """Return plotly's script."""
    try:
        plotly = importlib.import_module("plotly.offline")
    except ImportError:
        raise ReportError("the page needs plotly; install it: pip install 'edge-harness[report]'") from None
    return str(plotly.get_plotlyjs())
