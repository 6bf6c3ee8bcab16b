"""The command line: one verb a file in `commands/`, imported when it is called."""

import contextlib
import errno
import io
import os
import sys
from importlib import import_module

import click

from harness import __version__
from harness.stopping import StopSignals

# Verb → what `--help` says of it. The module of the same name holds `command`; listing them imports none.
_VERBS = {
    "run": "Measure memory, time and energy of training, and print a table.",
    "show": "Print tables of result documents.",
    "compare": "Compare two result documents, pair by pair, with intervals and a verdict.",
    "check": "Hold result documents to their ceilings and baselines; the exit code is the verdict.",
    "baseline": "Write and show baselines.",
    "model": "Print the analytic memory table; nothing is run.",
    "fit": "Find the largest batch size that a device's memory takes, verified by runs.",
    "report": "Write result documents as one page with figures, as Markdown or as CSV.",
    "history": "Show trends and change points over a folder of documents.",
    "energy": "Bring in the energy of meters that record by themselves.",
    "doctor": "Say which meters, limits and engines work here, and what mends the others.",
    "list": "List workloads, trainers, devices, meters, datasets, engines or optimizers.",
    "data": "Fetch, list and verify data sets.",
}


class _Verbs(click.Group):
    """A group whose commands are imported one at a time; `harness --help` imports none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return None
        command: click.Command = import_module(f"harness.commands.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_VERBS.items()))


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, package_name="edge-harness", prog_name="harness")
def harness() -> None:
    """Measure what training a binary neural network costs on this device: memory, time and energy.

    With no option, `harness run` compares the standard and the low-memory trainer on a sample of MNIST.
    """


def main() -> None:
    """Run the command line; every known error is one line on standard error and an exit code of the contract."""
    _print_anything()
    _forget_no_columns()
    with StopSignals() as stop:
        status = _run()
    sys.exit(stop.status or status)


def _run() -> int:
    """Run the verb and return the exit status."""
    try:
        status = harness(standalone_mode=False)
        if sys.stdout and not sys.stdout.closed:
            sys.stdout.flush()
    except click.exceptions.Exit as exit_:
        status = exit_.exit_code
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        _say("interrupted")
        status = 1
    except BrokenPipeError:
        if sys.stderr:
            sys.stderr.close()  # the reader of our output has gone; there is nobody to tell
        status = 1
    except Exception as error:
        status = _report(error)
    return status if isinstance(status, int) else 0


def _say(text: str) -> None:
    """Say it on standard error, if there is still anybody: a closed terminal takes nothing any more."""
    try:
        click.echo(text, err=True)
    except (OSError, ValueError):
        from harness.output import silence

        silence(sys.stderr)


def _forget_no_columns() -> None:
    """Take COLUMNS=0 (a terminal whose size is not known) for no answer: tables would have no room at all."""
    columns = os.environ.get("COLUMNS")
    if columns is not None and not columns.strip().strip("0"):
        del os.environ["COLUMNS"]


def _print_anything() -> None:
    """Let a terminal without a character show `?` in its place: tables have characters that ASCII has not."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


# What a write to standard output fails with where there is no room for it.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def _report(error: Exception) -> int:
    """Say a known error in one line; anything else is ours, and the traceback is wanted."""
    from harness.errors import KNOWN_ERRORS, ExitCode, exit_code_of

    # A write names no file; what is written to a file of its own fails with a known error.
    if isinstance(error, OSError) and error.errno in _NO_ROOM and error.filename is None:
        with contextlib.suppress(OSError):
            sys.stdout.close()  # what is still to be written cannot be, and Python would say so once more
        _say(f"harness: error: cannot write to standard output: {error.strerror}")
        return int(ExitCode.ERROR)
    if not isinstance(error, KNOWN_ERRORS):
        raise error
    _say(f"harness: error: {error}")
    return int(exit_code_of(error))
