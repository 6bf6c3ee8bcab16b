"""What a window's energy may be wrong by because a meter is read at instants: edges, delay, steps, sampling, gaps.

The formulas and where they come from are in `power.uncertainty`.
"""

from math import hypot, sqrt
from operator import mul, sub
from statistics import fmean, median
from typing import Literal

from power.integrate import GAP_PERIODS, Cut, energy_j
from power.series import Series
from power.uncertainty import Terms

#: A counter's power is taken over so many of its steps: over fewer it would be that of the steps.
_SEEN_STEPS = 10


def random_terms(window: Cut) -> Terms:
    """Return the terms that come from how the meter was read, in J: all but its gain, its offset and the idle level."""
    return _counter_terms(window) if window.series.domain.kind == "energy" else _power_terms(window)


def _power_terms(window: Cut) -> Terms:
    domain, values = window.series.domain, window.series.values[window.first : window.last + 1]
    changes_w = list(map(sub, values[1:], values))
    steps_s = [max(step_s, domain.update_s) for step_s in window.steps_s()]
    moved_j = list(map(mul, changes_w, steps_s))
    begin_j, end_j = moved_j[0] / 6, -moved_j[-1] / 6
    inside_j2 = sum(d * d * share for d, share in zip(moved_j[1:-1], _shares(changes_w)[1:-1], strict=True))
    return Terms(
        resolution_j=domain.resolution_w * window.duration_s / sqrt(12),
        edges_j=hypot(begin_j, end_j),
        alike_j=begin_j + end_j,
        delay_j=_delay_j(window),
        sampling_j=sqrt(inside_j2 + _gaps_j2(window, steps_s)),
    )


def _counter_terms(window: Cut) -> Terms:
    indices = (window.first, window.last - 1)
    begin_j, end_j = (_edge_j(window, index) / sqrt(2) for index in indices)
    return Terms(
        steps_j=window.series.domain.resolution_j * sqrt(sum(_step_share(window, i) for i in indices) / 12),
        edges_j=hypot(begin_j, end_j, sqrt(_counter_delay_j2(window))),
        alike_j=begin_j + end_j,
    )


def _shares(changes_w: list[float]) -> list[float]:
    """Return 1/12 for a lone step, 1/2 for every other change (see *Sampling inside the window*)."""
    sizes_w = list(map(abs, changes_w))
    limit_w = 5.0 * 1.4826 * median(sizes_w)
    steps = {i for i, size_w in enumerate(sizes_w) if size_w > limit_w}
    shares = [1 / 2] * len(changes_w)
    for i in steps:
        if i - 1 not in steps and i + 1 not in steps:
            shares[i] = 1 / 12
    return shares


def _gaps_j2(window: Cut, steps_s: list[float]) -> float:
    usual_s = median(steps_s)
    holes_s = [step for step in steps_s if step > GAP_PERIODS * usual_s]
    if not holes_s:
        return 0.0
    mean_w = fmean(window.values)
    variance_w2 = fmean((value - mean_w) ** 2 for value in window.values)
    return variance_w2 * sum(hole * hole for hole in holes_s) / 2


def _delay_j(window: Cut) -> float:
    """Return ΔP·Tu of a power (see *Delay*), in J; a counter's delay is in its edges.

    ΔP takes the mean of the window or its last reading for P_end, whichever is farther from the reading before it.
    """
    series = window.series
    before_w, mean_w = series.values[window.first], energy_j(window) / window.duration_s
    change_w = max(abs(power_w - before_w) for power_w in (mean_w, series.values[window.last - 1]))
    return change_w * series.domain.update_s


def _counter_delay_j2(window: Cut) -> float:
    """Tu²·((P_end² + P_before²)/3 − P_end·P_before/2) of a counter (see *Delay*), in J²; P over two updates or more."""
    series, own_s = window.series, window.series.domain.update_s
    before_w = _power_beside_w(series, window.first, -1, 2 * own_s) or 0.0
    recent_w = _power_beside_w(series, window.last, -1, 2 * own_s) or 0.0
    end_w = max(energy_j(window) / window.duration_s, recent_w)
    return own_s * own_s * ((end_w**2 + before_w**2) / 3 - end_w * before_w / 2)


def _edge_j(window: Cut, index: int) -> float:
    """s·(1−s)·ΔP·Ts of the edge between samples `index` and `index` + 1 of a counter, ΔP inside less outside, in J."""
    series, place = window.series, _place(window, index)
    span_s = (series.t_ns[index + 1] - series.t_ns[index]) * 1e-9
    between_w = (series.values[index + 1] - series.values[index]) / span_s
    before_w, after_w = _power_beside_w(series, index, -1), _power_beside_w(series, index + 1, 1)
    change_w = (between_w if after_w is None else after_w) - (between_w if before_w is None else before_w)
    return place * (1.0 - place) * span_s * (change_w if index == window.first else -change_w)


def _step_share(window: Cut, index: int) -> float:
    """Return 1 − 2s(1−s) for such an edge where the counter has stepped between its samples, else 1."""
    values, place = window.series.values, _place(window, index)
    return 1.0 - 2.0 * place * (1.0 - place) if values[index + 1] != values[index] else 1.0


def _place(window: Cut, index: int) -> float:
    """Return s, or 1 − s, of the edge that lies between samples `index` and `index` + 1."""
    span_s = (window.series.t_ns[index + 1] - window.series.t_ns[index]) * 1e-9
    inner_s = window.t_s[1] if index == window.first else window.duration_s - window.t_s[-2]
    return min(1.0, inner_s / span_s)


def _power_beside_w(series: Series, index: int, way: Literal[-1, 1], least_s: float = 0.0) -> float | None:
    """Return a counter's mean power before (−1) or after (1) a sample, in W; None where nothing was read there.

    As near as can be: over the time asked for, and over as many of its steps as make a power of them.
    """
    count, least_j = len(series), _SEEN_STEPS * series.domain.resolution_j
    far, span_s, moved_j = index, 0.0, 0.0
    while 0 <= far + way < count and (far == index or span_s < least_s or moved_j < least_j):
        far += way
        span_s = abs(series.t_ns[far] - series.t_ns[index]) * 1e-9
        moved_j = abs(series.values[far] - series.values[index])
    return moved_j / span_s if span_s > 0.0 else None
