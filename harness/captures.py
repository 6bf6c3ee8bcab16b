"""`harness run --captures`: what each meter read from the run's begin to its end, for `--meter replay:FILE`."""

import re
from pathlib import Path

from power.base import Meter
from power.capture import capture_text
from power.series import Series
from results import schema, store
from results.files import write_whole

_HINT = "the document holds what was measured all the same; name a folder with space"


def write(folder: Path, recorded: list[tuple[Meter, list[Series]]]) -> list[Path]:
    """Write a file a meter that read anything, named by the time and the meter, and return where they are.

    Raises DocumentWriteError for one that cannot be written; those before it are there.
    """
    now = f"{schema.now():{store.TIME_IN_NAMES}}"
    paths: list[Path] = []
    for meter, every in recorded:
        if not any(len(series) for series in every):
            continue
        path = _unused(folder, f"{now}-{_file_name(meter)}")
        write_whole(path, capture_text(meter.name, every, meter.provenance).encode(), _HINT)
        paths.append(path)
    return paths


def _file_name(meter: Meter) -> str:
    """Return a meter's name and argument with what a file's name should not hold replaced."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", f"{meter.name}-{meter.argument}").strip("-.")[:80]


def _unused(folder: Path, stem: str) -> Path:
    """Return a place where nothing is yet."""
    path, number = folder / f"{stem}.jsonl", 2
    while path.exists():
        path, number = folder / f"{stem}-{number}.jsonl", number + 1
    return path
