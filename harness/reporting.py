"""`harness report`: documents as a page, Markdown, CSV or charts of characters."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from results import store
from results.charts import charts_view
from results.files import shown
from results.reports.csv import documents_csv
from results.reports.html import report_html
from results.reports.markdown import document_markdown
from results.schema import Document

Named = Sequence[tuple[str, Document]]


def _markdown(documents: Named) -> str:
    return "\n".join(f"# {name}\n\n{document_markdown(document)}" for name, document in documents)


def _csv(documents: Named) -> str:
    return documents_csv(document for _, document in documents)


def _terminal(documents: Named) -> str:
    text = io.StringIO()
    console = Console(file=text, width=80)
    for name, document in documents:
        console.print(f"{name}\n", markup=False, highlight=False)
        console.print(charts_view(document))
    return text.getvalue()


FORMATS: dict[str, Callable[[Named], str]] = {
    "html": report_html,
    "markdown": _markdown,
    "csv": _csv,
    "terminal": _terminal,
}


def render(files: Sequence[Path], format_name: str) -> str:
    """Return the report of the documents in that format; a document is shown under its file's name.

    Raises ReportError where the format needs a library that is not installed.
    """
    return FORMATS[format_name]([(shown(file.stem), store.read(file)) for file in files])
