"""`harness model`: the analytic memory table; nothing is run."""

import click

from harness.commands.options import write_text


@click.command(name="model")
@click.argument("workload")
@click.option(
    "--trainer", "trainers", multiple=True, metavar="T", help="Repeatable; default: standard and lowmem."
)
@click.option("--batch-size", type=click.IntRange(min=1), metavar="N", help="Default: the workload's.")
@click.option(
    "--accumulate",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    help="Micro-batches of --batch-size an update.",
)
@click.option("--optimizer", default="adam", show_default=True, metavar="O", help="adam, sgd or bop.")
@click.option(
    "--convention",
    type=click.Choice(["honest", "paper", "paper-2021"]),
    default="honest",
    show_default=True,
    help="paper: count as Wang et al. did; paper-2021: as their earlier version, without masks.",
)
@click.option("--by-layer", is_flag=True, help="One row a variable and layer.")
@click.option("--json", "json_path", metavar="FILE", help="Write the document; - is standard output.")
def command(
    workload: str,
    trainers: tuple[str, ...],
    batch_size: int | None,
    accumulate: int,
    optimizer: str,
    convention: str,
    by_layer: bool,
    json_path: str | None,
) -> None:
    """Print what the variables of each trainer take, in MiB."""
    from harness import modelling, output

    document = modelling.model(
        workload, trainers, batch_size, optimizer, convention, by_layer=by_layer, accumulate=accumulate
    )
    if json_path:
        write_text(output.json_text(document), json_path)
        return
    from rich.console import Console

    from results.model_table import model_view

    Console().print(model_view(document, by_layer))
