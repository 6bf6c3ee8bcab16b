"""The parent's part of energy by phase: windows of repeated phases become joules of forward, backward and update.

The worker filled windows with n₁ forwards, n₂ forwards and backwards, n₃ whole steps. With e = E/n of each, a step's
forward costs e₁, its backward e₂ − e₁, its update e₃ − e₂. What the gain and the idle level err by is common to both
windows and partly cancels (`power/combined.py`).
"""

from collections.abc import Iterable, Sequence

from harness.messages import Repeated
from harness.phases import PHASES
from power.combined import combined
from power.window import WindowEnergy
from results import schema

FUSED = "the update is fused into the backward pass and cannot be repeated without it"
Measured = tuple[Repeated, Sequence[WindowEnergy]]


def by_phase(measured: Iterable[Measured], failure: str | None = None) -> list[schema.PhaseEnergy]:
    """Return the energy of each phase by meter and domain, from the windows in the order of their borders.

    `failure` says why the worker did not end well: a phase without a window is then one that it did not come to.
    """
    windows: dict[tuple[str, str], dict[str, tuple[Repeated, WindowEnergy]]] = {}
    for repeated, rows in measured:
        for row in rows:
            windows.setdefault((row.meter, row.domain), {})[repeated.phase] = (repeated, row)
    return [_phase(phase, found, failure) for found in windows.values() for phase in PHASES]


def without(meter: str, domain: str, reason: str) -> list[schema.PhaseEnergy]:
    """Return the rows of a meter that saw no phase, and why."""
    return [schema.PhaseEnergy.unavailable(meter, domain, phase, reason) for phase in PHASES]


def _phase(
    phase: str, windows: dict[str, tuple[Repeated, WindowEnergy]], failure: str | None
) -> schema.PhaseEnergy:
    if phase not in windows:
        _, any_row = next(iter(windows.values()))
        fused = failure is None and phase == "update"
        reason = (
            FUSED if fused else f"the worker ended before it had repeated this phase: {failure or 'unknown'}"
        )
        return schema.PhaseEnergy.unavailable(any_row.meter, any_row.domain, phase, reason)
    repeated, row = windows[phase]
    earlier = PHASES[PHASES.index(phase) - 1] if phase != PHASES[0] else None
    before = [windows[earlier]] if earlier in windows else []
    missing = next((each for _, each in [(repeated, row), *before] if each.net_j is None), None)
    if missing is not None:
        return schema.PhaseEnergy.unavailable(row.meter, row.domain, phase, missing.reason or "unknown")
    cost = combined([(1 / repeated.count, row), *((-1 / each.count, other) for each, other in before)])
    return schema.PhaseEnergy(
        meter=row.meter,
        domain=row.domain,
        phase=phase,
        net_j_per_step=cost.net_j,
        uncertainty_j_per_step=cost.terms.expanded_j,
        repetitions=repeated.count,
        window_s=row.duration_s,
        provenance=row.provenance,
        reason=row.reason,
    )
