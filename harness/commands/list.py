"""`harness list`: workloads, trainers, devices, meters, datasets, engines."""

import json
from typing import Any

import click

from harness.commands.options import write_text
from harness.errors import UsageError

_WHAT = ("workloads", "trainers", "devices", "meters", "datasets", "engines", "optimizers")


@click.command(name="list")
@click.argument("what", type=click.Choice(_WHAT), metavar="WHAT", required=False)
@click.option(
    "--json", "json_path", is_flag=False, flag_value="-", metavar="FILE", help="As JSON; to FILE if named."
)
def command(what: str | None, json_path: str | None) -> None:
    """List what there is of WHAT: workloads, trainers, devices, meters, datasets, engines or optimizers."""
    if what is None:
        # In `list --json meters` the option takes the word for its FILE.
        if json_path not in _WHAT:
            raise UsageError(f"say what to list: {', '.join(_WHAT)}")
        what, json_path = json_path, "-"
    rows = _rows(what)
    if json_path:
        write_text(json.dumps(rows, indent=2), json_path)
        return
    from rich.console import Console

    from results import tables

    Console().print(tables.list_table(what, rows))


def _rows(what: str) -> list[dict[str, Any]]:
    """Return one dictionary a row, with the same keys in every row."""
    from harness import listing

    rows: list[dict[str, Any]] = getattr(listing, what)()
    return rows
