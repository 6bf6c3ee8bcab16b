"""`harness doctor`: every engine, meter, pin and limit: works, or why not and the command that mends it."""

from typing import TYPE_CHECKING, Any

import click

from harness.commands.options import write_text
from harness.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.doctor import Finding


@click.command(name="doctor")
@click.option("--json", "json_path", metavar="FILE", help="Write the document; - is standard output.")
@click.option(
    "--fix", is_flag=True, help="Print only what would mend things, as lines for a shell; none is run."
)
@click.option("--all", "everything", is_flag=True, help="Every finding in full, with what mends it.")
def command(json_path: str | None, fix: bool, everything: bool) -> None:
    """Say what works on this machine, and what mends the rest. Nothing is changed."""
    if json_path and fix:
        raise UsageError("--json and --fix exclude each other; give one of them")
    from rich.console import Console

    from harness import doctor, output
    from results import format as fmt
    from results.doctor_table import doctor_table, screen

    examination = doctor.examine()
    if json_path:
        write_text(output.json_text(examination), json_path)
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
    if everything:
        for title, findings in doctor.kinds(examination).items():
            console.print(doctor_table(title, _rows(findings)))
        return
    found = doctor.summary(examination)
    works = {kind: _rows(findings) for kind, findings in found.works.items()}
    console.print(screen(works, _rows(found.mendable), found.places, found.absent))


def _rows(findings: "Sequence[Finding]") -> list[dict[str, Any]]:
    import msgspec

    return [msgspec.structs.asdict(each) for each in findings]
