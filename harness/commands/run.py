"""`harness run`: measures trials and prints a table."""

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.commands.options import DATA_DIR, SIZE
from harness.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from harness.sink import Sink, Stream


@click.command(name="run")
@click.option("--device", default="auto", metavar="D", help="auto, pi, pi-zero2w, pi3b+, pi4, pi5 or host.")
@click.option("--emulate", is_flag=True, help="Apply the device's memory ceiling and cores on this machine.")
@click.option("--workload", "workloads", multiple=True, metavar="W", help="Repeatable; default: mlp-mnist.")
@click.option(
    "--trainer", "trainers", multiple=True, metavar="T", help="Repeatable; default: standard and lowmem."
)
@click.option("--engine", metavar="E", help="torch or native; default: the first that can.")
@click.option("--accelerator", metavar="A", help="cpu, cuda or cuda:N (engine torch); default: cpu.")
@click.option(
    "--worker", default="python", show_default=True, metavar="W", help="python, or program: harness-train."
)
@click.option("--optimizer", default="adam", show_default=True, metavar="O", help="adam, sgd or bop.")
@click.option("--batch-size", type=int, metavar="N", help="Items a step; default: the workload's.")
@click.option(
    "--accumulate", type=int, default=1, metavar="N", help="Micro-batches of --batch-size an update."
)
@click.option("--steps", type=int, metavar="N", help="Measured steps a trial.")
@click.option("--epochs", type=int, metavar="N", help="Epochs a trial; default: the workload's.")
@click.option(
    "--warmup", type=int, default=10, show_default=True, metavar="N", help="Steps before the measured ones."
)
@click.option(
    "--repeats", type=int, default=2, show_default=True, metavar="N", help="Fresh trials of each pair."
)
@click.option(
    "--meter",
    "meters",
    multiple=True,
    metavar="M",
    help="A meter, or none; repeatable; default: the first that works.",
)
@click.option(
    "--idle",
    "idle_s",
    type=float,
    metavar="S",
    help="Idle reading a side.  [default: 10, more for a slow meter]",
)
@click.option(
    "--energy-phases",
    is_flag=True,
    help="Repeat forward, backward and update after each trial, for the meters.",
)
@click.option(
    "--synchronise", is_flag=True, help="Play a pattern of load at both ends, for `harness energy import`."
)
@click.option(
    "--captures",
    "captures_dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Keep what each meter read over the run there, for --meter replay:FILE.",
)
@click.option("--trigger-pin", type=int, metavar="N", help="GPIO that is high in the measured window.")
@click.option("--trigger-active-low", is_flag=True, help="The pin is low in the window, and high outside.")
@click.option(
    "--ceiling",
    "ceiling_bytes",
    type=SIZE,
    metavar="SIZE",
    help="Memory a worker may use, as 512MiB; default: the emulated device's.",
)
@click.option(
    "--mechanism", default="auto", metavar="M", help="What enforces it: cgroup-v2, cgroup-v1 or watchdog."
)
@click.option("--threads", type=int, metavar="N", help="Threads a worker; default: all processors.")
@click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="Seed of the first repeat.")
@click.option(
    "--data-dir", type=DATA_DIR, envvar="HARNESS_DATA", metavar="DIR", help="Data folder (or HARNESS_DATA)."
)
@click.option("--synthetic", is_flag=True, help="Noise in the data's shape: costs are real, accuracy is not.")
@click.option("--test-items", type=int, metavar="N", help="Evaluate on the first N test items; default: all.")
@click.option(
    "--allocator",
    type=click.Choice(["stock", "pinned"]),
    default="stock",
    show_default=True,
    help="pinned: repeatable peaks, for gates.",
)
@click.option(
    "--setting",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="learning_rate, schedule, augmentation, statistics, gradient_scale, ste_mask or border; repeatable.",
)
@click.option(
    "--checkpoint",
    type=DATA_DIR,
    metavar="FOLDER",
    help="Keep each training there, so that it can be resumed.",
)
@click.option("--checkpoint-every", type=int, metavar="STEPS", help="How often; default: 100 steps.")
@click.option("--resume", is_flag=True, help="Continue what --checkpoint holds; begin what it does not.")
@click.option(
    "--evaluate-every",
    type=int,
    metavar="N",
    help="Evaluate every N epochs (with --steps: every N measured steps), for an accuracy curve.",
)
@click.option(
    "--timeout",
    "silence_s",
    type=float,
    default=900.0,
    show_default=True,
    metavar="S",
    help="End a worker silent for so long.",
)
@click.option(
    "--plans",
    "plans_dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write the plans that harness-train runs without Python, and run nothing.",
)
@click.option(
    "--ab",
    "other_python",
    metavar="PYTHON",
    help="Measure another environment's edge-harness in turns with this one; a second document is written.",
)
@click.option(
    "--json", "json_path", metavar="FILE", help="Where the document goes; - is standard output alone."
)
@click.option("--quiet", is_flag=True, help="No progress and no table.")
def command(
    json_path: str | None, quiet: bool, other_python: str | None, plans_dir: Path | None, **options: Any
) -> int:
    """Measure trials, each in a fresh process, and print a table.

    The document goes to ./runs unless --json names a file. With --ab there are two, the other's named FILE-other,
    and a comparison is printed.
    """
    if plans_dir:
        return _write_plans(plans_dir, options | {"other_python": other_python, "json_path": json_path})
    if other_python:
        return _run_in_turns(other_python, json_path, quiet, options)
    # Imported here so that `harness run --help` stays quick.
    from rich.console import Console

    from harness import closing, output, plan, runner
    from harness.display import display
    from harness.outcomes import verdict

    chosen = plan.build(plan.Options(**_given(options)))
    errors = output.error_console()
    stopped = False
    with _kept(json_path, errors) as sink, display(errors, chosen, quiet=quiet) as observer:
        try:
            document = runner.run(chosen, observer, sink.keep)
        except runner.Interrupted as interruption:
            document, stopped = interruption.document, True
    if quiet:
        closing.say_failures(document, sink, errors)
    else:
        closing.show(document, errors if output.is_standard_output(json_path) else Console(), sink)
    trouble = closing.say_trouble(sink, errors)
    if stopped:
        return closing.say_interrupted([(document, sink)], errors)
    return trouble or int(verdict(document))


@contextmanager
def _kept(json_path: str | None, errors: "Console") -> "Iterator[Sink | Stream]":
    """Yield what keeps the document; where an error ends the run, say first what became of the trials before it."""
    from harness import closing, output
    from harness.sink import Sink, Stream

    if not (json_path and output.goes_at_the_end(json_path)):
        yield Sink(Path(json_path) if json_path else None)
        return
    stream = Stream(json_path)
    try:
        with stream:
            yield stream
    except BaseException:
        closing.say_trouble(stream, errors)
        raise


def _write_plans(folder: Path, options: dict[str, Any]) -> int:
    """Write one job document a trial and print where."""
    from harness import plan_files

    for path in plan_files.write(folder, _given(options)):
        click.echo(path)
    return int(ExitCode.OK)


def _run_in_turns(python: str, json_path: str | None, quiet: bool, options: dict[str, Any]) -> int:
    """Measure this installation and another one trial by trial, and print what is between them."""
    from rich.console import Console

    from harness import ab, closing, output, plan
    from harness.display import display
    from harness.errors import UsageError
    from harness.outcomes import SEVERITY, verdict
    from harness.sink import RUNS, Sink
    from results import compare, store

    for option, given, why in (
        ("--checkpoint", options["checkpoint"], "both installations would write the same files"),
        ("--synchronise", options["synchronise"], "a recording cannot be cut into two documents"),
        ("--worker program", options["worker"] == "program", "this harness-train would run for both"),
    ):
        if given:
            raise UsageError(f"--ab and {option} exclude each other: {why}")
    if json_path and (output.goes_at_the_end(json_path) or Path(json_path).is_dir()):
        raise UsageError("--ab writes two documents; name a file, as --json runs/ab.json")
    chosen = ab.pair(plan.build(plan.Options(**_given(options))), python)
    path = Path(json_path) if json_path else store.default_path(RUNS, chosen.this.created)
    this, other = Sink(path), Sink(path.with_stem(f"{path.stem}-other"))
    errors, sides = output.error_console(), ((chosen.this, this), (chosen.other, other))
    try:
        with display(errors, chosen.plan, quiet=quiet) as observer:
            ab.run(chosen, observer, this.keep, other.keep)
    except KeyboardInterrupt:
        return closing.say_interrupted(sides, errors)
    status = max(verdict(chosen.this), verdict(chosen.other), key=SEVERITY.index)
    if quiet:
        for document, sink in sides:
            closing.say_failures(document, sink, errors)
    elif status is ExitCode.OK:
        view = compare.comparison_view(
            compare.compare(chosen.this, chosen.other), str(this.path), str(other.path)
        )
        Console().print(view)
    else:
        for document, sink in sides:
            closing.show(document, Console(), sink)
    return closing.say_trouble(this, errors) or closing.say_trouble(other, errors) or int(status)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """Return what was asked for; an option that was not given leaves its default to the plan."""
    return {name: value for name, value in options.items() if value is not None and value != ()}
