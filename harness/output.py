"""Standard output and standard error as places that can fail: closed, full, or with nobody reading any more."""

import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from harness.errors import UsageError
from results.errors import DocumentWriteError
from results.files import cause_of, descriptor_of, is_stream, write_whole

if TYPE_CHECKING:
    from rich.console import Console

_STANDARD_OUTPUT = 1


def is_standard_output(target: str | None) -> bool:
    """Tell whether `-`, or a path as `/dev/stdout`, names standard output."""
    return target == "-" or (target is not None and descriptor_of(Path(target)) == _STANDARD_OUTPUT)


def goes_at_the_end(target: str | None) -> bool:
    """Tell whether a document there cannot be replaced by a later one, so that it is written once."""
    return target is not None and (target == "-" or is_stream(Path(target)))


def say(console: "Console", text: str) -> None:
    """Print a line as it stands: whole, however narrow the terminal, and with no markup read into a path."""
    from rich.text import Text

    console.print(Text(text), soft_wrap=True)


def json_text(value: Any) -> str:
    """Return a document that is none of a run's as JSON for people, two spaces a level."""
    import msgspec

    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def require_apart(outputs: Mapping[str, str | None], read: Iterable[Path] = ()) -> None:
    """Raise UsageError where two options name one place, or one a file that is read: two documents there are none.

    `outputs` maps options to what they name, None where they were not given.
    """
    # Not Path.resolve, which fails on a loop of links: that is for whoever opens it to say.
    taken = {os.path.realpath(path): "" for path in read}
    for option, target in outputs.items():
        if target is None:
            continue
        place = "-" if is_standard_output(target) else os.path.realpath(target)
        if place in taken:
            other = taken[place]
            why = f"{other} goes there too" if other else "that is read, and would be lost"
            raise UsageError(f"{option} {target}: {why}; name another file")
        taken[place] = option


def require(target: str) -> None:
    """Raise DocumentWriteError where `target` is standard output and that is closed: now, not after the work."""
    if is_standard_output(target) and sys.stdout is None:
        raise DocumentWriteError(_trouble("it is closed"))


def write(text: str, target: str) -> None:
    """Write a document to a file, whole or not at all, or to a stream; missing folders are made.

    Raises DocumentWriteError where it cannot be written, BrokenPipeError where standard output has no reader any more.
    """
    require(target)
    if not is_standard_output(target):
        write_whole(Path(target), text.encode())
        return
    if isinstance(sys.stdout, io.TextIOWrapper):
        # As in a file: a document has one encoding, whatever the terminal.
        sys.stdout.reconfigure(encoding="utf-8")
    try:
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
        sys.stdout.flush()
    except OSError as error:
        silence(sys.stdout)
        if isinstance(error, BrokenPipeError):
            raise
        raise DocumentWriteError(_trouble(cause_of(error))) from error


def write_or_keep(text: str, target: str, name: str) -> None:
    """Write what a long run measured; where that fails it goes to the temporary folder, as a file called `name`.

    Raises DocumentWriteError that says where it is.
    """
    try:
        write(text, target)
    except OSError as error:
        place = Path(tempfile.mkdtemp(prefix="harness-")) / name
        write_whole(place, text.encode())
        words = str(error) if isinstance(error, DocumentWriteError) else _trouble(cause_of(error))
        raise DocumentWriteError(f"{words}; the document is in {place}") from error


def _trouble(cause: str) -> str:
    return f"cannot write to standard output: {cause}"


def silence(stream: IO[str]) -> None:
    """Point a stream that fails to where everything fits, or Python would fail with what it still holds at the end."""
    with contextlib.suppress(OSError, ValueError), Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())


class Unfailing:
    """A stream whose failures end what is shown and nothing else."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write it, or nothing from now on."""
        try:
            return self._stream.write(text)
        except (OSError, ValueError):
            silence(self._stream)
            return len(text)

    def flush(self) -> None:
        """Flush it, or nothing from now on."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            silence(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def error_console() -> "Console":
    """Return standard error for what is only to be seen: a measurement does not end because nobody sees it."""
    from rich.console import Console

    if sys.stderr is None:
        return Console(stderr=True)
    return Console(file=cast(IO[str], Unfailing(sys.stderr)))
