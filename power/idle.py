"""The idle level around a window, and how far it may be from the idle power inside the window.

The mean of the levels before and after stands for the idle power in between. A linear drift (a machine
that warms) leaves it right; noise and wandering do not: u² = (u_before² + u_after²)/4 + w². The idle power
is taken to wander as a random walk of q W²/s. Between two ends S apart its mean differs from the mean of the
ends by the variance q·S/12 (a Brownian bridge), and the mean of an idle window of length L differs from its
end by q·L/3, of which a quarter counts for each side: w² = q·(S + L_before + L_after)/12. With one side only
it is q·(S + L)/3.

The same model gives q: means of neighbouring blocks of length l differ by 2·q·l/3 (and the two inner ones, S
apart, by q·(S + 2·l/3)) more than their noise explains. Few differences make q itself uncertain, so w is
taken times t₀.₉₅(ν)/1.96 for the ν degrees of freedom that the differences really hold (JCGM 100:2008,
annex G). Where the noise hides the wandering the estimate of q may be 0 and its true value is not; q is then no
less than the mean of the normal distribution about its estimate, cut off below 0.
"""

from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from statistics import NormalDist, fmean

from power.integrate import Cut, cut, energy_j
from power.uncertainty import random_terms

#: An idle window is compared with itself in this many pieces.
_BLOCKS = 4
_ROUNDS = 8
#: Fewer degrees of freedom say nothing of a spread.
_MIN_FREEDOM = 3.0


@dataclass(frozen=True, slots=True)
class Idle:
    """The idle level around a window: its power, its variance (W²), and after − before where both exist."""

    power_w: float
    variance_w2: float
    drift_w: float | None


def idle_level(windows: list[Cut], window: Cut) -> Idle:
    """Return the idle level from one or two idle windows for the measured `window` between or beside them.

    The mean of two is the level in the middle of a linear drift; see the derivation above.
    """
    levels_w = [mean_power_w(idle) for idle in windows]
    noises_w2 = [_noise_w2(idle) for idle in windows]
    blocks = [block for idle in windows for block in _blocks(idle)]
    wander_w2_s = _random_walk(blocks)
    idle_s = sum(idle.duration_s for idle in windows)
    if len(windows) == 1:
        apart_s = max(window.t1_ns - windows[0].t1_ns, windows[0].t0_ns - window.t0_ns) * 1e-9
        reach_s, drift_w = (apart_s + idle_s) / 3, None
    else:
        reach_s = ((windows[1].t0_ns - windows[0].t1_ns) * 1e-9 + idle_s) / 12
        drift_w = levels_w[1] - levels_w[0]
    return Idle(fmean(levels_w), sum(noises_w2) / len(windows) ** 2 + wander_w2_s * reach_s, drift_w)


def student_95(freedom: float) -> float:
    """Return the 95 % factor of Student's distribution, within 1 % for 3 and more degrees of freedom."""
    n = freedom
    return 1.960 + 2.372 / n + 2.823 / n**2 + 2.556 / n**3 + 1.590 / n**4


def mean_power_w(window: Cut) -> float:
    """Return the mean power of a window, in W."""
    return energy_j(window) / window.duration_s


def _noise_w2(window: Cut) -> float:
    return (random_terms(window).standard_j / window.duration_s) ** 2


def _blocks(idle: Cut) -> list[Cut]:
    """Cut an idle window into `_BLOCKS` equal ones."""
    edges_ns = [idle.t0_ns + (idle.t1_ns - idle.t0_ns) * i // _BLOCKS for i in range(_BLOCKS + 1)]
    return [cut(idle.series, a, b) for a, b in pairwise(edges_ns)]


def _random_walk(blocks: list[Cut]) -> float:
    """Return q of the random walk through the blocks' mean powers, widened for how little they say of it, in W²/s.

    Each squared difference expects n + q·e (noise, and the walk over e seconds); the weights (e/(n + q·e))²
    of maximum likelihood depend on q, so it is found in a few rounds. (q·e/(n + q·e))² is the part of a
    degree of freedom that a difference contributes.
    """
    rows = [_difference(left, right) for left, right in pairwise(blocks)]
    q = sum(d2 for d2, _, _ in rows) / sum(e for _, _, e in rows)
    for _ in range(_ROUNDS):
        weights = [(e / (n + q * e)) ** 2 if n + q * e > 0.0 else 0.0 for _, n, e in rows]
        total = sum(weights)
        parts = zip(rows, weights, strict=True)
        q = max(0.0, sum(w * (d2 - n) / e for (d2, n, e), w in parts) / total) if total > 0.0 else 0.0
    freedom = sum((q * e / (n + q * e)) ** 2 for _, n, e in rows if n + q * e > 0.0)
    widened = q * (student_95(max(_MIN_FREEDOM, freedom)) / 1.96) ** 2
    return max(widened, _mean_above_0(rows, q))


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


def _difference(left: Cut, right: Cut) -> tuple[float, float, float]:
    """Return the squared difference of two blocks, its noise (both W²), and the walk's reach, in s."""
    apart_s = (right.t0_ns - left.t1_ns) * 1e-9
    reach_s = apart_s + (left.duration_s + right.duration_s) / 3
    return (mean_power_w(right) - mean_power_w(left)) ** 2, _noise_w2(left) + _noise_w2(right), reach_s
