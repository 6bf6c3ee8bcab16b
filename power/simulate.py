"""A machine and a meter that never were: known loads, known faults, so that a reported energy can be judged.

The truth is exact (`power/profiles.py`), the meter draws its errors within the limits it declares, and everything
comes from one seed. The reported 95 % interval has to cover the truth in 95 % of such runs; the tests hold it to that,
by every way from samples to an energy. What runs are drawn from is in `power/scenes.py`.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from power.base import Kind
from power.integrate import jittered_waits_ns
from power.profiles import Load
from power.scenes import PLAIN, Response, Scene, Setup, draw_scene, instant_ns
from power.series import Series
from power.window import IdleWindows, WindowEnergy, measure


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was reported of a scene, beside what was true."""

    scene: Scene
    row: WindowEnergy

    @property
    def covered(self) -> bool:
        """Whether the reported interval of the net energy holds the truth."""
        return is_covered(self.row.net_j, self.row.uncertainty_j, self.scene.true_net_j())

    @property
    def gross_covered(self) -> bool:
        """Whether the reported interval of the gross energy holds the truth."""
        return is_covered(self.row.gross_j, self.row.gross_uncertainty_j, self.scene.true_gross_j())


def is_covered(reported: float | None, uncertainty: float | None, true: float) -> bool:
    """Return whether an interval holds the truth; one that is not known does not."""
    return reported is not None and uncertainty is not None and abs(reported - true) <= uncertainty


def run(
    seed: int,
    load: Load | None = None,
    kind: Kind | None = None,
    response: Response | None = None,
    setup: Setup = PLAIN,
) -> Outcome:
    """Draw a run, watch it with its faulty meter, and report its energy as the recorder would."""
    scene = draw_scene(seed, load, kind, response, setup)
    return reported(scene, observe(scene, seed), scene.idle_windows)


def reported(scene: Scene, series: Series, idle: IdleWindows) -> Outcome:
    """Report the energy of a scene's window."""
    row = measure(series, scene.window, idle, meter="simulated", provenance="modelled")
    return Outcome(scene, row)


def observe(scene: Scene, seed: int) -> Series:
    """Return what the meter delivers of the whole run."""
    series = Series(scene.domain)
    series.extend(*delivered(scene, seed))
    return series


def delivered(scene: Scene, seed: int) -> tuple[list[int], list[float]]:
    """Return the meter's readings at jittered times of its own, some of them lost: stamps (ns), and J or W."""
    rng = random.Random(seed)
    polls = round(1.02 * scene.rate_hz * scene.total_s) + 20  # so that jitter does not end before the run
    waits_ns = jittered_waits_ns(1.0 / scene.rate_hz, rng, polls)
    polls_s = [t_ns * 1e-9 for t_ns in accumulate(waits_ns)]
    times_s = [t for t in polls_s if rng.random() >= scene.dropout]
    clock = 1.0 + scene.skew_ppm * 1e-6
    return list(map(instant_ns, [t * clock for t in times_s])), readings(scene, seed, times_s)


def readings(scene: Scene, seed: int, times_s: Sequence[float]) -> list[float]:
    """Return what the meter answers at instants (s) that only go on, by its gain, offset, noise and steps: J or W."""
    rng, domain = random.Random(seed ^ 0x5EED), scene.domain
    phase_s, gain_phase = rng.uniform(0.0, domain.update_s), rng.uniform(0.0, 2.0)
    offset_w = rng.uniform(-1.0, 1.0) * domain.offset_limit_w
    shown_s = times_s if scene.response == "instant" else _shown_s(times_s, domain.update_s, phase_s)
    turns = (gain_phase + scene.gain_turns_hz * t for t in shown_s)
    gains = [1.0 + domain.gain_limit * (2.0 * abs(turn % 2.0 - 1.0) - 1.0) for turn in turns]
    if domain.kind == "power":
        return _powers(scene, rng, shown_s, gains, offset_w)
    return _registers(scene, shown_s, gains, offset_w)


def _shown_s(times_s: Sequence[float], own_s: float, phase_s: float) -> list[float]:
    """Return the instants whose values are shown: those of the last updates, in s."""
    return [phase_s + (t - phase_s) // own_s * own_s for t in times_s]


def _powers(
    scene: Scene, rng: random.Random, shown_s: Sequence[float], gains: Sequence[float], offset_w: float
) -> list[float]:
    """Return powers, with noise that is drawn anew for every update, in W."""
    drawn, step_w = scene.idle + scene.load, scene.domain.resolution_w
    if scene.response == "averaged":
        own_s = scene.domain.update_s
        ends_j, begins_j = drawn.energies_j(shown_s), drawn.energies_j([t - own_s for t in shown_s])
        seen_w = [(end - begin) / own_s for end, begin in zip(ends_j, begins_j, strict=True)]
    else:
        seen_w = drawn.powers_w(shown_s)
    noises_w = {t: rng.gauss(0.0, scene.noise_w) for t in shown_s}
    noisy = (w * g + offset_w + noises_w[t] for w, g, t in zip(seen_w, gains, shown_s, strict=True))
    return [round(power_w / step_w) * step_w for power_w in noisy]


def _registers(
    scene: Scene, shown_s: Sequence[float], gains: Sequence[float], offset_w: float
) -> list[float]:
    """Return a counter that counts at each instant with the gain that it has then, in J."""
    step_j, wrap_j = scene.domain.resolution_j, scene.domain.wrap_j or float("inf")
    drawn_j = (scene.idle + scene.load).energies_j(shown_s)
    steps_j = (b - a for a, b in zip([0.0, *drawn_j], drawn_j, strict=False))
    counted_j = accumulate(step * gain for step, gain in zip(steps_j, gains, strict=True))
    exact_j = (energy_j + offset_w * t for energy_j, t in zip(counted_j, shown_s, strict=True))
    return [round(energy_j / step_j) * step_j % wrap_j for energy_j in exact_j]
