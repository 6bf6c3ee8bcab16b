"""Option types and output habits that several verbs share."""

from pathlib import Path

import click


class Size(click.ParamType[int]):
    """Bytes, as 512MiB, 512M, 1.5GiB or 536870912; units are powers of 1024."""

    name = "size"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the bytes, or fail with the form that is wanted."""
        if isinstance(value, int):
            return value
        from harness.errors import UsageError
        from harness.sizes import parse_size

        try:
            return parse_size(value)
        except UsageError as error:
            self.fail(str(error), param, ctx)


SIZE = Size()
DATA_DIR = click.Path(path_type=Path)


def write_text(text: str, target: str) -> None:
    """Write a document to a file, whole or not at all, or to standard output for `-`: see `harness.output.write`."""
    from harness import output

    output.write(text, target)
