"""How far an energy may be from the truth, derived from the samples and the meter's data sheet.

The method is that of the *Guide to the expression of uncertainty in measurement* (JCGM 100:2008): a
standard uncertainty u for every cause, summed in squares, times a coverage factor for 95 %.

**Gain** (±g relative): u = g·|E| / √3, a rectangular distribution (JCGM 100, 4.3.7). The net energy
E − P_idle·T is wrong by the same factor, so its |E| is the net one.

**Offset** (±o in W): u = o·T / √3 for the gross energy. A constant offset is in the idle level too and
leaves the net energy.

**Resolution** (q): a power read in steps of q may sit anywhere in its step all the while: u = q·T / √12.
A counter is wrong at its two edges only, by two rectangular causes whose difference is triangular: u = q·√(2/12). An
edge that is interpolated between two readings, s of the way from one to the other, errs by less where the counter has
stepped between them, as if they were wrong independently: (1−s)² + s² = 1 − 2s(1−s) times the variance.

**Edges.** A load that changes by ΔP at a random place between two samples Ts apart: the trapezoid puts the
change in the middle and errs by ΔP·Ts·(v − 1/2) with v uniform in 0 … 1, variance ΔP²·Ts²/12. A window
has two edges: u = ΔP·Ts·√(2/12). Here each edge takes the ΔP and the Ts it was really seen with; Ts is at
least the meter's own update time. For a counter the place of the edge between its neighbours is known: with
a load that changes exactly there (as it does: the window is the load), the interpolated energy errs by
s·(1−s)·ΔP·Ts, s being the edge's place in 0 … 1; on average that is ΔP·Ts/√30 and vanishes when the
counter is read at the mark.
Where the load changes exactly at the mark, edges do not err independently: what is more inside than outside is lost at
either edge, and lost again in the next window. A trapezoid then errs by −ΔP·Ts·(1−s)²/2, which is −ΔP·Ts/6 in the mean
and leaves 1/45 of ΔP²·Ts² about it. So half of an edge's variance is its own, (ΔP·Ts/6)², and half is alike at all, in
the direction of ΔP (power inside less outside): (2/6)² + 2/36 = 2/12 for a window that is the load. A counter's edges
likewise: s·(1−s)·ΔP·Ts/√2 is an edge's own, and as much is alike.

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

**Idle.** The level and its variance are derived in `power.idle`.

**Sums and differences of windows**, each energy times a weight w: 1 for stretches of one window; 1/n and −1/m for
what a repetition of one phase costs beyond that of another. The gain, the offset and the alike half of the edges err
with the same sign in all and are added with that of w: they partly cancel in a difference. So may the resolution of a
power and its delay, but need not: they are added without a sign. The edges' own half, a counter's steps and sampling
are independent: squares are added. The idle level is common, the wandering about it in part (`power.idle`).

**Coverage.** k = 1.96 for a normal sum; a sum ruled by one rectangular cause needs less (1.65). With the
excess kurtosis η of the sum (η = Σ ηᵢuᵢ⁴/u⁴, −1.2 for a rectangular cause, −0.6 for a triangular one, else 0) we take
k = 1.96 − 0.22·η², which is within 2 % of the exact factor for one rectangular cause and for two equal ones.

The spread between repeats is not here: it is a property of many trials, computed where they are compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import hypot, sqrt

from power.base import Domain

#: Excess kurtosis of a rectangular distribution, and of a triangular one, the difference of two alike.
_RECTANGULAR, _TRIANGULAR = -1.2, -0.6


@dataclass(frozen=True, slots=True)
class Terms:
    """Standard uncertainties by cause, in J; but `delay_j` is a limit (see *Delay*).

    `resolution_j` is that of a power, `steps_j` that of a counter; `edges_j` is the edges' own half, `alike_j` the
    other one, signed.
    """

    gain_j: float = 0.0
    offset_j: float = 0.0
    resolution_j: float = 0.0
    steps_j: float = 0.0
    edges_j: float = 0.0
    alike_j: float = 0.0
    delay_j: float = 0.0
    sampling_j: float = 0.0
    idle_j: float = 0.0

    @property
    def standard_j(self) -> float:
        """The combined standard uncertainty u, without the delay, in J."""
        systematic = (self.gain_j, self.offset_j, self.resolution_j, self.idle_j)
        return hypot(*systematic, self.steps_j, self.edges_j, self.alike_j, self.sampling_j)

    @property
    def expanded_j(self) -> float:
        """Half the width of the 95 % interval, in J: k·u with the kurtosis-dependent k, and the delay."""
        u = self.standard_j
        if u == 0.0:
            return self.delay_j
        rectangular = sum((part / u) ** 4 for part in (self.gain_j, self.offset_j, self.resolution_j))
        excess = _RECTANGULAR * rectangular + _TRIANGULAR * (self.steps_j / u) ** 4
        return (1.96 - 0.22 * excess * excess) * u + self.delay_j

    def by_cause(self) -> dict[str, float]:
        """Return the terms as the record has them: one for the edges, and one for what the meter cannot resolve."""
        return {
            "gain_j": self.gain_j,
            "offset_j": self.offset_j,
            "resolution_j": hypot(self.resolution_j, self.steps_j),
            "edges_j": hypot(self.edges_j, self.alike_j),
            "delay_j": self.delay_j,
            "sampling_j": self.sampling_j,
            "idle_j": self.idle_j,
        }


def gross_terms(domain: Domain, gross_j: float, duration_s: float, random: Terms) -> Terms:
    """Return all terms of a gross energy over a time, in J; `random` are those of `random_terms`."""
    gain_j = domain.gain_limit * abs(gross_j) / sqrt(3)
    return replace(random, gain_j=gain_j, offset_j=domain.offset_limit_w * abs(duration_s) / sqrt(3))


def net_terms(domain: Domain, net_j: float, random: Terms) -> Terms:
    """Return the terms of a net energy, in J, without that of the idle level (`power.idle`)."""
    return replace(random, gain_j=domain.gain_limit * abs(net_j) / sqrt(3))


def weighted_terms(parts: Sequence[tuple[float, Terms]]) -> Terms:
    """Return what `random_terms` gave for some windows as one, each times its weight (see *Sums and differences*)."""
    return Terms(
        resolution_j=sum(abs(weight) * terms.resolution_j for weight, terms in parts),
        steps_j=hypot(*(weight * terms.steps_j for weight, terms in parts)),
        edges_j=hypot(*(weight * terms.edges_j for weight, terms in parts)),
        alike_j=sum(weight * terms.alike_j for weight, terms in parts),
        delay_j=sum(abs(weight) * terms.delay_j for weight, terms in parts),
        sampling_j=hypot(*(weight * terms.sampling_j for weight, terms in parts)),
    )
