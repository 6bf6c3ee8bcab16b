"""`harness show`: prints tables of result documents."""

from pathlib import Path

import click


@click.command(name="show")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def command(files: tuple[Path, ...]) -> None:
    """Print the tables of result documents."""
    from rich.console import Console

    from results import store, tables

    console = Console()
    # All are read before the first is shown, so that a bad one is not found half-way down a screen.
    for path, document in [(path, store.read(path)) for path in files]:
        if len(files) > 1:
            console.print(f"\n{path}", style="bold", markup=False, highlight=False, soft_wrap=True)
        console.print(tables.document_view(document))
