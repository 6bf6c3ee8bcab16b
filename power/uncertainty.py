"""How far an energy may be from the truth, derived from the samples and the meter's data sheet.

The method is that of the *Guide to the expression of uncertainty in measurement* (JCGM 100:2008): a
standard uncertainty u for every cause, summed in squares, times a coverage factor for 95 %.

**Gain** (±g relative): u = g·|E| / √3, a rectangular distribution (JCGM 100, 4.3.7). The net energy
E − P_idle·T is wrong by the same factor, so its |E| is the net one.

**Offset** (±o in W): u = o·T / √3 for the gross energy. A constant offset is in the idle level too and
leaves the net energy.

**Resolution** (q): a power read in steps of q may sit anywhere in its step all the while: u = q·T / √12.
A counter is wrong at its two edges only: u = q·√(2/12).

**Edges.** A load that changes by ΔP at a random place between two samples Ts apart: the trapezoid puts the
change in the middle and errs by ΔP·Ts·(v − 1/2) with v uniform in 0 … 1, variance ΔP²·Ts²/12. A window
has two edges: u = ΔP·Ts·√(2/12). Here each edge takes the ΔP and the Ts it was really seen with; Ts is at
least the meter's own update time. For a counter the place of the edge between its neighbours is known: with
a load that changes exactly there (as it does: the window is the load), the interpolated energy errs by
s·(1−s)·ΔP·Ts, s being the edge's place in 0 … 1; on average that is ΔP·Ts/√30 and vanishes when the
counter is read at the mark.

**Delay.** A power that the meter holds until its next update Tu is 0 … Tu old; one that it averages over Tu
and then holds is Tu old in the mean. It is the power D ago, so a window misses D·(P_end − P_before) = D·ΔP: its
first D still shows what was before it, its last D is shown after its end. What the meter does inside is not known,
so no correction can be applied, and the limit ΔP·Tu is not halved into a standard uncertainty either: a meter that
averages sits at the limit in every run, so that no spread would cover it. It is added to the interval as it is
(JCGM 100, F.2.4.5); the interval of a meter that holds is wider than it need be. Where the load was running
before the window ΔP is about 0, and so is the term.
A counter is 0 … Tu old at either edge, a and b independent and rectangular (4.3.7): E[(P_end·a − P_before·b)²] =
Tu²·((P_end² + P_before²)/3 − P_end·P_before/2), which is P²·Tu²·2/12 in a steady load and P_end²·Tu²/3 after
nothing; it is in the edges.

**Sampling inside the window.** Each change d between neighbouring samples Δt apart errs in one of two ways.
A lone step is the edge again: d²·Δt²/12. Where the load varies faster than the meter samples (or the meter
is noisy), samples are random draws; n draws of variance σ² = E[d²]/2 give the variance n·σ²·Ts², which is
the sum of d²·Δt²/2. A change is taken for a lone step where it stands out (five robust deviations) and
neither neighbour does; everything else takes the larger value.

**Gaps.** Over a hole in the samples the load is only known by its variance in the window: u² = σ²·Δt²/2 more
for every hole (two random draws stand for its mean).

**Idle.** u = T·u(P_idle); the level and its variance are derived in `power.idle`.

**Coverage.** k = 1.96 for a normal sum; a sum ruled by one rectangular cause needs less (1.65). With the
excess kurtosis η of the sum (η = Σ ηᵢuᵢ⁴/u⁴, −1.2 for a rectangular cause, 0 otherwise) we take
k = 1.96 − 0.22·η², which is within 2 % of the exact factor for one rectangular cause and for two equal ones.

The spread between repeats is not here: it is a property of many trials, computed where they are compared.
"""

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from statistics import fmean, median

from power.integrate import GAP_PERIODS, Cut, energy_j
from power.series import Series

#: Excess kurtosis of a rectangular distribution.
_RECTANGULAR = -1.2


@dataclass(frozen=True, slots=True)
class Terms:
    """Standard uncertainties by cause, in J; but `delay_j` is a limit (see *Delay*)."""

    gain_j: float = 0.0
    offset_j: float = 0.0
    resolution_j: float = 0.0
    edges_j: float = 0.0
    delay_j: float = 0.0
    sampling_j: float = 0.0
    idle_j: float = 0.0

    @property
    def standard_j(self) -> float:
        """The combined standard uncertainty u, without the delay, in J."""
        return sqrt(sum(part * part for part, _ in self._parts()))

    @property
    def expanded_j(self) -> float:
        """Half the width of the 95 % interval, in J: k·u with the kurtosis-dependent k, and the delay."""
        u = self.standard_j
        if u == 0.0:
            return self.delay_j
        excess = sum(kurtosis * (part / u) ** 4 for part, kurtosis in self._parts())
        return (1.96 - 0.22 * excess * excess) * u + self.delay_j

    def _parts(self) -> tuple[tuple[float, float], ...]:
        rectangular = (self.gain_j, self.offset_j, self.resolution_j)
        normal = (self.edges_j, self.sampling_j, self.idle_j)
        return (*((part, _RECTANGULAR) for part in rectangular), *((part, 0.0) for part in normal))


def random_terms(window: Cut) -> Terms:
    """Return the terms that come from sampling: edges and the inside, in J."""
    if window.series.domain.kind == "energy":
        return Terms(edges_j=sqrt(counter_edges_j2(window)))
    edges_j2, inside_j2 = power_variances_j2(window)
    return Terms(edges_j=sqrt(edges_j2), sampling_j=sqrt(inside_j2))


def gross_terms(window: Cut) -> Terms:
    """Return all terms of the gross energy of a window, in J."""
    domain, random, duration_s = window.series.domain, random_terms(window), window.duration_s
    return Terms(
        gain_j=domain.gain_limit * abs(energy_j(window)) / sqrt(3),
        offset_j=domain.offset_limit_w * duration_s / sqrt(3),
        resolution_j=_resolution_j(window),
        edges_j=random.edges_j,
        delay_j=_delay_j(window),
        sampling_j=random.sampling_j,
    )


def net_terms(window: Cut, idle_w: float, idle_variance_w2: float) -> Terms:
    """Return all terms of the net energy of a window above an idle level (W, W²), in J."""
    domain, random, duration_s = window.series.domain, random_terms(window), window.duration_s
    net_j = energy_j(window) - idle_w * duration_s
    return Terms(
        gain_j=domain.gain_limit * abs(net_j) / sqrt(3),
        resolution_j=_resolution_j(window),
        edges_j=random.edges_j,
        delay_j=_delay_j(window),
        sampling_j=random.sampling_j,
        idle_j=sqrt(idle_variance_w2) * duration_s,
    )


def power_variances_j2(window: Cut) -> tuple[float, float]:
    """Return the variances of the two edges and of the inside of a trapezoid, in J²."""
    values = window.series.values[window.first : window.last + 1]
    changes_w = [q - p for p, q in pairwise(values)]
    own_s = window.series.domain.update_s
    steps_s = [max(step, own_s) for step in window.steps_s()]
    shares = _shares(changes_w)
    parts = [(d * t) ** 2 * share for d, t, share in zip(changes_w, steps_s, shares, strict=True)]
    ends = {0, len(parts) - 1}
    edges_j2 = sum((changes_w[i] * steps_s[i]) ** 2 / 12 for i in ends)
    inside_j2 = sum(part for i, part in enumerate(parts) if i not in ends)
    return edges_j2, inside_j2 + _gaps_j2(window, steps_s)


def counter_edges_j2(window: Cut) -> float:
    """Return the variance of the interpolated edges of a counter, in J²."""
    own_j2 = _counter_delay_j2(window)
    return own_j2 + _edge_j2(window, window.first) + _edge_j2(window, window.last - 1)


def _delay_j(window: Cut) -> float:
    """Return ΔP·Tu of a power (see *Delay*), in J; a counter's delay is in its edges.

    ΔP takes the mean of the window or its last reading for P_end, whichever is farther from the reading before it.
    """
    series = window.series
    if series.domain.kind == "energy":
        return 0.0
    before_w, mean_w = series.values[window.first], energy_j(window) / window.duration_s
    change_w = max(abs(power_w - before_w) for power_w in (mean_w, series.values[window.last - 1]))
    return change_w * series.domain.update_s


def _counter_delay_j2(window: Cut) -> float:
    """Tu²·((P_end² + P_before²)/3 − P_end·P_before/2) of a counter (see *Delay*), in J²."""
    series, own_s = window.series, window.series.domain.update_s
    before_w = _recent_power_w(series, window.first)
    end_w = max(energy_j(window) / window.duration_s, _recent_power_w(series, window.last))
    return own_s * own_s * ((end_w**2 + before_w**2) / 3 - end_w * before_w / 2)


def _recent_power_w(series: Series, index: int) -> float:
    """Return a counter's mean power in the two updates before a sample, in W; 0 where it was not yet read."""
    since_ns = series.t_ns[index] - round(2e9 * series.domain.update_s)
    early = bisect_right(series.t_ns, since_ns, 0, index) - 1
    if early < 0:
        return 0.0
    return (series.values[index] - series.values[early]) / ((series.t_ns[index] - series.t_ns[early]) * 1e-9)


def _edge_j2(window: Cut, index: int) -> float:
    """(s·(1−s)·ΔP·Ts)² of the edge between samples `index` and `index` + 1 of a counter."""
    series = window.series
    span_s = (series.t_ns[index + 1] - series.t_ns[index]) * 1e-9
    inner_s = window.t_s[1] if index == window.first else window.duration_s - window.t_s[-2]
    place = min(1.0, inner_s / span_s)
    near = [i for i in (index - 1, index, index + 1) if 0 <= i < len(series) - 1]
    powers_w = [_mean_power_w(window, i) for i in near]
    change_w = max(powers_w) - min(powers_w)
    return (place * (1.0 - place) * change_w * span_s) ** 2


def _mean_power_w(window: Cut, index: int) -> float:
    t_ns, values = window.series.t_ns, window.series.values
    return (values[index + 1] - values[index]) / ((t_ns[index + 1] - t_ns[index]) * 1e-9)


def _shares(changes_w: list[float]) -> list[float]:
    """Return 1/12 for a lone step, 1/2 for every other change (see *Sampling inside the window*)."""
    robust_w = 1.4826 * median(abs(d) for d in changes_w)
    steps = [False, *(abs(d) > 5.0 * robust_w for d in changes_w), False]
    lone = [steps[i] and not steps[i - 1] and not steps[i + 1] for i in range(1, len(steps) - 1)]
    return [1 / 12 if alone else 1 / 2 for alone in lone]


def _gaps_j2(window: Cut, steps_s: list[float]) -> float:
    usual_s = median(steps_s)
    holes_s = [step for step in steps_s if step > GAP_PERIODS * usual_s]
    if not holes_s:
        return 0.0
    mean_w = fmean(window.values)
    variance_w2 = fmean((value - mean_w) ** 2 for value in window.values)
    return variance_w2 * sum(hole * hole for hole in holes_s) / 2


def _resolution_j(window: Cut) -> float:
    domain = window.series.domain
    if domain.kind == "energy":
        return domain.resolution_j * sqrt(2 / 12)
    return domain.resolution_w * window.duration_s / sqrt(12)
