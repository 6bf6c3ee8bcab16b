"""Known loads: a power that is constant in pieces, so that its energy is exact at any instant.

Shapes that a meter can get wrong: steps at random places, a periodic load faster or slower than it samples, a ramp,
and for the machine at idle a random walk.
"""

import random
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Literal, NamedTuple

Load = Literal["constant", "steps", "periodic", "ramp"]
LOADS: tuple[Load, ...] = ("constant", "steps", "periodic", "ramp")

#: Steps of a ramp and of a wandering power, in s, and how many of the latter a run has at most.
_RAMP_STEP_S, _WALK_STEP_S, _WALK_STEPS = 0.05, 0.1, 200


class Piece(NamedTuple):
    """A power, in W, from where the piece before it ends (the first: 0) until `until_s`."""

    until_s: float
    power_w: float


class Curve:
    """Pieces one after the other, from 0, that can be asked for their power at, and energy until, any instant."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self.pieces = tuple(pieces)
        self._ends_s = [piece.until_s for piece in self.pieces[:-1]]
        self._from_s = [0.0, *self._ends_s]
        spans = zip(self._from_s, self.pieces, strict=True)
        self._energy_j = list(accumulate(((p.until_s - t) * p.power_w for t, p in spans), initial=0.0))
        self._power_w = [piece.power_w for piece in self.pieces]

    def __add__(self, other: "Curve") -> "Curve":
        """Return the two powers together, until the end of the one that ends first."""
        end_s = min(self.pieces[-1].until_s, other.pieces[-1].until_s)
        both = {piece.until_s for curve in (self, other) for piece in curve.pieces}
        until_s = sorted(t for t in both if t <= end_s)
        from_s = [0.0, *until_s[:-1]]
        powers_w = map(sum, zip(self.powers_w(from_s), other.powers_w(from_s), strict=True))
        return Curve([Piece(*each) for each in zip(until_s, powers_w, strict=True)])

    def energy_j(self, t_s: float) -> float:
        """Return the energy from 0 to an instant, in J."""
        return self.energies_j([t_s])[0]

    def powers_w(self, times_s: Sequence[float]) -> list[float]:
        """Return the powers at instants, in W."""
        return [self._power_w[i] for i in self._places(times_s)]

    def energies_j(self, times_s: Sequence[float]) -> list[float]:
        """Return the energies from 0 to instants, in J."""
        begins_s, energies_j, powers_w = self._from_s, self._energy_j, self._power_w
        places = zip(times_s, self._places(times_s), strict=True)
        return [energies_j[i] + (t - begins_s[i]) * powers_w[i] for t, i in places]

    def _places(self, times_s: Sequence[float]) -> list[int]:
        """Return each instant's piece: the first before 0, the last behind the end, at an end the next one."""
        ends_s = self._ends_s
        return [bisect_right(ends_s, t) for t in times_s]


def drawn(rng: random.Random, load: Load, begin_s: float, end_s: float, high_w: float) -> list[Piece]:
    """Draw a load of a shape between two instants, at most `high_w`."""
    if load == "steps":
        times_s = [*sorted(rng.uniform(begin_s, end_s) for _ in range(rng.randint(1, 10))), end_s]
        return [Piece(t, rng.uniform(0.2, 1.0) * high_w) for t in times_s]
    if load == "periodic":
        return _periodic(rng, begin_s, end_s, high_w)
    if load == "ramp":
        count = int((end_s - begin_s) / _RAMP_STEP_S)
        times_s = [*(begin_s + i * _RAMP_STEP_S for i in range(1, count)), end_s]
        return [Piece(t, high_w * (0.3 + 0.7 * i / count)) for i, t in enumerate(times_s)]
    return [Piece(end_s, high_w)]


def _periodic(rng: random.Random, begin_s: float, end_s: float, high_w: float) -> list[Piece]:
    period_s, share = 2 * rng.uniform(0.01, 0.4), rng.uniform(0.2, 0.8)
    low_w = rng.uniform(0.0, 0.7) * high_w
    count = int((end_s - begin_s) / period_s) + 1
    times_s = [begin_s + (i + part) * period_s for i in range(count) for part in (share, 1.0)]
    inside_s = [t for t in times_s if t < end_s]
    return [Piece(t, low_w if i % 2 else high_w) for i, t in enumerate([*inside_s, end_s])]


def wandering(rng: random.Random, level_w: float, wander_w: float, total_s: float) -> Curve:
    """Draw a power that walks at random by `wander_w` (standard deviation) in a second."""
    step_s = max(_WALK_STEP_S, total_s / _WALK_STEPS)
    changes_w = (rng.gauss(0.0, wander_w * step_s**0.5) for _ in range(int(total_s / step_s) + 20))
    powers_w = accumulate(changes_w, initial=level_w)
    return Curve([Piece((i + 1) * step_s, power_w) for i, power_w in enumerate(powers_w)])
