"""The page's figures, as plain plotly dictionaries: data and layout, no colour of text or ground.

A figure may carry a `legend` of its own, (name, colour) pairs, which the page sets above it.

Text, grid and ground take the page's colours (its style sheet), so that a figure follows light, dark and
print. Nothing is told by colour alone: every value is in the hover text and in the tables beside.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from results.curves import loss_epochs
from results.reports.paper import modelled_bytes
from results.schema import VARIABLES, Document, Phase, Trace, Trial
from results.summary import Row, Setup

Figure = dict[str, Any]

_MIB = 2**20
MAX_POINTS = 1000
"""Values drawn of one trial's series: more show nothing, and 100 trials must stay far below 6 MB."""

REST = "not in the ledger"
TOTAL = "total"
# Okabe and Ito's palette and its darker halves: apart for colour-blind readers, on light and on dark.
_COLOURS = (
    *("#0072B2", "#56B4E9", "#8C8C8C", "#7B5EA7", "#E69F00", "#F0C75E"),
    *("#B0B0B0", "#D55E00", "#009E73", "#CC79A7", "#F0E442"),
)
COLOUR_OF = dict(zip(VARIABLES, _COLOURS, strict=True)) | {REST: "#7A7A7A", TOTAL: "#4B5563"}
_TRAINER_COLOURS = ("#2B8CC4", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C8C8C")


def memory_figure(setup: Setup, rows: Sequence[Row]) -> Figure | None:
    """Return memory by variable: for each trainer what was measured, the model, and the paper's model.

    The measured bar is the ledger, and on top of it what of the training peak the ledger cannot name.
    """
    bars = [
        (f"{row.trainer}, {kind}", parts) for row in rows for kind, parts in memory_bars(setup, row) if parts
    ]
    if not bars:
        return None
    names = [*VARIABLES, REST, TOTAL]
    found = [name for name in names if any(parts.get(name) for _, parts in bars)]
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "name": name,
            "y": [label for label, _ in bars],
            "x": [parts.get(name, 0) / _MIB for _, parts in bars],
            "marker": {"color": COLOUR_OF[name], "line": {"width": 0.5, "color": "#FFFFFF"}},
            "hovertemplate": f"%{{y}}<br>{name}: %{{x:,.2f}} MiB<extra></extra>",
        }
        for name in found
    ]
    layout = _layout("memory (MiB)", "", height=80 + 34 * len(bars))
    # The page's own legend wraps; plotly's becomes one long column on a phone.
    layout |= {"barmode": "stack", "showlegend": False}
    layout["yaxis"] |= {"autorange": "reversed", "showgrid": False}
    return {"data": data, "layout": layout, "legend": [(name, COLOUR_OF[name]) for name in found]}


def time_figure(rows: Sequence[Row]) -> Figure | None:
    """Return the distribution of the steps' times, one box a trainer over all its finished repeats."""
    data = []
    for index, row in enumerate(rows):
        steps = [s * 1e3 for t in row.trials if t.outcome == "ok" for s in thinned(t.time.steps_s)]
        if steps:
            colour = _TRAINER_COLOURS[index % len(_TRAINER_COLOURS)]
            box = {"type": "box", "name": row.trainer, "x": steps, "boxpoints": "outliers"}
            data.append(box | {"marker": {"color": colour, "size": 3}, "hoverinfo": "x", "showlegend": False})
    layout = _layout("time of a step (ms)", "", height=110 + 60 * len(data))
    layout["yaxis"] |= {"autorange": "reversed", "showgrid": False}
    layout["xaxis"]["rangemode"] = "normal"  # the shape is the point here, not the length from 0
    return {"data": data, "layout": layout} if data else None


def loss_figure(rows: Sequence[Row]) -> Figure | None:
    """Return the training loss of every trial, by epoch where all say how long one is; a gap where it is not finite."""
    shown = [
        (index, row.trainer, trial)
        for index, row in enumerate(rows)
        for trial in row.trials
        if len(trial.quality.train_loss) > 1
    ]
    epochs = [loss_epochs(trial) for _, _, trial in shown]
    known = None not in epochs
    data = [
        _line(
            at if known and at else range(1, len(trial.quality.train_loss) + 1),
            trial.quality.train_loss,
            index,
            trainer,
            trial,
        )
        for (index, trainer, trial), at in zip(shown, epochs, strict=True)
    ]
    return (
        {"data": data, "layout": _layout("epoch" if known else "logged interval", "training loss")}
        if data
        else None
    )


def accuracy_figure(rows: Sequence[Row]) -> Figure | None:
    """Return the test accuracy by epoch of the trials that were evaluated while training."""
    data = []
    for index, row in enumerate(rows):
        for trial in row.trials:
            points = trial.quality.evaluations
            if points:
                values = [point.test_accuracy * 100 for point in points]
                line = _line([point.epoch for point in points], values, index, row.trainer, trial)
                data.append(line | {"mode": "lines+markers", "marker": {"size": 5}})
    layout = _layout("epoch", "test accuracy (%)")
    layout["yaxis"]["rangemode"] = (
        "normal"  # trainers end near one another: the last points are what is compared
    )
    return {"data": data, "layout": layout} if data else None


def memory_trace_figures(document: Document) -> list[tuple[str, Figure]]:
    """Return (title, figure) of what each trial's worker held over time, under the exact peak of the kernel."""
    figures = []
    for trial in document.trials:
        data = [_series(trace, index, _MIB) for index, trace in enumerate(_traces(trial, "rss_bytes"))]
        if not data:
            continue
        peak, until_s = trial.memory.peak_rss_bytes, max(data[0]["x"])
        if peak is not None:
            level = {
                "x": [0, until_s],
                "y": [peak / _MIB] * 2,
                "name": "exact peak (dotted)",
                "mode": "lines",
            }
            dash = {"width": 1, "dash": "dot", "color": _PEAK_COLOUR}
            data.append({"type": "scatter", **level, "line": dash})
        layout = _layout(_SINCE, "resident (MiB)") | _bands(trial.phases)
        figures.append((f"{_trial_name(trial)}{_cost(_traces(trial, 'rss_bytes'))}", _keyed(data, layout)))
    return figures


def power_trace_figures(document: Document) -> list[tuple[str, Figure]]:
    """Return (title, figure) of the power that each trial's meters read, over idle and measured windows."""
    figures = []
    for trial in document.trials:
        traces = _traces(trial, "power_w")
        if traces:
            data = [_series(trace, index, 1.0) for index, trace in enumerate(traces)]
            layout = _layout(_SINCE, "power (W)") | _bands(traces[0].windows or trial.phases)
            figures.append((_trial_name(trial), _keyed(data, layout)))
    return figures


_SINCE = "time since the worker started (s)"
_PEAK_COLOUR = "#8C8C8C"


def _trial_name(trial: Trial) -> str:
    return f"{trial.workload} {trial.trainer}, repeat {trial.repeat}"


def _cost(traces: Sequence[Trace]) -> str:
    """Return in words what taking a series cost."""
    share = max((trace.reader_cpu_share or 0.0 for trace in traces), default=0.0)
    return f"; looking took {share * 100:.2f} % of a processor" if share else ""


def _series(trace: Trace, index: int, scale: float) -> Figure:
    """Return a trace as a line."""
    modelled = "" if trace.provenance == "measured" else f" ({trace.provenance})"
    return {
        "type": "scatter",
        "mode": "lines",
        "name": f"{trace.source}{modelled}",
        "x": thinned(trace.t_s),
        "y": thinned([value / scale for value in trace.values]),
        "line": {"width": 1.5, "color": _TRAINER_COLOURS[index % len(_TRAINER_COLOURS)]},
    }


def thinned(values: Sequence[float], limit: int = MAX_POINTS) -> list[float]:
    """Return at most `limit` values, evenly taken, the first and the last among them."""
    if len(values) <= limit:
        return list(values)
    return [values[round(i * (len(values) - 1) / (limit - 1))] for i in range(limit)]


def memory_bars(setup: Setup, row: Row) -> Iterable[tuple[str, dict[str, float]]]:
    """Yield the bars of one trainer."""
    trial = next((t for t in row.trials if t.outcome == "ok"), row.trials[0])
    peak, ledger = row.training_peak_bytes, trial.memory.ledger_by_variable
    if peak is not None:
        yield "measured", {**ledger, REST: max(0.0, peak - sum(ledger.values()))}
    model = trial.memory.modelled_by_variable
    yield "model", dict(model) or ({TOTAL: row.modelled_bytes} if row.modelled_bytes else {})
    if peak is not None or row.modelled_bytes is not None:
        yield "paper", modelled_bytes(setup, row.trainer) or {}


def _line(x: Iterable[float], y: Sequence[float | None], index: int, trainer: str, trial: Trial) -> Figure:
    """Return one trial's curve: one colour a trainer, one entry in the legend for all its repeats."""
    return {
        "type": "scatter",
        "mode": "lines",
        "name": trainer,
        "legendgroup": trainer,
        "showlegend": trial.repeat == 0,
        "x": thinned(list(x)),
        "y": thinned(list(y)),  # type: ignore[arg-type]
        "line": {"width": 1.5, "color": _TRAINER_COLOURS[index % len(_TRAINER_COLOURS)]},
        "hovertemplate": f"{trainer}, repeat {trial.repeat}: %{{y:.4g}}<extra></extra>",
    }


def _traces(trial: Trial, quantity: str) -> list[Trace]:
    """Return a trial's series of one quantity."""
    return [trace for trace in trial.traces if trace.quantity == quantity and trace.values]


def _bands(windows: Sequence[Phase]) -> Figure:
    """Return windows as bands behind a trace; each wide enough to read has its name above it."""
    begin = min((each.start_s for each in windows), default=0.0)
    whole = max((each.end_s for each in windows), default=0.0) - begin
    shapes, labels = [], []
    for index, each in enumerate(windows):
        band = {"type": "rect", "yref": "paper", "y0": 0, "y1": 1, "x0": each.start_s, "x1": each.end_s}
        style = {"fillcolor": "#888888", "opacity": 0.18 if index % 2 else 0.06, "line": {"width": 0}}
        shapes.append(band | style | {"layer": "below"})
        if each.end_s - each.start_s >= _LEAST_BAND * whole:
            middle = (each.start_s + each.end_s) / 2
            labels.append({"x": middle, "y": 1, "yref": "paper", "yanchor": "bottom", "text": each.name})
    return {
        "shapes": shapes,
        "annotations": [label | {"showarrow": False, "font": {"size": 11}} for label in labels],
    }


_LEAST_BAND = 0.1
"""A band narrower than this part of the figure has no room for its name on a phone."""


def _keyed(data: list[Figure], layout: Figure) -> Figure:
    """Return a figure of lines with the page's legend: plotly's would lie on the names of the bands on a phone."""
    legend = [(each["name"], each["line"]["color"]) for each in data]
    return {"data": data, "layout": layout | {"showlegend": False}, "legend": legend}


def _layout(x: str, y: str, height: int = 340) -> Figure:
    """Return the layout that all figures share: no fixed width, the legend below, no ground of its own."""
    return {
        "autosize": True,
        "height": height,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13},
        "margin": {"l": 8, "r": 8, "t": 24, "b": 8},
        "xaxis": {"title": {"text": x}, "automargin": True, "rangemode": "tozero", "fixedrange": True},
        "yaxis": {"title": {"text": y}, "automargin": True, "rangemode": "tozero", "fixedrange": True},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0},
        "hovermode": "closest",
    }
