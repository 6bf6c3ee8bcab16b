"""The energy of one window in one domain, as it stands in the record: gross, idle, net, and how sure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from power.base import Domain, Provenance
from power.idle import Idle, idle_level
from power.integrate import (
    MIN_IDLE_PERIODS,
    Cut,
    cut,
    energy_j,
    longest_gaps_s,
    refusal,
    why_not_covered,
)
from power.random_terms import random_terms
from power.series import Series
from power.uncertainty import Terms, gross_terms, net_terms

#: Updates of a meter that the idle window after leaves out at its begin (see `_settled`).
_SETTLING_UPDATES = 2

Window = tuple[int, int]
IdleWindows = tuple[Window | None, Window | None]


@dataclass(frozen=True, slots=True)
class Basis:
    """What a measured row comes from, as far as sums and differences of rows (`power/combined.py`) need it."""

    domain: Domain
    window: Window
    random: Terms
    level: Idle | None


@dataclass(frozen=True, slots=True)
class WindowEnergy:
    """Energy of a window in one domain of one meter; what is not known is None, with the `reason`.

    `uncertainty_j` is half the 95 % interval of `net_j` where there is one, else of `gross_j`;
    `gross_uncertainty_j` always that of `gross_j`. `idle_drift_w` is the idle power after less before.
    `needed_s`, where a window was refused as too short, is the length that would do. A row measured without
    an idle level has `net_j` None and says why in `reason`. `basis` is what sums and differences of measured rows take.
    """

    meter: str
    domain: str
    gross_j: float | None = None
    idle_j: float | None = None
    net_j: float | None = None
    uncertainty_j: float | None = None
    rate_hz: float | None = None
    provenance: Provenance = "unavailable"
    reason: str | None = None
    parent: str | None = None
    apart: bool = True
    covers: str = ""
    gross_uncertainty_j: float | None = None
    idle_drift_w: float | None = None
    duration_s: float | None = None
    samples: int = 0
    fresh_samples: int = 0
    longest_gap_s: float | None = None
    needed_s: float | None = None
    uncertainty_terms_j: dict[str, float] = field(default_factory=dict)
    basis: Basis | None = field(default=None, compare=False, repr=False)


def measure(
    series: Series,
    window: Window,
    idle: IdleWindows = (None, None),
    *,
    meter: str,
    provenance: Provenance = "measured",
    poll_s: float = 0.0,
) -> WindowEnergy:
    """Return the energy of `window` (t0_ns, t1_ns) from a series, above the idle level where there is one.

    `poll_s`, the mean time between polls where it is known, tells a window refused as too short what would do.
    """
    return measure_all(series, [window], idle, meter=meter, provenance=provenance, poll_s=poll_s)[0]


def measure_all(
    series: Series,
    windows: Sequence[Window],
    idle: IdleWindows = (None, None),
    *,
    meter: str,
    provenance: Provenance = "measured",
    poll_s: float = 0.0,
) -> list[WindowEnergy]:
    """Return the energies of some windows as `measure` does, above the same idle level."""
    level: tuple[Idle | None, str | None] | None = None
    rows = []
    for window in windows:
        part, reason, needed_s = _measurable(series, window, poll_s)
        if part is None:
            rows.append(unavailable(meter, series, reason or "unknown", needed_s))
            continue
        level = level or _idle_level(series, idle)
        rows.append(_measured(part, *level, meter, provenance))
    return rows


def _measured(
    part: Cut, level: Idle | None, idle_reason: str | None, meter: str, provenance: Provenance
) -> WindowEnergy:
    """Return the row of a window that may be measured, above its idle level, and what is missing of that."""
    domain, window, random = part.series.domain, (part.t0_ns, part.t1_ns), random_terms(part)
    gross_j, idle_j = energy_j(part), None if level is None else level.power_w * part.duration_s
    gross_u = gross_terms(domain, gross_j, part.duration_s, random)
    terms = gross_u
    if level is not None and idle_j is not None:
        terms = level.added_to(net_terms(domain, gross_j - idle_j, random), [(1.0, window)])
    return WindowEnergy(
        meter=meter,
        domain=domain.name,
        gross_j=gross_j,
        idle_j=idle_j,
        net_j=None if idle_j is None else gross_j - idle_j,
        uncertainty_j=terms.expanded_j,
        rate_hz=part.inside / part.duration_s,
        provenance=provenance,
        reason=idle_reason,
        parent=domain.parent,
        apart=domain.apart,
        covers=domain.covers,
        gross_uncertainty_j=gross_u.expanded_j,
        idle_drift_w=None if level is None else level.drift_w,
        duration_s=part.duration_s,
        samples=part.inside,
        fresh_samples=part.fresh,
        longest_gap_s=longest_gaps_s(part)[0],
        uncertainty_terms_j=terms.by_cause(),
        basis=Basis(domain, window, random, level),
    )


def unavailable(meter: str, series: Series, reason: str, needed_s: float | None = None) -> WindowEnergy:
    """Return the row of an energy that was not measured: None throughout, beside its reason."""
    domain = series.domain
    return WindowEnergy(
        meter, domain.name, reason=reason, parent=domain.parent, apart=domain.apart, covers=domain.covers,
        needed_s=needed_s,
    )  # fmt: skip


def total(rows: Iterable[WindowEnergy]) -> WindowEnergy | None:
    """Return the one row of a meter that stands for the whole, or None if it has several or none.

    Only a single outermost domain (psys, a plug, one socket) does; nested rows are parts of it. Use
    `sum_gross_j` and `sum_net_j` for several side by side.
    """
    outer = outermost_rows(rows)
    return outer[0] if len(outer) == 1 else None


def outermost_rows(rows: Iterable[WindowEnergy]) -> list[WindowEnergy]:
    """Return the rows (of one meter) that are contained in no other row: what may be added up.

    Contained rows stand in for a parent whose own energy is unavailable.
    """
    rows = list(rows)
    parents = {row.domain: row.parent for row in rows}
    known = {row.domain for row in rows if row.gross_j is not None}
    covered = {name for row in rows if row.domain in known for name in _ancestors(row.domain, parents)}
    return [
        row
        for row in rows
        if not known.intersection(_ancestors(row.domain, parents))
        and (row.domain in known or row.domain not in covered)
    ]


def _ancestors(domain: str, parents: dict[str, str | None]) -> list[str]:
    chain: list[str] = []
    parent = parents.get(domain)
    while parent is not None and parent not in chain:
        chain.append(parent)
        parent = parents.get(parent)
    return chain


def sum_gross_j(rows: Iterable[WindowEnergy]) -> float | None:
    """Return the gross energy of the outermost rows of one meter, in J; None if any of them is missing."""
    return _sum([row.gross_j for row in outermost_rows(rows)])


def sum_net_j(rows: Iterable[WindowEnergy]) -> float | None:
    """Return the net energy of the outermost rows of one meter, in J; None if any of them is missing."""
    return _sum([row.net_j for row in outermost_rows(rows)])


def _sum(parts: list[float | None]) -> float | None:
    known = [part for part in parts if part is not None]
    return sum(known) if known and len(known) == len(parts) else None


def _measurable(series: Series, window: Window, poll_s: float) -> tuple[Cut | None, str | None, float | None]:
    reason = why_not_covered(series, *window)
    if reason is not None:
        return None, reason, None
    part = cut(series, *window)
    refused = refusal(part, poll_s=poll_s)
    return (part, None, None) if refused is None else (None, *refused)


def _idle_level(series: Series, idle: IdleWindows) -> tuple[Idle | None, str | None]:
    """Return the idle level, and what is missing of it."""
    parts: list[Cut] = []
    missing: list[str] = []
    spans = (idle[0], _settled(idle[1], series.domain))
    for name, span in zip(("before", "after"), spans, strict=True):
        reason = "none was taken" if span is None else why_not_covered(series, *span)
        if span is not None and reason is None:
            part = cut(series, *span)
            refused = refusal(part, MIN_IDLE_PERIODS)
            if refused is None:
                parts.append(part)
                continue
            reason = refused[0]
        missing.append(f"idle {name}: {reason}")
    text = "; ".join(missing) if missing else None
    if not parts:
        return None, f"no net energy: {text}"
    return idle_level(parts), text and f"idle level from one side only: {text}"


def _settled(after: Window | None, domain: Domain) -> Window | None:
    """Return the idle window after without the meter's first two updates: they may still hold the work's power.

    The update in which the work ended is shown until the next one ends, and a meter that averages shows it once more.
    A window of no more than that is left as it is, to be refused as too short.
    """
    if after is None:
        return None
    begin_ns = after[0] + round(_SETTLING_UPDATES * 1e9 * domain.update_s)
    return (begin_ns, after[1]) if begin_ns < after[1] else after
