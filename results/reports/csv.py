"""CSV of documents: one row a trial, one column a figure, nothing aggregated; empty where not measured."""

import csv
import io
from collections.abc import Iterable

from results.schema import VARIABLES, Document, Trial
from results.summary import setup_of
from results.whole_energy import measured_energy

Cell = str | int | float | None


def documents_csv(documents: Iterable[Document]) -> str:
    """Return every trial of the documents with a header line (RFC 4180, but lines end in a line feed).

    Units stand in the column names. A cell that a spreadsheet would run as a formula gets a leading quote.
    """
    rows = [_row(document, trial) for document in documents for trial in document.trials]
    output = io.StringIO()
    columns = list(rows[0]) if rows else ["created"]
    writer = csv.DictWriter(output, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _safe(value) for name, value in row.items()} for row in rows)
    return output.getvalue()


def _row(document: Document, trial: Trial) -> dict[str, Cell]:
    """Return one trial, flat."""
    step, memory, energy = trial.time.step_s, trial.memory, measured_energy(trial)
    row: dict[str, Cell] = {
        "created": f"{document.created:%Y-%m-%dT%H:%M:%SZ}",
        "device": document.device.profile,
        "emulated": str(document.device.emulated).lower(),
        "cpu": document.host.cpu,
        "harness": document.harness.version,
    }
    row |= {name: getattr(trial, name) for name in _IDENTITY}
    row["accumulate"] = setup_of(trial).accumulate
    row["accelerator"] = setup_of(trial).accelerator
    row |= {
        "step_s": step.median if step else None,
        "step_low_s": step.ci95[0] if step and step.ci95 else None,
        "step_high_s": step.ci95[1] if step and step.ci95 else None,
        **{name: getattr(trial.time, name) for name in ("forward_s", "backward_s", "update_s", "data_s")},
        **{name: getattr(memory, name) for name in _MEMORY},
        **{f"accelerator_{name}": getattr(memory.accelerator, name, None) for name in _ACCELERATOR},
        "net_j_per_step": energy.net_j_per_step if energy else None,
        "meter": f"{energy.meter}/{energy.domain}" if energy else None,
        "test_accuracy": trial.quality.test_accuracy,
        "throttled": None if trial.validity.throttled is None else str(trial.validity.throttled).lower(),
    }
    row |= {f"modelled_{name}_bytes": memory.modelled_by_variable.get(name) for name in VARIABLES}
    return row | {f"ledger_{name}_bytes": memory.ledger_by_variable.get(name) for name in VARIABLES}


_IDENTITY = (
    "workload",
    "dataset_variant",
    "trainer",
    "engine",
    "worker",
    "optimizer",
    "batch_size",
    "threads",
    "seed",
    "repeat",
    "outcome",
    "reason",
)
_MEMORY = ("baseline_rss_bytes", "peak_rss_bytes", "training_peak_bytes", "modelled_bytes", "allocator")

_ACCELERATOR = ("baseline_bytes", "peak_allocated_bytes", "peak_reserved_bytes", "training_peak_bytes")


def _safe(value: Cell) -> Cell:
    """Return a cell that no spreadsheet executes: `=cmd(...)` in a reason stays text."""
    return f"'{value}" if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t"} else value
