"""`harness energy`: energy of meters that record by themselves."""

from pathlib import Path

import click

_FILE = click.Path(path_type=Path)


@click.group(name="energy")
def command() -> None:
    """Bring in the energy of meters that record by themselves."""


@command.command(name="import")
@click.argument("trace", type=_FILE)
@click.argument("run", type=_FILE)
@click.option(
    "--meter", default="trace", show_default=True, metavar="M", help="What the rows are to be called."
)
@click.option(
    "--gain-limit",
    type=click.FloatRange(0.0, 1.0),
    default=None,
    metavar="G",
    help="The meter's relative error limit by its data sheet, as 0.005; without it the rows say so.",
)
@click.option(
    "--json", "json_path", type=_FILE, metavar="FILE", help="Where the document goes; default: RUN."
)
def import_(trace: Path, run: Path, meter: str, gain_limit: float | None, json_path: Path | None) -> None:
    """Cut TRACE, a CSV of time and power by a meter's own clock, to the windows of RUN, a result document.

    RUN was made with `harness run --synchronise` while the meter recorded: the pattern of load at both ends of it tells
    the offset and the drift of the two clocks.
    """
    from rich.console import Console

    from harness import synchronisation
    from harness.errors import UsageError
    from results import store, tables

    document = store.read(run)
    try:
        joined = synchronisation.bring_in(document, trace, meter=meter, gain_limit=gain_limit)
    except OSError as error:
        raise UsageError(f"the trace cannot be read: {error}") from error
    store.write(document, json_path or run)
    console = Console()
    console.print(tables.document_view(document))
    console.print(f"{trace.name}: {joined}; document: {json_path or run}", soft_wrap=True, highlight=False)
