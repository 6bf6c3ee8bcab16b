"""`harness report`: one self-contained page of documents, or Markdown, or CSV."""

from pathlib import Path

import click

from harness.commands.options import write_text
from harness.errors import UsageError

_FORMATS = ("html", "markdown", "csv", "terminal")


@click.command(name="report")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", metavar="F", help="Where it goes; - is standard output.")
@click.option(
    "--format", "format_name", type=click.Choice(_FORMATS), default="html", show_default=True, help="As what."
)
def command(files: tuple[Path, ...], output: str | None, format_name: str) -> None:
    """Write result documents as one page with figures (no network when opened), as Markdown, CSV or text charts.

    All but the page go to standard output unless -o names a file.
    """
    if output is None and format_name == "html":
        raise UsageError("the page needs a place: -o report.html (or -o - for standard output)")
    from harness import reporting
    from harness.output import require_apart

    require_apart({"-o": output}, read=files)
    write_text(reporting.render(files, format_name), output or "-")
