"""What is said when a run has ended: its tables, why its exit code is not 0, and where its document is."""

from collections.abc import Sequence

from rich.console import Console

from harness.errors import ExitCode
from harness.outcomes import failures
from harness.output import say
from harness.sink import Sink, Stream
from results import tables
from results.format import counted
from results.schema import Document


def show(document: Document, console: Console, sink: Sink | Stream) -> None:
    """Print the tables, and where the document is."""
    console.print(tables.document_view(document))
    if sink.written:
        say(console, f"document: {sink.path}")


def say_failures(document: Document, sink: Sink | Stream, errors: Console) -> None:
    """Say what no table says: why the exit code will not be 0."""
    place = f"; the document is {sink.path}" if sink.written else ""
    for line in failures(document):
        say(errors, f"harness: {line}{place}")


def say_trouble(sink: Sink | Stream, errors: Console) -> int:
    """Say where the document is if it could not stay where it was wanted; return the exit code."""
    if sink.trouble is None:
        return int(ExitCode.OK)
    say(errors, f"harness: error: {sink.trouble}")
    return int(ExitCode.ERROR)


def say_interrupted(sides: Sequence[tuple[Document, Sink | Stream]], errors: Console) -> int:
    """Say how many ended trials are kept, and in which documents; return the exit code."""
    kept = [
        counted(len(document.trials), "ended trial") + (f" kept in {sink.path}" if sink.written else " kept")
        for document, sink in sides
        if document.trials
    ]
    say(errors, "; ".join(("interrupted", *kept)))
    return int(ExitCode.ERROR)
