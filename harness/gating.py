"""`harness check` and `harness baseline`: which documents are held to which baseline file."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from harness.errors import UsageError
from results import baselines, gate, ratchet, store
from results.baselines import Baselines
from results.errors import BaselineMissingError, NotComparableError
from results.gate import Status, Verdict
from results.schema import Document

FOLDER = Path("baselines")


class Judgement(NamedTuple):
    """What a gate found: the verdicts, and notes on where it looked."""

    verdicts: list[Verdict]
    notes: list[str]


def check(files: Sequence[Path], named: Path | None) -> Judgement:
    """Hold each document to the baseline file that is named, or to that of its own device profile.

    A device without a file is no error here: every configuration of it is then a verdict `no baseline`, so that a
    trial that ran out of memory still says so first. Raises BaselineMissingError for a named file that is not there,
    NotComparableError for a document in which nothing was measured.
    """
    notes: dict[str, None] = {}
    found: dict[Verdict, None] = {}
    for document in [_measured(file) for file in files]:
        path = named or baselines.path_for(FOLDER, document)
        promises, note = _read(path, required=named is not None)
        notes |= {note: None}
        found |= dict.fromkeys(gate.check(document, promises))
    return Judgement(_without_false_absences(list(found)), list(notes))


def update(
    files: Sequence[Path], named: Path | None, reason: str, metrics: Sequence[str] = ()
) -> tuple[Path, list[ratchet.Change]]:
    """Set the baselines by what the documents measured, and return the file and what changed in it.

    `metrics` are those to set; none named is all.

    Raises UsageError for documents of several profiles without one named file; else see
    `results.ratchet.update`.
    """
    documents = [store.read(file) for file in files]
    path = named or _one_path(documents)
    return path, ratchet.update(path, documents, reason, metrics or None)


def show(named: Path | None) -> list[tuple[Path, Baselines]]:
    """Return the named baseline file, or all of ./baselines. Raises BaselineMissingError where there is none."""
    paths = [named] if named else sorted(FOLDER.glob("*.toml"))
    if not paths:
        raise BaselineMissingError(
            f"no baseline file in '{FOLDER}'; `harness baseline update FILE --reason TEXT` writes one"
        )
    return [(path, baselines.read(path)) for path in paths]


def _measured(file: Path) -> Document:
    """Return a document with trials: without any it would pass in silence beside a good one."""
    document = store.read(file)
    if not document.trials:
        raise NotComparableError(f"'{file}' holds no trial, so there is nothing to check; run it again")
    return document


def _read(path: Path, *, required: bool) -> tuple[Baselines, str]:
    if path.exists() or required:
        return baselines.read(path), f"held to {path}"
    empty = Baselines(schema="harness.baselines", schema_version=1)
    return empty, f"there is no '{path}' to hold this to; `harness baseline update` writes one"


def _one_path(documents: Sequence[Document]) -> Path:
    paths = sorted({baselines.path_for(FOLDER, document) for document in documents})
    if len(paths) > 1:
        raise UsageError(
            f"the documents are of several devices ({', '.join(map(str, paths))}); name --baseline F"
        )
    return paths[0]


def _without_false_absences(verdicts: list[Verdict]) -> list[Verdict]:
    """Drop `not run` where another of the documents did run it."""
    run = {verdict.key for verdict in verdicts if verdict.status is not Status.NOT_RUN}
    return [each for each in verdicts if each.status is not Status.NOT_RUN or each.key not in run]
