"""The idle level around a window, and how far it may be from the idle power inside the window.

The mean of the levels before and after stands for the idle power in between. A linear drift (a machine
that warms) leaves it right; noise and wandering do not. Let f(s) be what an instant weighs in the energy that is asked
for: 1 in a window, 0 outside; 1/n and −1/m in two windows of which the energies a repetition are subtracted. The level
is taken off F = ∫ f ds times, so its noise errs by F²·(u_before² + u_after²)/4; where it lies between two steps of a
power is the same in both windows.

The idle power is taken to wander as a random walk W of q W²/s. Between two ends S apart the error is
∫ f·W ds − F·(W(0) + W(S))/2, of variance q·(F²·S/4 − D/2) with D = ∬ f(s)·f(t)·|s − t| ds dt. The mean of an idle
window of length L differs from its end by q·L/3, of which a quarter counts for each side. For one window of length T
(F = T, D = T³/3) that is q·T²·(S/4 − T/6 + (L_before + L_after)/12): a window that fills the gap errs by q·T²·S/12, as
a Brownian bridge does, a short one in a long gap by up to three times as much, wherever it lies. With one side only, s
counted from its end, it is q·(F·∫ f·s ds − D/2 + F²·L/3): for a window that begins A behind it q·T²·(A + T/3 + L/3).

The same model gives q: means of neighbouring blocks of length l differ by 2·q·l/3 (and the two inner ones, S
apart, by q·(S + 2·l/3)) more than their noise explains. Few differences make q itself uncertain: of ν degrees of
freedom that they really hold, the sum u² of all causes has ν·u⁴/w⁴ (Welch and Satterthwaite, JCGM 100:2008, G.4), w²
the walk's part of it, and u is taken times t₀.₉₅/1.96 for these; what that adds is put down to the idle level. Where
the noise hides the wandering the estimate of q may be 0 and its true value is not; q is then no less than the mean of
the normal distribution about its estimate, cut off below 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import inf, sqrt
from statistics import NormalDist, fmean

from power.integrate import Cut, cut, energy_j
from power.random_terms import random_terms
from power.uncertainty import Terms

#: An idle window is compared with itself in this many pieces.
_BLOCKS = 4
_ROUNDS = 8
#: Fewer degrees of freedom say nothing of a spread.
_MIN_FREEDOM = 3.0

#: A window (its begin and end, ns), and what each of its joules weighs.
Weighted = tuple[float, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Walk:
    """The q of an idle power's random walk as it is estimated, in W²/s, its degrees of freedom, and q's least value."""

    q_w2_s: float
    freedom: float
    least_w2_s: float


@dataclass(frozen=True, slots=True)
class Idle:
    """The idle level of one or two idle windows (ns): its power, its variance, and after − before where both exist."""

    power_w: float
    variance_w2: float
    drift_w: float | None
    walk: Walk
    windows: tuple[tuple[int, int], ...]

    def added_to(self, terms: Terms, parts: Sequence[Weighted]) -> Terms:
        """Return the terms of the net energy of windows between or beside the idle ones; `terms` are all others."""
        whole_s = sum(weight * (end - begin) * 1e-9 for weight, (begin, end) in parts)
        reach_s3, level_j2 = _reach_s3(parts, self.windows), self.variance_w2 * whole_s**2
        others_j2 = terms.standard_j**2 + level_j2
        walk_j2 = self.walk.q_w2_s * reach_s3
        if walk_j2 > 0.0:
            freedom = self.walk.freedom * ((others_j2 + walk_j2) / walk_j2) ** 2
            walk_j2 = (others_j2 + walk_j2) * (student_95(freedom) / student_95(inf)) ** 2 - others_j2
        return replace(terms, idle_j=sqrt(level_j2 + max(walk_j2, self.walk.least_w2_s * reach_s3)))


def idle_level(windows: Sequence[Cut]) -> Idle:
    """Return the idle level from one or two idle windows.

    The mean of two is the level in the middle of a linear drift; see the derivation above.
    """
    levels_w = [mean_power_w(idle) for idle in windows]
    variance_w2 = sum(_noise_w2(idle) for idle in windows) / len(windows) ** 2
    step_w = windows[0].series.domain.resolution_w
    return Idle(
        power_w=fmean(levels_w),
        variance_w2=variance_w2 + step_w * step_w / 12,
        drift_w=levels_w[1] - levels_w[0] if len(windows) == 2 else None,
        walk=_random_walk([block for idle in windows for block in _blocks(idle)]),
        windows=tuple((idle.t0_ns, idle.t1_ns) for idle in windows),
    )


def _reach_s3(parts: Sequence[Weighted], idle: Sequence[tuple[int, int]]) -> float:
    """Return what q is to be multiplied with (see the derivation), in s³ where the weights have no unit."""
    (begin_ns, end_ns), *others = idle
    # In s from the end of the (first) idle window, or backwards from the begin of the only one, which lies behind.
    sign, zero_ns = (1e-9, end_ns) if parts[0][1][0] >= begin_ns else (-1e-9, begin_ns)
    spans = [(weight, [sign * (t_ns - zero_ns) for t_ns in window]) for weight, window in parts]
    whole_s = sum(weight * abs(b - a) for weight, (a, b) in spans)
    spread_s3 = sum(v * w * _distance_s3(*one, *other) for v, one in spans for w, other in spans)
    idle_s = sum((end - begin) * 1e-9 for begin, end in idle)
    if others:
        apart_s = (others[0][0] - end_ns) * 1e-9
        return max(0.0, whole_s**2 * (apart_s / 4 + idle_s / 12) - spread_s3 / 2)
    moment_s2 = sum(weight * abs(b * b - a * a) / 2 for weight, (a, b) in spans)
    return max(0.0, whole_s * (moment_s2 + whole_s * idle_s / 3) - spread_s3 / 2)


def _distance_s3(a: float, b: float, c: float, d: float) -> float:
    """Return ∬ |s − t| over s in a … b and t in c … d, by the second antiderivative of |x|."""
    return (abs(b - c) ** 3 - abs(a - c) ** 3 - abs(b - d) ** 3 + abs(a - d) ** 3) / 6


def student_95(freedom: float) -> float:
    """Return the 95 % factor of Student's distribution, within 1 % for 3 and more degrees of freedom."""
    n = freedom
    return 1.960 + 2.372 / n + 2.823 / n**2 + 2.556 / n**3 + 1.590 / n**4


def mean_power_w(window: Cut) -> float:
    """Return the mean power of a window, in W."""
    return energy_j(window) / window.duration_s


def _noise_w2(window: Cut) -> float:
    """Return the variance of a mean power, in W²; not of where it lies in its step, which is alike in all windows."""
    return (replace(random_terms(window), resolution_j=0.0).standard_j / window.duration_s) ** 2


def _blocks(idle: Cut) -> list[Cut]:
    """Cut an idle window into `_BLOCKS` equal ones."""
    edges_ns = [idle.t0_ns + (idle.t1_ns - idle.t0_ns) * i // _BLOCKS for i in range(_BLOCKS + 1)]
    return [cut(idle.series, a, b) for a, b in pairwise(edges_ns)]


def _random_walk(blocks: list[Cut]) -> Walk:
    """Return the random walk through the blocks' mean powers.

    Each squared difference expects n + q·e (noise, and the walk over e seconds); the weights (e/(n + q·e))²
    of maximum likelihood depend on q, so it is found in a few rounds. (q·e/(n + q·e))² is the part of a
    degree of freedom that a difference contributes.
    """
    rows = _differences(blocks)
    q = sum(d2 for d2, _, _ in rows) / sum(e for _, _, e in rows)
    for _ in range(_ROUNDS):
        weights = [(e / (n + q * e)) ** 2 if n + q * e > 0.0 else 0.0 for _, n, e in rows]
        total = sum(weights)
        parts = zip(rows, weights, strict=True)
        q = max(0.0, sum(w * (d2 - n) / e for (d2, n, e), w in parts) / total) if total > 0.0 else 0.0
    freedom = sum((q * e / (n + q * e)) ** 2 for _, n, e in rows if n + q * e > 0.0)
    return Walk(q, max(_MIN_FREEDOM, freedom), _mean_above_0(rows, q))


def _mean_above_0(rows: list[tuple[float, float, float]], q: float) -> float:
    """Return the mean of what q may be, in W²/s: normal about its estimate, of variance 2/Σw, and cut off below 0.

    The estimate is that of the differences at the weights w = (e/(n + q·e))², not raised to 0.
    """
    weights = [(e / (n + q * e)) ** 2 if n + q * e > 0.0 else 0.0 for _, n, e in rows]
    total = sum(weights)
    if total == 0.0:
        return q
    estimate = sum(w * (d2 - n) / e for (d2, n, e), w in zip(rows, weights, strict=True)) / total
    deviation, normal = sqrt(2 / total), NormalDist()
    place = max(-3.0, estimate / deviation)  # noise that was taken for too much says nothing more of q
    return deviation * (place + normal.pdf(place) / normal.cdf(place))


def _differences(blocks: list[Cut]) -> list[tuple[float, float, float]]:
    """Return of each two neighbours the squared difference, its noise (both W²), and the walk's reach, in s."""
    powers_w, noises_w2 = [mean_power_w(block) for block in blocks], [_noise_w2(block) for block in blocks]
    squares_w2 = [(right - left) ** 2 for left, right in pairwise(powers_w)]
    reaches_s = [
        (right.t0_ns - left.t1_ns) * 1e-9 + (left.duration_s + right.duration_s) / 3
        for left, right in pairwise(blocks)
    ]
    return list(zip(squares_w2, map(sum, pairwise(noises_w2)), reaches_s, strict=True))
