"""The answer of `harness fit`: a sentence and a table."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from results import format as fmt
from results.fit_document import FitDocument, FittedTrainer
from results.notes import measured_by, no_energy
from results.tables import new_table
from results.whole_energy import whole


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
        f"{_energy(each)}"
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


def _energy(fitted: FittedTrainer) -> str:
    """Return the energy a sample in words; nothing where none was measured."""
    if fitted.net_j_per_sample is None:
        return ""
    return f" (at {fmt.joules(fitted.net_j_per_sample, fitted.uncertainty_j_per_sample)} a sample)"


def _table(document: FitDocument) -> Table:
    table = new_table(
        "trainer",
        "batch\nfits",
        "within\nitems",
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
            fmt.seconds(each.sample_s),
            fmt.joules(each.net_j_per_sample, each.uncertainty_j_per_sample),
        )
    return table


def _notes(document: FitDocument) -> list[str]:
    runs = sum(len(each.attempts) for each in document.trainers)
    notes = [
        f"{fmt.counted(runs, 'run')} of {fmt.counted(document.steps, 'step')} in {fmt.size(document.limit_bytes)}, "
        f"enforced by {document.mechanism}; {document.dataset_variant} data, {document.optimizer}, "
        + fmt.counted(document.threads, "thread")
        + (f", {document.accumulate} micro-batches an update" if document.accumulate > 1 else "")
        + (", harness-train" if document.worker == "program" else ""),
    ]
    if any(each.bound == "memory" and each.batch_size for each in document.trainers):
        notes.append("'within': at most so many items above, a run did not fit")
    if not document.reserve_bytes:
        notes.append("nothing of this memory is set aside for the system; see --reserve")
    if document.device.emulated:
        notes.append("emulated: memory and cores are the device's, speed is this machine's")
    notes += [f"{each.trainer}: {each.reason}" for each in document.trainers if each.reason]
    return notes + list(dict.fromkeys(line for each in document.trainers for line in _of_energy(each)))


def _of_energy(fitted: FittedTrainer) -> list[str]:
    """Say which meter the energy is from, or for each meter why there is none."""
    shown = whole(fitted.energy)
    if shown is not None:
        return [measured_by(shown)]
    return [f"{fitted.trainer}: {no_energy(row)}" for row in fitted.energy]
