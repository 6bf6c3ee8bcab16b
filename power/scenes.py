"""Runs that never were: when their windows are, what the machine draws, and what meter watches it.

A run is idle, then a measured window (evaluations may interrupt it), then, where asked for, windows of repeated phases,
and idle again. A `Setup` is the ranges that all this is drawn from; everything comes from one seed.
"""

import random
from dataclasses import dataclass, replace
from typing import Literal

from power.base import Domain, Kind
from power.profiles import LOADS, Curve, Load, Piece, drawn, wandering
from power.window import IdleWindows, Window

KINDS: tuple[Kind, ...] = ("power", "energy")

#: What a meter answers: the value of now, that of its last update, or (a power) its mean over the last update.
Response = Literal["instant", "held", "averaged"]
RESPONSES: dict[Kind, tuple[Response, ...]] = {
    "power": ("instant", "held", "averaged"),
    "energy": ("instant", "held"),
}
#: Updates in a window, and a longest update (s) that leaves twenty in the shortest idle window.
_MIN_UPDATES, _MAX_UPDATE_S = 110, 0.13
#: Updates of a meter that answers the value of now, by its kind, in s.
_OWN_S: dict[Kind, float] = {"power": 0.0, "energy": 1e-3}
#: Idle windows end so long before the work, and begin so long after it, in s; five polls lie on their other side.
_APART_S = 0.2

Range = tuple[float, float]
Span = tuple[float, float]

SECOND = 1_000_000_000
_ORIGIN_NS = 1_000 * SECOND


@dataclass(frozen=True, slots=True)
class Setup:
    """What runs are drawn from: least and most, in the units of the names.

    `stretches` is how many stretches of training the measured window has, `pause_s` the evaluations between them;
    `phases` how many windows of repetitions follow, each after a first one of `first_s` and with a load of its own, a
    share of one that they have in common. `own_s` is a meter's time between updates where it is not drawn. The meter's
    gain error goes from one of its limits to the other `gain_turns_hz` times a second.
    """

    idle_s: Range = (4.0, 8.0)
    stretch_s: Range = (8.0, 25.0)
    stretches: tuple[int, int] = (1, 1)
    pause_s: Range = (0.3, 2.0)
    phases: int = 0
    first_s: Range = (0.01, 0.5)
    phase_share: Range = (0.7, 1.0)
    idle_w: Range = (1.0, 5.0)
    wander_w: Range = (0.0, 0.05)
    load_w: Range = (2.0, 20.0)
    rate_hz: Range = (15.0, 30.0)
    noise_w: Range = (0.0, 0.3)
    own_s: float | None = None
    step_j: float = 6.1e-5
    wraps: bool = True
    gain_limit: Range = (0.0, 0.01)
    gain_turns_hz: Range = (0.0, 0.0)
    offset_limit_w: Range = (0.0, 0.05)


PLAIN = Setup()
#: Each window hardly longer than a meter needs: many runs in little time.
BRIEF = Setup(idle_s=(2.5, 4.0), stretch_s=(3.0, 5.0), rate_hz=(40.0, 60.0))
#: A gain that drifts while the run lasts, through a part of its limits or all of them.
DRIFTING = replace(BRIEF, gain_turns_hz=(1 / 600, 1 / 15))
#: Evaluations in the window and three phases after it, idle about as long as by default on either side.
STAGED = Setup(idle_s=(8.0, 10.0), stretch_s=(3.3, 3.9), stretches=(2, 3), phases=3, rate_hz=(33.0, 36.0))
#: A register in mWh as the USB meters have, watched for as long as its steps of 3.6 J need. The idle power wanders
#: enough for them to show it; where they cannot, the interval is wider than it need be (`power/idle.py`).
REGISTER = Setup(
    idle_s=(35.0, 50.0), stretch_s=(35.0, 60.0), idle_w=(12.0, 16.0), wander_w=(0.0, 0.08), load_w=(5.0, 40.0),
    rate_hz=(5.0, 8.0), own_s=0.1, step_j=3.6, wraps=False, gain_limit=(0.0, 0.003),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scene:
    """One run: what the machine draws (idle and load apart), when its windows are, in s, and the meter's nature.

    `stretches` of training make up the measured window; `repeated` are the windows of phases, each with its count.
    """

    idle: Curve
    load: Curve
    stretches: tuple[Span, ...]
    repeated: tuple[tuple[Span, int], ...]
    total_s: float
    domain: Domain
    rate_hz: float
    noise_w: float
    dropout: float
    skew_ppm: float
    response: Response
    gain_turns_hz: float = 0.0

    @property
    def window(self) -> Window:
        """The measured window, evaluations included, in ns."""
        return ns((self.stretches[0][0], self.stretches[-1][1]))

    @property
    def pauses(self) -> list[Window]:
        """The evaluations in the measured window, in ns."""
        ends = zip(self.stretches, self.stretches[1:], strict=False)
        return [ns((before[1], after[0])) for before, after in ends]

    @property
    def idle_windows(self) -> IdleWindows:
        """The idle windows before and after, in ns; that after a meter of updates begins right behind the work."""
        end_s = self.repeated[-1][0][1] if self.repeated else self.stretches[-1][1]
        late_s, polls_s = _APART_S if self.response == "instant" else 0.0, 5.0 / self.rate_hz
        before = ns((polls_s, self.stretches[0][0] - _APART_S))
        return before, ns((end_s + late_s, self.total_s - polls_s))

    def true_net_j(self, *spans: Span) -> float:
        """Return the energy of the load alone in some spans (s), by default the stretches of training, in J."""
        return sum(self.load.energy_j(b) - self.load.energy_j(a) for a, b in spans or self.stretches)

    def true_gross_j(self, *spans: Span) -> float:
        """Return the energy of load and idle together in them, in J."""
        idle_j = sum(self.idle.energy_j(b) - self.idle.energy_j(a) for a, b in spans or self.stretches)
        return self.true_net_j(*spans) + idle_j


def ns(span_s: Span) -> Window:
    """Return a span of the run (s) as a window of the clock (ns)."""
    return instant_ns(span_s[0]), instant_ns(span_s[1])


def instant_ns(t_s: float) -> int:
    """Return an instant of the run (s) by the clock (ns)."""
    return _ORIGIN_NS + round(t_s * SECOND)


def draw_scene(
    seed: int,
    load: Load | None = None,
    kind: Kind | None = None,
    response: Response | None = None,
    setup: Setup = PLAIN,
) -> Scene:
    """Draw a run: a load of the given shape (or any), a meter of the given kind and response (or any)."""
    rng = random.Random(seed)
    shape: Load = rng.choice(LOADS) if load is None else load
    nature: Kind = rng.choice(KINDS) if kind is None else kind
    begin_s = rng.uniform(*setup.idle_s)
    stretches, stretched = _draw_stretches(rng, setup, shape, begin_s)
    repeated, phased = _draw_phases(rng, setup, shape, stretches[-1][1])
    worked = [Piece(begin_s, 0.0), *stretched, *phased]
    total_s = worked[-1].until_s + rng.uniform(*setup.idle_s)
    shortest_s = min(b - a for a, b in [*stretches, *(span for span, _ in repeated)])
    answers, own_s = _draw_response(seed, nature, shortest_s, response, setup.own_s)
    return Scene(
        idle=wandering(rng, rng.uniform(*setup.idle_w), rng.uniform(*setup.wander_w), total_s),
        load=Curve([*worked, Piece(total_s + 1.0, 0.0)]),
        stretches=stretches,
        repeated=repeated,
        total_s=total_s,
        domain=_draw_domain(rng, setup, nature, own_s),
        rate_hz=rng.uniform(*setup.rate_hz),
        noise_w=rng.uniform(*setup.noise_w),
        dropout=rng.choice((0.0, 0.0, 0.02)),
        skew_ppm=rng.uniform(-50.0, 50.0),
        response=answers,
        gain_turns_hz=rng.uniform(*setup.gain_turns_hz),
    )


def _draw_stretches(
    rng: random.Random, setup: Setup, shape: Load, t_s: float
) -> tuple[tuple[Span, ...], list[Piece]]:
    """Draw the stretches of training from `t_s` on, of one load, and evaluations of a steady one between them."""
    high_w, spans, pieces = rng.uniform(*setup.load_w), list[Span](), list[Piece]()
    for place in range(rng.randint(*setup.stretches)):
        if place > 0:
            pieces.append(Piece(t_s := t_s + rng.uniform(*setup.pause_s), rng.uniform(*setup.load_w)))
        spans.append((t_s, t_s + rng.uniform(*setup.stretch_s)))
        pieces += drawn(rng, shape, *spans[-1], high_w)
        t_s = spans[-1][1]
    return tuple(spans), pieces


def _draw_phases(
    rng: random.Random, setup: Setup, shape: Load, t_s: float
) -> tuple[tuple[tuple[Span, int], ...], list[Piece]]:
    """Draw windows of repetitions, of fewer and fewer as a repetition goes on to a later border."""
    count, high_w = rng.randint(500, 5000), rng.uniform(*setup.load_w)
    repeated, pieces = list[tuple[Span, int]](), list[Piece]()
    for _ in range(setup.phases):
        # A first repetition, of the same load, is not in the window.
        begin_s = t_s + rng.uniform(*setup.first_s)
        end_s = begin_s + rng.uniform(*setup.stretch_s)
        pieces += drawn(rng, shape, t_s, end_s, rng.uniform(*setup.phase_share) * high_w)
        repeated.append(((begin_s, end_s), count))
        t_s, count = end_s, round(count * rng.uniform(0.3, 0.9))
    return tuple(repeated), pieces


def _draw_domain(rng: random.Random, setup: Setup, kind: Kind, own_s: float) -> Domain:
    wrap_j = rng.uniform(20.0, 200.0)
    return Domain(
        "simulated",
        kind,
        covers="a machine that never was",
        update_s=own_s,
        resolution_j=setup.step_j if kind == "energy" else 0.0,
        resolution_w=1e-3 if kind == "power" else 0.0,
        gain_limit=rng.uniform(*setup.gain_limit),
        offset_limit_w=rng.uniform(*setup.offset_limit_w),
        wrap_j=wrap_j if kind == "energy" and setup.wraps else None,
        max_power_w=60.0,
    )


def _draw_response(
    seed: int, kind: Kind, shortest_s: float, response: Response | None, own_s: float | None
) -> tuple[Response, float]:
    """Draw what a meter answers and its time between updates, in s.

    Apart from the rest of the scene, which is the same for every response.
    """
    rng = random.Random(seed ^ 0xDE1A)
    answers = rng.choice(RESPONSES[kind]) if response is None else response
    drawn_s = rng.uniform(0.2, 1.0) * min(shortest_s / _MIN_UPDATES, _MAX_UPDATE_S)
    return answers, own_s or (_OWN_S[kind] if answers == "instant" else drawn_s)
