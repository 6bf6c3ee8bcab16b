"""The answer of `harness fit`: a sentence and a table."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from results import format as fmt
from results.fit_document import FitDocument, FittedTrainer
from results.tables import new_table


def fit_view(document: FitDocument) -> RenderableType:
    """Return the answer in words, the figures behind it, and what they leave open."""
    notes = Table.grid(padding=(0, 1))
    for note in _notes(document):
        notes.add_row(Text("·"), Text(note))
    return Group(Text(sentence(document), style="bold"), Text(), _table(document), Text(), notes)


def sentence(document: FitDocument) -> str:
    """Return the answer as one sentence."""
    answers = [
        f"'{each.trainer}' {_answer(each, 'trains ' + document.workload + ' ' if index == 0 else '')}"
        for index, each in enumerate(document.trainers)
    ]
    return f"{place(document)}, {', '.join(answers)}."


def place(document: FitDocument) -> str:
    """Return on what device, with how much memory, and whether it was emulated."""
    device, less = document.device, ""
    if document.reserve_bytes:
        less = f" (less {fmt.size(document.reserve_bytes)} for the system)"
    name = "this machine" if device.profile == "host" else device.profile
    emulated = ", emulated" if device.emulated else ""
    return f"On {name}{emulated}, in {fmt.size(document.limit_bytes)}{less}"


def _answer(fitted: FittedTrainer, verb: str) -> str:
    if fitted.batch_size is None:
        return f"{verb}at no batch size ({fitted.reason})"
    if fitted.bound == "data":
        return f"{verb}even with the whole training set of {fitted.batch_size} as one batch"
    return f"{verb}up to batch {fitted.batch_size}"


def _table(document: FitDocument) -> Table:
    table = new_table(
        "trainer",
        "batch\nfits",
        "within",
        "model\nsays",
        "peak MiB",
        "baseline\nMiB",
        "a sample",
        "energy\na sample",
    )
    for each in document.trainers:
        table.add_row(
            each.trainer,
            fmt.DASH if each.batch_size is None else str(each.batch_size),
            str(each.resolution),
            str(each.predicted_batch_size),
            fmt.mib(each.peak_rss_bytes),
            fmt.mib(each.baseline_rss_bytes),
            fmt.seconds(_a_sample(each, each.step_s)),
            fmt.joules(_a_sample(each, _net_j_per_step(each))),
        )
    return table


def _a_sample(fitted: FittedTrainer, per_step: float | None) -> float | None:
    return None if per_step is None or fitted.batch_size is None else per_step / fitted.batch_size


def _net_j_per_step(fitted: FittedTrainer) -> float | None:
    """Return the first measured energy; a modelled one never counts."""
    rows = (row for row in fitted.energy if row.provenance == "measured")
    return next((row.net_j_per_step for row in rows if row.net_j_per_step is not None), None)


def _notes(document: FitDocument) -> list[str]:
    runs = sum(len(each.attempts) for each in document.trainers)
    notes = [
        f"{runs} runs of {document.steps} steps in {fmt.size(document.limit_bytes)}, enforced by {document.mechanism}; "
        f"{document.dataset_variant} data, {document.optimizer}, {document.threads} threads",
    ]
    if any(each.bound == "memory" and each.batch_size for each in document.trainers):
        notes.append("'within': at most so many items above, a run did not fit")
    if not document.reserve_bytes:
        notes.append("nothing of this memory is set aside for the system; see --reserve")
    if document.device.emulated:
        notes.append("emulated: memory and cores are the device's, speed is this machine's")
    notes += [f"{each.trainer}: {each.reason}" for each in document.trainers if each.reason]
    return notes
