"""The energy of a measured window that evaluations interrupt: that of the stretches of training between them."""

from collections.abc import Sequence
from dataclasses import replace

from power.combined import combined
from power.recorder import Recorder
from power.window import IdleWindows, Window, WindowEnergy


def between(window: Window, pauses: Sequence[Window]) -> list[Window]:
    """Return the stretches of the window outside the pauses, which lie in it, in order; an empty one is none."""
    begins = [window[0], *(end for _, end in pauses)]
    ends = [*(begin for begin, _ in pauses), window[1]]
    return [(begin, end) for begin, end in zip(begins, ends, strict=True) if end > begin]


def energy(
    recorder: Recorder, window: Window, pauses: Sequence[Window], idle: IdleWindows
) -> list[WindowEnergy]:
    """Return the energy of the window without its pauses by meter and domain.

    Every stretch is cut by itself, its edges having been marked, and must be long enough for the meter.
    """
    parts: dict[tuple[str, str], list[WindowEnergy]] = {}
    for rows in recorder.energies(between(window, pauses), idle):
        for row in rows:
            parts.setdefault((row.meter, row.domain), []).append(row)
    return [total(rows) for rows in parts.values()]


def total(parts: Sequence[WindowEnergy]) -> WindowEnergy:
    """Return the sum over stretches of one domain, or a row that names the first stretch that is not known."""
    if len(parts) == 1:
        return parts[0]
    for place, part in enumerate(parts, start=1):
        if part.gross_j is None:
            reason = f"stretch {place} of {len(parts)} between evaluations: {part.reason}"
            hint = "; evaluate less often" if part.needed_s is not None else ""
            return replace(part, reason=reason + hint, needed_s=None)
    whole = combined([(1.0, part) for part in parts])
    return replace(
        parts[0],
        gross_j=whole.gross_j,
        idle_j=whole.idle_j,
        net_j=whole.net_j,
        uncertainty_j=whole.terms.expanded_j,
        gross_uncertainty_j=whole.gross_terms.expanded_j,
        rate_hz=min((part.rate_hz for part in parts if part.rate_hz is not None), default=None),
        duration_s=sum(part.duration_s or 0.0 for part in parts),
        samples=sum(part.samples for part in parts),
        fresh_samples=sum(part.fresh_samples for part in parts),
        longest_gap_s=max(
            (part.longest_gap_s for part in parts if part.longest_gap_s is not None), default=None
        ),
        uncertainty_terms_j=whole.terms.by_cause(),
        basis=None,
    )
