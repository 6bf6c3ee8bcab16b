"""A machine and a meter that never were: known loads, known faults, so that a reported energy can be judged.

The truth is exact (stretches of constant power, summed), the meter draws its errors within the limits it
declares, and everything comes from one seed. The reported 95 % interval has to cover the truth in 95 % of
such runs; the tests hold it to that.
"""

import random
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from power.base import Domain, Kind
from power.integrate import jittered_periods
from power.series import Series
from power.window import IdleWindows, Window, WindowEnergy, measure

Load = Literal["constant", "steps", "periodic", "ramp"]
LOADS: tuple[Load, ...] = ("constant", "steps", "periodic", "ramp")
KINDS: tuple[Kind, ...] = ("power", "energy")

#: What a meter answers: the value of now, that of its last update, or (a power) its mean over the last update.
Response = Literal["instant", "held", "averaged"]
RESPONSES: dict[Kind, tuple[Response, ...]] = {
    "power": ("instant", "held", "averaged"),
    "energy": ("instant", "held"),
}
#: Updates in a window, and a longest update (s) that leaves twenty in the shortest idle window.
_MIN_UPDATES, _MAX_UPDATE_S = 110, 0.13

#: Instants of a run, in s: idle from 0, window, idle until the end.
_SECOND = 1_000_000_000
_ORIGIN_NS = 1_000 * _SECOND


@dataclass(frozen=True, slots=True)
class Truth:
    """A power that is constant between the instants `t_s` (the first is 0), with its exact energy."""

    t_s: list[float]
    power_w: list[float]

    def __post_init__(self) -> None:
        if len(self.t_s) != len(self.power_w) + 1:
            raise ValueError("one power for each stretch between two instants")

    def cumulated_j(self) -> list[float]:
        """Return the energy from the start to each instant, in J."""
        spans = zip(self.t_s, self.t_s[1:], self.power_w, strict=False)
        return [0.0, *accumulate((b - a) * p for a, b, p in spans)]


class Curve:
    """A `Truth` that can be asked for its power at, and its energy until, any instant."""

    def __init__(self, truth: Truth) -> None:
        self._t_s, self._power_w, self._energy_j = truth.t_s, truth.power_w, truth.cumulated_j()

    def _index(self, t_s: float) -> int:
        return min(len(self._power_w), max(1, bisect_right(self._t_s, t_s))) - 1

    def power_w(self, t_s: float) -> float:
        """Return the power at an instant, in W."""
        return self._power_w[self._index(t_s)]

    def energy_j(self, t_s: float) -> float:
        """Return the energy from 0 to an instant, in J."""
        index = self._index(t_s)
        return self._energy_j[index] + (t_s - self._t_s[index]) * self._power_w[index]


@dataclass(frozen=True, slots=True)
class Scene:
    """One run: when the window is, what the machine draws (idle and load apart), and the meter's nature."""

    idle: Curve
    load: Curve
    start_s: float
    end_s: float
    total_s: float
    domain: Domain
    rate_hz: float
    noise_w: float
    dropout: float
    skew_ppm: float
    response: Response

    @property
    def true_net_j(self) -> float:
        """The energy of the load alone, in J."""
        return self.load.energy_j(self.end_s) - self.load.energy_j(self.start_s)

    @property
    def true_gross_j(self) -> float:
        """The energy of load and idle together in the window, in J."""
        return self.true_net_j + self.idle.energy_j(self.end_s) - self.idle.energy_j(self.start_s)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was reported of a scene, beside what was true."""

    scene: Scene
    row: WindowEnergy

    @property
    def covered(self) -> bool:
        """Whether the reported interval of the net energy holds the truth."""
        if self.row.net_j is None or self.row.uncertainty_j is None:
            return False
        return abs(self.row.net_j - self.scene.true_net_j) <= self.row.uncertainty_j

    @property
    def gross_covered(self) -> bool:
        """Whether the reported interval of the gross energy holds the truth."""
        if self.row.gross_j is None or self.row.gross_uncertainty_j is None:
            return False
        return abs(self.row.gross_j - self.scene.true_gross_j) <= self.row.gross_uncertainty_j


def draw_scene(
    seed: int, load: Load | None = None, kind: Kind | None = None, response: Response | None = None
) -> Scene:
    """Draw a run: a load of the given shape (or any), a meter of the given kind and response (or any)."""
    rng = random.Random(seed)
    shape: Load = rng.choice(LOADS) if load is None else load
    nature: Kind = rng.choice(KINDS) if kind is None else kind
    start_s, span_s, rate_hz = rng.uniform(4.0, 8.0), rng.uniform(8.0, 25.0), rng.uniform(15.0, 60.0)
    total_s = start_s + span_s + rng.uniform(4.0, 8.0)
    idle_w, wander_w = rng.uniform(1.0, 5.0), rng.uniform(0.0, 0.05)
    high_w = rng.uniform(2.0, 20.0)
    loads = [0.0, start_s, *_load_times(rng, shape, start_s, start_s + span_s)]
    inner = _load_powers(rng, shape, len(loads) - 2, high_w)
    answers, own_s = _draw_response(seed, nature, span_s, response)
    domain = Domain(
        "simulated",
        nature,
        covers="a machine that never was",
        update_s=own_s,
        resolution_j=6.1e-5 if nature == "energy" else 0.0,
        resolution_w=1e-3 if nature == "power" else 0.0,
        gain_limit=rng.uniform(0.0, 0.01),
        offset_limit_w=rng.uniform(0.0, 0.05),
        wrap_j=rng.uniform(20.0, 200.0) if nature == "energy" else None,
        max_power_w=30.0,
    )
    return Scene(
        idle=Curve(_wandering(rng, idle_w, wander_w, total_s)),
        load=Curve(Truth([*loads, total_s + 1.0], [0.0, *inner, 0.0])),
        start_s=start_s,
        end_s=start_s + span_s,
        total_s=total_s,
        domain=domain,
        rate_hz=rate_hz,
        noise_w=rng.uniform(0.0, 0.3),
        dropout=rng.choice((0.0, 0.0, 0.02)),
        skew_ppm=rng.uniform(-50.0, 50.0),
        response=answers,
    )


def _draw_response(seed: int, kind: Kind, span_s: float, response: Response | None) -> tuple[Response, float]:
    """Draw what a meter answers and its time between updates, in s.

    Apart from the rest of the scene, which is the same for every response.
    """
    rng = random.Random(seed ^ 0xDE1A)
    drawn = rng.choice(RESPONSES[kind])
    answers = drawn if response is None else response
    own_s = rng.uniform(0.2, 1.0) * min(span_s / _MIN_UPDATES, _MAX_UPDATE_S)
    return answers, own_s if answers != "instant" else 1e-3 if kind == "energy" else 0.0


def run(
    seed: int, load: Load | None = None, kind: Kind | None = None, response: Response | None = None
) -> Outcome:
    """Draw a run, watch it with its faulty meter, and report its energy as the recorder would."""
    scene = draw_scene(seed, load, kind, response)
    series = observe(scene, seed)
    window, idle = windows(scene)
    return Outcome(scene, measure(series, window, idle, meter="simulated", provenance="modelled"))


def windows(scene: Scene) -> tuple[Window, IdleWindows]:
    """Return the window and its two idle windows, in ns; that after a meter of updates begins right behind it."""
    start_ns, end_ns = _ns(scene.start_s), _ns(scene.end_s)
    before = (_ns(0.2), start_ns - _SECOND // 5)
    late_ns = _SECOND // 5 if scene.response == "instant" else 0
    return (start_ns, end_ns), (before, (end_ns + late_ns, _ns(scene.total_s - 0.2)))


def observe(scene: Scene, seed: int) -> Series:
    """Return what the meter delivers: its own gain, offset, noise, steps, lost readings and clock."""
    rng = random.Random(seed ^ 0x5EED)
    series, domain = Series(scene.domain), scene.domain
    gain = 1.0 + rng.uniform(-1.0, 1.0) * domain.gain_limit
    offset_w = rng.uniform(-1.0, 1.0) * domain.offset_limit_w
    before_s, noise_w = float("nan"), 0.0
    t_s, phase_s = 0.0, random.Random(seed ^ 0xFA5E).uniform(0.0, domain.update_s)
    for wait_s in jittered_periods(1.0 / scene.rate_hz, seed):
        t_s += wait_s
        if t_s > scene.total_s:
            return series
        if rng.random() < scene.dropout:
            continue
        shown_s = _shown_s(scene, t_s, phase_s)
        stamp_ns = _ns(t_s * (1.0 + scene.skew_ppm * 1e-6))
        if domain.kind == "energy":
            energy_j = _seen_energy_j(scene, shown_s) * gain + offset_w * shown_s
            reading = _quantised(energy_j, domain.resolution_j) % (domain.wrap_j or 1e9)
        else:
            power_w = _seen_power_w(scene, shown_s)
            noise_w = noise_w if shown_s == before_s else rng.gauss(0.0, scene.noise_w)
            reading = _quantised(power_w * gain + offset_w + noise_w, domain.resolution_w)
        before_s = shown_s
        series.add(stamp_ns, reading)
    return series


def _shown_s(scene: Scene, t_s: float, phase_s: float) -> float:
    """Return the instant whose value the meter answers at `t_s`, in s: that of its last update."""
    return t_s if scene.response == "instant" else t_s - (t_s - phase_s) % scene.domain.update_s


def _seen_energy_j(scene: Scene, t_s: float) -> float:
    return scene.idle.energy_j(t_s) + scene.load.energy_j(t_s)


def _seen_power_w(scene: Scene, t_s: float) -> float:
    if scene.response == "averaged":
        own_s = scene.domain.update_s
        return (_seen_energy_j(scene, t_s) - _seen_energy_j(scene, t_s - own_s)) / own_s
    return scene.idle.power_w(t_s) + scene.load.power_w(t_s)


def _ns(t_s: float) -> int:
    return _ORIGIN_NS + round(t_s * _SECOND)


def _quantised(value: float, step: float) -> float:
    return round(value / step) * step


def _load_times(rng: random.Random, load: Load, start_s: float, end_s: float) -> list[float]:
    """Return the instants after the start at which the load changes; the last is the end of the window."""
    if load == "constant":
        return [end_s]
    if load == "steps":
        return [*sorted(rng.uniform(start_s, end_s) for _ in range(rng.randint(1, 10))), end_s]
    stretch_s = 0.05 if load == "ramp" else rng.uniform(0.01, 0.4)
    share = 0.5 if load == "ramp" else rng.uniform(0.2, 0.8)
    times, t_s, high = [], start_s, True
    while (t_s := t_s + 2 * stretch_s * (share if high else 1.0 - share)) < end_s:
        times.append(t_s)
        high = not high
    return [*times, end_s]


def _load_powers(rng: random.Random, load: Load, count: int, high_w: float) -> list[float]:
    if load == "steps":
        return [rng.uniform(0.2, 1.0) * high_w for _ in range(count)]
    if load == "periodic":
        low_w = rng.uniform(0.0, 0.7) * high_w
        return [low_w if i % 2 else high_w for i in range(count)]
    if load == "ramp":
        return [high_w * (0.3 + 0.7 * i / count) for i in range(count)]
    return [high_w] * count


def _wandering(rng: random.Random, level_w: float, wander_w: float, total_s: float) -> Truth:
    """Return an idle power that walks at random by `wander_w` (standard deviation) in a second."""
    step_s = 0.1
    count = int(total_s / step_s) + 20
    powers = list(accumulate((rng.gauss(0.0, wander_w * step_s**0.5) for _ in range(count)), initial=level_w))
    return Truth([i * step_s for i in range(len(powers) + 1)], powers)
