"""One domain's energy of one measured window, as the document keeps it."""

import math
from collections.abc import Mapping

from power.base import Setting
from power.reader import Overhead
from power.window import WindowEnergy
from results import schema


def row_of(
    measured: WindowEnergy,
    steps: int,
    window_s: float,
    cost: Overhead | None = None,
    settings: Mapping[str, Setting] | None = None,
) -> schema.Energy:
    """Return the energy of a window of so many steps as the document keeps it, its meter's cost and settings."""
    net_j, reason = measured.net_j, measured.reason
    if measured.needed_s is not None and window_s > 0:
        # A tenth more than the meter asks for: the next run's steps may be a little quicker.
        enough = math.ceil(1.1 * steps * measured.needed_s / window_s)
        reason = f"{reason}; try: --steps {enough}"
    return schema.Energy(
        meter=measured.meter,
        domain=measured.domain,
        gross_j=measured.gross_j,
        idle_j=measured.idle_j,
        net_j=net_j,
        net_j_per_step=None if net_j is None else net_j / steps,
        uncertainty_j=measured.uncertainty_j,
        rate_hz=measured.rate_hz,
        provenance=measured.provenance,
        reason=reason,
        window_s=measured.duration_s,
        idle_drift_w=measured.idle_drift_w,
        reader_cpu_share=cost.share if cost else None,
        reader=cost.reader if cost else None,
        parent=measured.parent or ("" if measured.apart else None),
        covers=measured.covers or None,
        fresh_samples=None if measured.gross_j is None else measured.fresh_samples,
        longest_gap_s=measured.longest_gap_s,
        gross_uncertainty_j=measured.gross_uncertainty_j,
        terms_j=dict(measured.uncertainty_terms_j),
        settings=dict(settings or {}),
    )
