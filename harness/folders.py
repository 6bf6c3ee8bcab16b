"""Places that an option names: tried before anything runs, or refused in one line."""

import os
import tempfile
from pathlib import Path

from harness import output
from harness.errors import UsageError
from results.errors import DocumentWriteError
from results.files import cause_of, descriptor_of, in_the_way


def make(folder: Path, option: str) -> None:
    """Make the folder that `option` names, if it is not there.

    Raises UsageError where it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        cause = cause_of(error, folder)
        raise UsageError(f"{option} {folder}: {cause}; name a folder that can be made") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{option} {folder}: it cannot be written to; name another folder")


def require_possible(folder: Path, option: str) -> None:
    """Raise UsageError where a file stands in the way of the folder that `option` names; nothing is made."""
    place = in_the_way(folder)
    if place is not None:
        raise UsageError(f"{option} {folder}: '{place}' is a file, not a folder; name another folder")


def try_target(target: str) -> None:
    """See that a document can be written there, to a file or to standard output: an error now, not after the work.

    Raises DocumentWriteError.
    """
    output.require(target)
    if not output.is_standard_output(target):
        try_file(Path(target))


def try_file(path: Path) -> None:
    """Make the folder of a file that is to be written later, and see that it takes one; what is there is not touched.

    Raises DocumentWriteError for what `results.files.write_whole` would refuse.
    """
    try:
        descriptor = descriptor_of(path)
        if descriptor is not None:
            os.fstat(descriptor)
            return
        target = path.resolve()
        if target.is_dir():
            raise IsADirectoryError("it is a folder")
        if target.exists() and not target.is_file():
            return  # a device or a pipe, which is written to
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except (OSError, ValueError, RuntimeError) as error:
        raise DocumentWriteError(
            f"cannot write '{path}': {cause_of(error, path)}; name another place"
        ) from error
