"""The table of `harness model`: every variable of the memory model, one column a trainer, in MiB."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from results import format as fmt
from results.model_document import ModelDocument, ModelledTrainer
from results.schema import VARIABLES
from results.summary import REFERENCE
from results.tables import add_row, new_table, titled

MEANINGS = {
    "X": "activations kept for backward",
    "dX_Y": "∂X and Y, the largest layer's",
    "mu_psi": "batch-norm statistics",
    "dY": "∂Y, the largest layer's",
    "W": "weights",
    "dW": "weight gradients",
    "beta": "batch-norm bias and gradient",
    "momenta": "optimizer state",
    "masks": "pooling and clip masks",
    "scratch": "work space: not modelled",
    "input": "the batch read from disk",
}
PER_TABLE = 7
"""Columns of figures side by side at 80 columns; more go into a second table."""


def model_view(document: ModelDocument, by_layer: bool = False) -> RenderableType:
    """Return the tables of a model document: by variable, and by layer where asked for and known."""
    sums = f" × {document.accumulate} an update" if document.accumulate > 1 else ""
    batch = f"batch {document.batch_size}{sums}"
    head = f"{document.workload}: {batch}, {document.optimizer}, {document.convention} model"
    parts: list[RenderableType] = []
    for start in range(0, len(document.trainers), PER_TABLE):
        chunk = document.trainers[start : start + PER_TABLE]
        parts.append(_by_variable(head, chunk, document))
    if by_layer:
        parts.extend(table for trainer in document.trainers for table in _by_layer(trainer))
    missing = ", ".join(document.without)
    if missing:
        parts.append(Text(f"totals without {missing}, which an engine adds; `harness run` counts it"))
    parts.append(Text(f"MiB; times smaller: {REFERENCE}'s total ÷ this one; {fmt.DASH} where there is none"))
    return Group(*parts)


def _reference_bytes(document: ModelDocument) -> int | None:
    """Return the total of the reference trainer, None where it was not asked for."""
    return next((row.total_bytes for row in document.trainers if row.trainer == REFERENCE), None)


def _variables(trainers: Sequence[ModelledTrainer]) -> list[str]:
    """Return the variables in the paper's order, then any other by first appearance."""
    found = dict.fromkeys(name for trainer in trainers for name in trainer.by_variable)
    return [name for name in VARIABLES if name in found] + [name for name in found if name not in VARIABLES]


def _by_variable(title: str, trainers: Sequence[ModelledTrainer], document: ModelDocument) -> RenderableType:
    """Return variables × trainers; what each variable is stands beside it where there is room."""
    explained = len(trainers) <= 3
    table = new_table("variable")
    if explained:
        table.add_column("what it is", justify="left", no_wrap=True)
    for trainer in trainers:
        table.add_column(_folded(trainer.trainer), justify="right", no_wrap=True)
    for name in _variables(trainers):
        cells = [_cell(trainer.by_variable.get(name)) for trainer in trainers]
        add_row(table, name, *([MEANINGS.get(name, "")] if explained else []), *cells)
    table.add_section()
    gap = [""] if explained else []
    missing = [f"without {', '.join(document.without)}" if document.without else ""] if explained else []
    add_row(table, "total", *missing, *(fmt.mib(trainer.total_bytes) for trainer in trainers), style="bold")
    reference = _reference_bytes(document)
    ratios = [reference / row.total_bytes if reference and row.total_bytes else None for row in trainers]
    add_row(table, "times smaller", *gap, *map(fmt.ratio, ratios))
    return titled(title, table)


def _by_layer(trainer: ModelledTrainer) -> list[RenderableType]:
    """Return layers × variables of one trainer; variables that are nowhere are left out."""
    layers = trainer.by_layer or []
    names = [name for name in VARIABLES if any(layer.by_variable.get(name) for layer in layers)]
    tables: list[RenderableType] = []
    for start in range(0, len(names), PER_TABLE):
        chunk = names[start : start + PER_TABLE]
        table = new_table("layer", *chunk)
        for layer in layers:
            add_row(table, layer.layer, *(_cell(layer.by_variable.get(name)) for name in chunk))
        tables.append(titled(f"{trainer.trainer} by layer", table))
    return tables


def _cell(size_bytes: int | None) -> str:
    """Return MiB, a dash for nothing, and enough digits that little is not shown as none."""
    if not size_bytes:
        return fmt.DASH
    return fmt.mib(size_bytes) if size_bytes >= 2**20 // 200 else "<0.01"


def _folded(trainer: str) -> str:
    """Return a trainer's name broken at hyphens: `float16-booldw-l1` would take 17 columns."""
    return trainer.replace("-", "-\n")
