"""`harness check`: the gate; its exit code is the verdict."""

from pathlib import Path

import click

from harness.commands.options import write_text
from harness.errors import ExitCode


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

    Exit codes: 0 passed, 1 a trial failed, 3 ceiling broken or out of memory, 4 regressed, 5 no baseline or not
    comparable, 6 invalid run, 7 improved (with --strict).
    """
    from rich.console import Console
    from rich.text import Text

    from harness import gating, output
    from results.gate import exit_code
    from results.gate_table import gate_view
    from results.reports.junit import junit_xml
    from results.reports.markdown import gate_markdown

    output.require_apart({"--junit": junit, "--markdown": markdown}, read=files)
    verdicts, notes = gating.check(files, baseline)
    console = Console(stderr=any(map(output.is_standard_output, (junit, markdown))))
    console.print(gate_view(verdicts, strict))
    for note in notes:
        console.print(Text(note, style="dim"), soft_wrap=True)
    # The verdict is out before anything is written: a file that cannot be must neither hide it nor pass for it.
    verdict = exit_code(verdicts, strict)
    written = [
        _write(render(verdicts, strict), target)
        for render, target in ((junit_xml, junit), (gate_markdown, markdown))
        if target
    ]
    return verdict or (ExitCode.OK if all(written) else ExitCode.ERROR)


def _write(text: str, target: str) -> bool:
    """Write one output; say why it cannot be written and return False, so that the others still are."""
    from results.errors import DocumentWriteError

    try:
        write_text(text, target)
    except DocumentWriteError as error:
        click.echo(f"harness: error: {error}", err=True)
        return False
    return True
