"""Option types and output habits that several verbs share."""

import re
import sys
from pathlib import Path

import click

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


class Size(click.ParamType[int]):
    """Bytes, as 512MiB, 512M, 1.5GiB or 536870912; units are powers of 1024."""

    name = "size"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the bytes, or fail with the form that is wanted."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([KMG]?)(?:i?B)?", value.strip(), re.IGNORECASE)
        if match is None:
            self.fail(f"'{value}' is not a size; write it as 512MiB or 1.5GiB", param, ctx)
        return int(float(match[1]) * _UNITS[match[2].upper()])


SIZE = Size()
DATA_DIR = click.Path(path_type=Path)


def write_text(text: str, target: str) -> None:
    """Write a document to a file, or to standard output for `-`."""
    if target == "-":
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
        sys.stdout.flush()
        return
    try:
        Path(target).write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.FileError(target, error.strerror or str(error)) from error
