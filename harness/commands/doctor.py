"""`harness doctor`: every engine, meter, pin and limit: works, or why not and the command that mends it."""

import click

from harness.commands.options import write_text
from harness.errors import UsageError


@click.command(name="doctor")
@click.option("--json", "json_path", metavar="FILE", help="Write the document; - is standard output.")
@click.option(
    "--fix", is_flag=True, help="Print only what would mend things, as lines for a shell; none is run."
)
def command(json_path: str | None, fix: bool) -> None:
    """Say what works on this machine, and what mends the rest. Nothing is changed."""
    if json_path and fix:
        raise UsageError("--json and --fix exclude each other; give one of them")
    import msgspec
    from rich.console import Console

    from harness import doctor
    from results import format as fmt
    from results import tables

    examination = doctor.examine()
    if json_path:
        write_text(msgspec.json.format(msgspec.json.encode(examination), indent=2).decode(), json_path)
        return
    if fix:
        for line in doctor.commands(examination):
            click.echo(line)
        return
    console = Console()
    machine = examination.machine
    quiet = "quiet" if machine.quiet else "; ".join(machine.notes)
    name = machine.device or machine.host.cpu
    console.print(
        f"{name}, {fmt.counted(machine.host.cores, 'processor')}: {quiet}\n", markup=False, highlight=False
    )
    for title, findings in (
        ("engines", examination.engines),
        ("workers", examination.workers),
        ("samplers", examination.samplers),
        ("meters", examination.meters),
        ("pins", examination.pins),
        ("limits", examination.limits),
    ):
        console.print(tables.doctor_table(title, [msgspec.structs.asdict(each) for each in findings]))
