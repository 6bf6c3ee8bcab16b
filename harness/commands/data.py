"""`harness data`: fetch, list and verify the files of data sets."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.errors import UsageError

if TYPE_CHECKING:
    from workloads.datasets.files import DataFile
    from workloads.datasets.registry import Found

_DATA_DIR = click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="HARNESS_DATA",
    help="Folder of the data sets (or HARNESS_DATA).",
)


@click.group(name="data")
def command() -> None:
    """Fetch, list and verify data sets."""


@command.command(name="fetch", short_help="Fetch the official files of a data set.")
@click.argument("name")
@_DATA_DIR
def fetch(name: str, data_dir: Path | None) -> None:
    """Fetch the official files of data set NAME and check them against their published checksums."""
    from harness import folders
    from workloads.datasets import registry

    folder = _required(data_dir)
    folders.require_possible(folder, "--data-dir")  # an error now, not after the first file has been fetched
    with _progress() as progress:
        paths = registry.fetch(name, folder, progress)
    for path in paths:
        click.echo(path)


@command.command(name="list")
@_DATA_DIR
@click.option("--json", "as_json", is_flag=True, help="As JSON on standard output.")
def list_(data_dir: Path | None, as_json: bool) -> None:
    """List the data sets and what of them is in the data folder."""
    from workloads.datasets import registry

    rows = [_row(row.name, row.summary, data_dir) for row in registry.ROWS]
    if as_json:
        click.echo(json.dumps({"schema": "harness.datasets", "datasets": rows}, indent=2))
        return
    for row in rows:
        click.echo(row["name"])
        for line in (row["summary"], row["state"]):
            click.echo(click.wrap_text(line, 78, "    ", "      "))


@command.command(name="verify", short_help="Check files against their published checksums.")
@click.argument("name")
@_DATA_DIR
def verify(name: str, data_dir: Path | None) -> None:
    """Check the files of data set NAME in the data folder against their published checksums."""
    from workloads.datasets import registry
    from workloads.errors import DataCorruptError, DataMissingError

    folder = _required(data_dir)
    alternatives = registry.found(name, folder, verify=True)
    if not alternatives:
        raise UsageError(f"{name} has no published files to verify; it comes from {registry.origin_of(name)}")
    looked_at = [each for alternative in alternatives for each in alternative]
    for each in dict.fromkeys(looked_at):
        click.echo(f"{_verdict(each):8}  {each.file.name}" + (f"  ({each.path})" if each.path else ""))
    faults = [each.fault for each in looked_at if each.fault]
    if faults:
        raise DataCorruptError(faults[0])
    if not any(all(each.path for each in alternative) for alternative in alternatives):
        lacking = next(each.file.name for each in alternatives[0] if each.path is None)
        raise DataMissingError(f"{folder} has not all of {name}: {lacking} is missing")


def _required(data_dir: Path | None) -> Path:
    if data_dir is None:
        raise UsageError("no data folder is named; give --data-dir DIR or set HARNESS_DATA")
    return data_dir


def _row(name: str, summary: str, data_dir: Path | None) -> dict[str, Any]:
    from workloads.datasets import registry

    alternatives = registry.found(name, data_dir) if data_dir else []
    files = [
        {
            "name": each.file.name,
            "size_bytes": each.file.size_bytes,
            "path": str(each.path) if each.path else None,
        }
        for each in dict.fromkeys(each for alternative in alternatives for each in alternative)
    ]
    state = _state(name, data_dir, alternatives)
    return {"name": name, "summary": summary, "state": state, "files": files}


def _state(name: str, data_dir: Path | None, alternatives: "list[list[Found]]") -> str:
    if name.startswith("synthetic"):
        return "needs no files"
    if data_dir is None:
        return "the packaged sample serves" if name == "mnist" else "no data folder is named"
    if name == "imagenet":
        return "class folders found" if (data_dir / "imagenet" / "train").is_dir() else "no class folders"
    for alternative in alternatives:
        if all(each.path for each in alternative):
            return "complete: " + ", ".join(each.file.name for each in alternative)
    return "missing: " + ", ".join(each.file.name for each in alternatives[0] if each.path is None)


def _verdict(each: "Found") -> str:
    if each.path is None:
        return "missing"
    return "damaged" if each.fault else "ok"


@contextmanager
def _progress() -> "Iterator[Callable[[DataFile, int], None]]":
    """Yield a callback that moves one bar a file on standard error; silent where that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        tasks: dict[str, Any] = {}

        def show(file: "DataFile", done_bytes: int) -> None:
            if file.name not in tasks:
                tasks[file.name] = bars.add_task(file.name, total=file.size_bytes)
            bars.update(tasks[file.name], completed=done_bytes)

        yield show
