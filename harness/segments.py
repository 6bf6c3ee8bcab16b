"""The energy of a measured window that evaluations interrupt: that of the stretches of training between them."""

from collections.abc import Sequence
from dataclasses import replace

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
    for begin_ns, end_ns in between(window, pauses):
        for row in recorder.energy(begin_ns, end_ns, idle):
            parts.setdefault((row.meter, row.domain), []).append(row)
    return [total(rows) for rows in parts.values()]


def total(parts: Sequence[WindowEnergy]) -> WindowEnergy:
    """Return the sum over stretches of one domain, or a row that names the first stretch that is not known.

    Uncertainties are added up, not their squares: a meter's gain and the idle level err alike in all of them.
    """
    if len(parts) == 1:
        return parts[0]
    for place, part in enumerate(parts, start=1):
        if part.gross_j is None:
            reason = f"stretch {place} of {len(parts)} between evaluations: {part.reason}"
            hint = "; evaluate less often" if part.needed_s is not None else ""
            return replace(part, reason=reason + hint, needed_s=None)
    duration_s = sum(part.duration_s or 0.0 for part in parts)
    return replace(
        parts[0],
        gross_j=sum(part.gross_j or 0.0 for part in parts),
        idle_j=_sum([part.idle_j for part in parts]),
        net_j=_sum([part.net_j for part in parts]),
        uncertainty_j=_sum([part.uncertainty_j for part in parts]),
        gross_uncertainty_j=_sum([part.gross_uncertainty_j for part in parts]),
        rate_hz=min((part.rate_hz for part in parts if part.rate_hz is not None), default=None),
        duration_s=duration_s,
        samples=sum(part.samples for part in parts),
        fresh_samples=sum(part.fresh_samples for part in parts),
        longest_gap_s=max(
            (part.longest_gap_s for part in parts if part.longest_gap_s is not None), default=None
        ),
        uncertainty_terms_j={},
    )


def _sum(values: Sequence[float | None]) -> float | None:
    """Return the sum, or None where a part is not known."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
