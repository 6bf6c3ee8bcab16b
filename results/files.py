"""Files written whole or not at all: documents, baselines and pages all go this way.

A temporary file in the same folder is written, forced to the disk and renamed over the old one.
"""

import contextlib
import errno
import os
import re
import secrets
from pathlib import Path

from results.errors import DocumentWriteError

_LONGEST_CHAIN = 40  # links that are followed, as many as the kernel follows


def write_whole(path: Path, data: bytes, hint: str = "name another place") -> None:
    """Write `data` to `path` whole or not at all; missing folders are made.

    A symbolic link is followed; a device, a pipe or an open file (`/dev/fd/3`) is written to and never replaced.

    Raises:
        DocumentWriteError: The disk is full, the folder is not writable, or `path` is a folder. What was
            at `path` before is still there, and no temporary file is left. `hint` is the next step.
    """
    try:
        descriptor = descriptor_of(path)
        if descriptor is not None:
            _write_open(descriptor, data)
            return
        target = path.resolve()
        if target.is_symlink():  # from Python 3.13 on, a loop of links is no error of `resolve`
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if target.is_dir():
            raise IsADirectoryError("it is a folder")
        if target.exists() and not target.is_file():
            target.write_bytes(data)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        _replace(target, data)
    except (OSError, ValueError, RuntimeError) as error:
        raise DocumentWriteError(
            f"cannot write '{path}': {cause_of(error, path)}; nothing that was there is lost, {hint}"
        ) from error


def descriptor_of(path: Path) -> int | None:
    """Return the number of this process's open file that `path` names, as `/dev/stdout` does; None for any other.

    Such a link is not to be followed by its text: what is behind it may have no name, or be a file with content.
    """
    own = re.compile(rf"/(?:dev|proc/(?:self|thread-self|{os.getpid()}))/fd/([0-9]+)")
    for _ in range(_LONGEST_CHAIN):
        found = own.fullmatch(str(path))
        if found:
            return int(found[1])
        if not path.is_symlink():
            return None
        path = path.parent / path.readlink()
    return None


def is_stream(path: Path) -> bool:
    """Tell whether what is written to `path` follows what was written before: a pipe, a device, an open file."""
    return descriptor_of(path) is not None or (path.exists() and not path.is_file() and not path.is_dir())


def _write_open(descriptor: int, data: bytes) -> None:
    """Write to an open file where it stands, and leave it open."""
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(data)


def _replace(target: Path, data: bytes) -> None:
    """Put `data` at `target` by way of a temporary file beside it, which is gone afterwards either way."""
    temporary = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}.tmp")
    # Not tempfile.mkstemp: its mode 0600 ignores the umask, and others could not read the result.
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    """Force the rename itself to the disk, where the file system can (some refuse fsync on folders)."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def shown(name: str) -> str:
    """Return a file's name, or words with one in them, as text that can be written anywhere.

    Linux takes any bytes for a name; those that are no UTF-8 are shown as `\\xff`.
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def in_the_way(path: Path) -> Path | None:
    """Return the file that stands where `path`, or a folder of it, would have to be a folder; None where none does."""
    return next((each for each in (path, *path.parents) if each.exists() and not each.is_dir()), None)


def cause_of(error: Exception, path: Path | None = None) -> str:
    """Return the system's words for an error, without its number and path.

    Where a file stands in the way of `path`, as `a.json` of `a.json/b`, that is the cause: the system says "File
    exists" or "Not a directory", and not of what.
    """
    if path is not None and isinstance(error, FileExistsError | NotADirectoryError):
        place = in_the_way(path)
        if place is not None:
            return f"'{place}' is a file, not a folder"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
