"""`harness history`: trends and change points over a folder of documents."""

from pathlib import Path

import click


@click.command(name="history")
@click.argument("folder", default="runs", type=click.Path(path_type=Path))
@click.option("--metric", metavar="M", help="One metric only, as training_peak_bytes.")
@click.option("--workload", metavar="W", help="One workload only.")
@click.option(
    "--database",
    type=click.Path(path_type=Path),
    metavar="F",
    help="Cache of what was read; default: history.sqlite3 in the folder; :memory: keeps none.",
)
def command(folder: Path, metric: str | None, workload: str | None, database: Path | None) -> None:
    """Print how each metric moved over the documents in FOLDER (default: ./runs), and since when.

    Files that are no documents are named and skipped.
    """
    from rich.console import Console

    from harness import listing
    from results.history import History
    from results.history_table import history_view, nothing_found

    listing.require_metric(metric)
    with History(folder, database) as history:
        report = history.load()
        trends = history.trends(metric, workload)
        every = trends or history.trends()
    # A document may be of a workload that this program has no longer.
    listing.require_workload(workload, (trend.key.workload for trend in every))
    Console().print(history_view(trends, report))
    if not trends:
        click.echo(f"harness: {nothing_found(folder, every, metric, workload)}", err=True)
