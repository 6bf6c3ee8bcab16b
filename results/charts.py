"""Charts of characters, for those without a browser: memory and step time as bars, loss and accuracy as lines."""

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from results import format as fmt
from results.curves import curve
from results.schema import Document
from results.summary import Row, setup_title, summarize
from results.tables import add_row, new_table, titled
from results.trends import sparkline

WIDTH = 36
_EIGHTHS = " ▏▎▍▌▋▊▉"


def charts_view(document: Document) -> RenderableType:
    """Return for each setup the bars of memory (measured, modelled) and of the step, and the loss curves."""
    parts: list[RenderableType] = []
    for setup, rows in summarize(document).items():
        table = new_table("trainer", naming=2)
        table.add_column("", justify="left", no_wrap=True)
        table.add_column("", justify="left", no_wrap=True)
        table.add_column("", justify="right", no_wrap=True)
        for line in (*_memory(rows), *_steps(rows), *_losses(rows), *_accuracies(rows)):
            add_row(table, *line)
        parts.append(titled(setup_title(setup), table))
    return Group(*parts) if parts else Text("The document holds no trial.")


def bar(value: float, largest: float, width: int = WIDTH) -> str:
    """Return a bar of whole and eighth blocks, `width` characters for `largest`; never empty above 0."""
    if value <= 0 or largest <= 0:
        return ""
    eighths = max(1, round(value / largest * width * 8))
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def _memory(rows: Sequence[Row]) -> Iterable[tuple[str, str, str, str]]:
    """Yield the bars of memory, all on one scale."""
    values = [(row.trainer, "peak", row.training_peak_bytes) for row in rows]
    values += [(row.trainer, "model", row.modelled_bytes) for row in rows]
    largest = max((value for _, _, value in values if value is not None), default=0.0)
    for trainer, kind, value in sorted(values, key=lambda line: [row.trainer for row in rows].index(line[0])):
        if value is not None:
            yield trainer, kind, bar(value, largest), fmt.size(value)


def _steps(rows: Sequence[Row]) -> Iterable[tuple[str, str, str, str]]:
    """Yield the bars of the median step."""
    largest = max((row.step.median for row in rows if row.step), default=0.0)
    for row in rows:
        if row.step:
            yield row.trainer, "step", bar(row.step.median, largest), fmt.seconds(row.step.median)


def _losses(rows: Sequence[Row]) -> Iterable[tuple[str, str, str, str]]:
    """Yield the training loss of each trainer's first finished trial, with its last value."""
    for row in rows:
        trial = next((trial for trial in row.trials if trial.outcome == "ok"), None)
        losses = [loss for loss in trial.quality.train_loss if loss is not None] if trial else []
        if losses:
            yield row.trainer, "loss", sparkline(losses, WIDTH), fmt.number(losses[-1])


def _accuracies(rows: Sequence[Row]) -> Iterable[tuple[str, str, str, str]]:
    """Yield the test accuracy while training of each trainer, with its last value."""
    for row in rows:
        points = [accuracy for _, accuracy in curve(row)]
        if points:
            yield row.trainer, "accuracy", sparkline(points, WIDTH), fmt.percent(points[-1])
