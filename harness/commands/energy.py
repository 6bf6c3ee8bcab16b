"""`harness energy`: energy of meters that record by themselves, and what reading a meter costs."""

from pathlib import Path

import click

_FILE = click.Path(path_type=Path)


@click.group(name="energy")
def command() -> None:
    """Bring in the energy of meters that record by themselves; measure what reading one costs."""


@command.command(name="import", short_help="Cut a meter's own recording to the windows of a run.")
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
    "--json",
    "json_path",
    metavar="FILE",
    help="Where the document goes; default: RUN; - is standard output alone.",
)
def import_(trace: Path, run: Path, meter: str, gain_limit: float | None, json_path: str | None) -> None:
    """Cut TRACE, a CSV of time and power by a meter's own clock, to the windows of RUN, a result document.

    RUN was made with `harness run --synchronise` while the meter recorded: the pattern of load at both ends of it tells
    the offset and the drift of the two clocks.
    """
    from rich.console import Console

    from harness import output, synchronisation
    from harness.errors import UsageError
    from results import store, tables
    from results.files import cause_of

    output.require_apart({"--json": json_path}, read=[trace])
    document = store.read(run)
    try:
        joined = synchronisation.bring_in(document, trace, meter=meter, gain_limit=gain_limit)
    except OSError as error:
        raise UsageError(
            f"the trace '{trace}' cannot be read: {cause_of(error, trace)}; "
            "name the CSV that the meter's program exported"
        ) from error
    target = json_path or str(run)
    apart = output.is_standard_output(target)
    if apart:
        output.write(store.dumps(document), target)
    else:
        store.write(document, Path(target))
    console = output.error_console() if apart else Console()
    console.print(tables.document_view(document))
    place = "standard output" if apart else target
    output.say(console, f"{trace.name}: {joined}; document: {place}")


@command.command(short_help="Measure what reading a meter costs this machine.")
@click.option(
    "--meter",
    "meters",
    multiple=True,
    metavar="M",
    help="Which meter; default: this machine's own. Repeatable.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0.1, 3600.0),
    default=10.0,
    show_default=True,
    help="How long a meter is read; once more as long for what that adds to the power.",
)
@click.option(
    "--rate", "rate_hz", type=click.FloatRange(0.01, 1000.0), metavar="HZ", help="Default: as in a run."
)
@click.option("--json", "json_path", metavar="FILE", help="Write the document; - is standard output.")
def overhead(meters: tuple[str, ...], seconds: float, rate_hz: float | None, json_path: str | None) -> None:
    """Measure what reading a meter costs this machine: CPU time, and power where the meter can tell.

    Leave the machine alone meanwhile: what else runs is in the power, too.
    """
    from rich.console import Console

    from harness import folders, output, reading_cost

    if json_path:
        folders.try_target(json_path)
    errors = output.error_console()
    costs = reading_cost.measure(meters, seconds, rate_hz, lambda text: output.say(errors, text))
    if json_path:
        output.write_or_keep(output.json_text(costs), json_path, "overhead.json")
        return
    Console().print(reading_cost.table(costs))
