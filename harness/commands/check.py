"""`harness check`: the gate; its exit code is the verdict."""

from pathlib import Path

import click

from harness.commands.options import write_text


@click.command(name="check")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--baseline",
    type=click.Path(path_type=Path),
    metavar="F",
    help="Baseline file; default: baselines/<device>.toml.",
)
@click.option("--strict", is_flag=True, help="What improved beyond tolerance, or did not run, fails too.")
@click.option("--junit", metavar="F", help="Write JUnit XML; - is standard output.")
@click.option("--markdown", metavar="F", help="Write Markdown; - is standard output.")
def command(
    files: tuple[Path, ...], baseline: Path | None, strict: bool, junit: str | None, markdown: str | None
) -> int:
    """Hold result documents to their ceilings and baselines.

    \b
    Exit codes: 0 passed, 3 ceiling broken or out of memory, 4 regressed, 5 no baseline or
    not comparable, 6 invalid run, 7 improved (with --strict), 1 a trial failed.
    """
    from rich.console import Console
    from rich.text import Text

    from harness import gating
    from results.gate import exit_code
    from results.gate_table import gate_view
    from results.reports.junit import junit_xml
    from results.reports.markdown import gate_markdown

    verdicts, notes = gating.check(files, baseline)
    if junit:
        write_text(junit_xml(verdicts, strict), junit)
    if markdown:
        write_text(gate_markdown(verdicts, strict), markdown)
    console = Console(stderr="-" in (junit, markdown))
    console.print(gate_view(verdicts, strict))
    for note in notes:
        console.print(Text(note, style="dim"), soft_wrap=True)
    return exit_code(verdicts, strict)
