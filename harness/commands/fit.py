"""`harness fit`: the largest batch size that fits a device's memory, verified by runs under the enforced ceiling."""

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from harness.commands.options import DATA_DIR, SIZE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from results.fit_document import FitDocument


@click.command(name="fit")
@click.argument("workload")
@click.option(
    "--device",
    required=True,
    metavar="D",
    help="auto, pi, pi-zero2w, pi3b+, pi4, pi5 or host; emulated if another.",
)
@click.option(
    "--trainer", "trainers", multiple=True, metavar="T", help="Repeatable; default: standard and lowmem."
)
@click.option("--engine", metavar="E", help="torch or native; default: the first that can.")
@click.option("--worker", metavar="W", help="python, or program: harness-train.  [default: python]")
@click.option(
    "--accumulate", type=int, metavar="N", help="Micro-batches an update; the answer is one of them."
)
@click.option("--optimizer", metavar="O", help="adam, sgd or bop.  [default: adam]")
@click.option(
    "--ceiling", "ceiling_bytes", type=SIZE, metavar="SIZE", help="Memory to fit, not the device's own."
)
@click.option(
    "--reserve",
    "reserve_bytes",
    type=SIZE,
    metavar="SIZE",
    help="Leave so much of it to the system.  [default: 0]",
)
@click.option("--mechanism", metavar="M", help="What enforces it: auto, cgroup-v2, cgroup-v1 or watchdog.")
@click.option(
    "--resolution", type=int, metavar="N", help="Answer to within N items; default: 2 % of the prediction."
)
@click.option(
    "--steps", type=int, metavar="N", help="Measured steps a run, after one of warming up.  [default: 2]"
)
@click.option("--threads", type=int, metavar="N", help="Threads a worker; default: all processors.")
@click.option(
    "--meter", "meters", multiple=True, metavar="M", help="Measure energy too, at the answer; repeatable."
)
@click.option(
    "--idle",
    "idle_s",
    type=float,
    metavar="S",
    help="Idle reading a side.  [default: 10, more for a slow meter]",
)
@click.option(
    "--data-dir", type=DATA_DIR, envvar="HARNESS_DATA", metavar="DIR", help="Data folder (or HARNESS_DATA)."
)
@click.option("--synthetic", is_flag=True, default=None, help="Noise in the data's shape; needs no data.")
@click.option("--json", "json_path", metavar="FILE", help="Write the document; - is standard output alone.")
@click.option("--quiet", is_flag=True, help="No line a run.")
def command(json_path: str | None, quiet: bool, **given: Any) -> int:
    """Find the largest batch size with which WORKLOAD trains in a device's memory.

    Where this machine is another, the device's memory and cores are emulated under an enforced ceiling. Exit code 3
    says that none of the trainers fits at any batch size.
    """
    from harness import fit, folders, output
    from harness.errors import ExitCode

    errors = output.error_console()
    say = (lambda line: None) if quiet else (lambda line: output.say(errors, line))
    question = fit.question(**{name: value for name, value in given.items() if value not in (None, ())})
    if json_path:  # an error now, not after every search
        folders.try_target(json_path)
    with _shown(json_path) as keep:
        document = fit.answer(question, say, keep)
    fits = any(each.batch_size is not None for each in document.trainers)
    return int(ExitCode.OK if fits else ExitCode.OUT_OF_MEMORY)


@contextmanager
def _shown(json_path: str | None) -> "Iterator[Callable[[FitDocument], None]]":
    """Yield what keeps the answer so far, which is printed at the end, and then written.

    An error or Ctrl-C takes nothing with it: the trainers before it are shown, then it is raised.
    """
    from rich.console import Console

    from harness import output
    from results.fit_table import fit_view

    kept: list[FitDocument] = []
    try:
        yield kept.append
    finally:
        if kept:
            apart = output.is_standard_output(json_path)
            (output.error_console() if apart else Console()).print(fit_view(kept[-1]))
            if json_path:
                output.write_or_keep(output.json_text(kept[-1]), json_path, "fit.json")
