"""`harness compare`: what changed from one document to another, pair by pair."""

from pathlib import Path

import click


@click.command(name="compare")
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
def command(before: Path, after: Path) -> None:
    """Print the ratios AFTER ÷ BEFORE with their 95 % intervals and a verdict in words.

    Documents of different machines or configurations are refused (exit code 5).
    """
    from rich.console import Console

    from results import compare, store

    comparison = compare.compare(store.read(before), store.read(after))
    Console().print(compare.comparison_view(comparison, str(before), str(after)))
