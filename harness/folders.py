"""Folders that an option names: made before anything runs, or refused in one line."""

import os
from pathlib import Path

from harness.errors import UsageError


def make(folder: Path, option: str) -> None:
    """Make the folder that `option` names, if it is not there.

    Raises UsageError where it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{option} {folder}: {error.strerror}; name a folder that can be made") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{option} {folder}: it cannot be written to; name another folder")
