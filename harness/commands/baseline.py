"""`harness baseline`: write and show the baselines that `harness check` holds runs to."""

from pathlib import Path

import click

_BASELINE = click.option(
    "--baseline",
    type=click.Path(path_type=Path),
    metavar="F",
    help="Baseline file; default: baselines/<device>.toml.",
)


@click.group(name="baseline")
def command() -> None:
    """Write and show baselines: what was promised, and what was reached."""


@command.command(name="update")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--reason", required=True, metavar="TEXT", help="Why these figures are right; kept in the file."
)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="M",
    help="Record this one only, as training_peak_bytes; repeatable. Few steps show memory, not time or accuracy.",
)
@_BASELINE
def update(files: tuple[Path, ...], reason: str, metrics: tuple[str, ...], baseline: Path | None) -> None:
    """Record what the documents measured; promises and comments stay.

    Refused: failed or throttled trials, fewer than three repeats, too wide a spread.
    """
    from rich.console import Console
    from rich.text import Text

    from harness import gating
    from results.baselines_table import changes_view

    path, changes = gating.update(files, baseline, reason, metrics)
    console = Console()
    console.print(changes_view(changes))
    console.print(Text(f"written: {path}"), soft_wrap=True)


@command.command(name="show")
@_BASELINE
def show(baseline: Path | None) -> None:
    """Print the baselines of one file, or of all in ./baselines."""
    from rich.console import Console
    from rich.text import Text

    from harness import gating
    from results.baselines_table import baselines_view

    console = Console()
    for path, file in gating.show(baseline):
        console.print(Text(str(path), style="bold"), soft_wrap=True)
        console.print(baselines_view(file))
