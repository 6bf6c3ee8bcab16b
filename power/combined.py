"""Sums and differences of windows: a window that evaluations interrupt, what one phase costs beyond another.

What windows have in common, as the meter's gain and the idle level, is neither independent, so that the squares of
their uncertainties could be added, nor does it add up in a difference: every cause is put together by itself
(*Sums and differences* in `power.uncertainty`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from power.uncertainty import Terms, gross_terms, net_terms, weighted_terms
from power.window import WindowEnergy


@dataclass(frozen=True, slots=True)
class Combined:
    """A weighted sum of energies, in J over the unit of the weights; without an idle level `net_j` is None."""

    gross_j: float
    idle_j: float | None
    net_j: float | None
    gross_terms: Terms
    terms: Terms


def combined(parts: Sequence[tuple[float, WindowEnergy]]) -> Combined:
    """Return the sum of measured energies of one domain, each times its weight, above the same idle level.

    Raises ValueError for a row that was not measured.
    """
    known = [(weight, row.basis) for weight, row in parts if row.basis is not None]
    if len(known) < len(parts):
        raise ValueError("a window that was not measured is no part of a sum")
    domain, level = known[0][1].domain, known[0][1].level
    random = weighted_terms([(weight, basis.random) for weight, basis in known])
    gross_j = sum(weight * (row.gross_j or 0.0) for weight, row in parts)
    gross = gross_terms(
        domain, gross_j, sum(weight * (row.duration_s or 0.0) for weight, row in parts), random
    )
    if level is None:
        return Combined(gross_j, None, None, gross, gross)
    idle_j = sum(weight * (row.idle_j or 0.0) for weight, row in parts)
    net = net_terms(domain, gross_j - idle_j, random)
    terms = level.added_to(net, [(weight, basis.window) for weight, basis in known])
    return Combined(gross_j, idle_j, gross_j - idle_j, gross, terms)
