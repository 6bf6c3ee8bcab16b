"""The energy of a trial as one figure: the domains of one meter that lie beside each other, added up."""

from collections.abc import Sequence

import msgspec

from results.schema import Energy, Trial


def measured_energy(trial: Trial) -> Energy | None:
    """Return the energy of a trial as one figure, None where none was measured; see `whole`."""
    return whole(trial.energy)


def whole(energies: Sequence[Energy]) -> Energy | None:
    """Return what the first meter with a measured net energy a step says of the whole; a modelled one never counts.

    That is the sum over its outermost measured domains (two packages, or a package and the memory beside it), in a row
    that names them all; a domain inside another is counted there. Where it is not known what lies inside what (the
    sensors of a board, a document from before rows named it), the meter's first domain counts.
    """
    first = next((row for row in energies if _known(row)), None)
    if first is None:
        return None
    rows = [row for row in energies if row.meter == first.meter]
    return _sum(outermost(rows), rows) if first.parent is not None else first


def outermost(rows: Sequence[Energy]) -> list[Energy]:
    """Return the measured rows of one meter that lie in no other measured one: parts stand in for a whole unknown."""
    parents = {row.domain: row.parent for row in rows}
    known = {row.domain for row in rows if _known(row)}
    return [row for row in rows if row.domain in known and not known & set(_inside(row.domain, parents))]


def _inside(domain: str, parents: dict[str, str | None]) -> list[str]:
    """Return the domains that contain a domain, from the next to the outermost."""
    chain: list[str] = []
    parent = parents.get(domain)
    while parent and parent not in chain:
        chain.append(parent)
        parent = parents.get(parent)
    return chain


def _known(row: Energy) -> bool:
    return row.provenance == "measured" and row.net_j_per_step is not None


def _sum(parts: Sequence[Energy], rows: Sequence[Energy]) -> Energy:
    """Return the sum of rows that lie beside each other: the domains in its name, what is missing in its reason.

    Uncertainties are added up, not their squares: the gain of one meter errs alike in all of its domains.
    """
    parents = {row.domain: row.parent for row in rows}
    counted = {part.domain for part in parts}
    around = {whole for part in parts for whole in _inside(part.domain, parents)}
    missing = [
        f"without {row.domain} ({row.reason})"
        for row in rows
        if row.domain not in counted | around and not counted & set(_inside(row.domain, parents))
    ]
    reasons = dict.fromkeys([*(part.reason for part in parts if part.reason), *missing])
    if len(parts) == 1 and not missing:
        return parts[0]
    return msgspec.structs.replace(
        parts[0],
        domain=" + ".join(part.domain for part in parts),
        gross_j=_total([part.gross_j for part in parts]),
        idle_j=_total([part.idle_j for part in parts]),
        net_j=_total([part.net_j for part in parts]),
        net_j_per_step=_total([part.net_j_per_step for part in parts]),
        uncertainty_j=_total([part.uncertainty_j for part in parts]),
        rate_hz=min((part.rate_hz for part in parts if part.rate_hz is not None), default=None),
        idle_drift_w=_total([part.idle_drift_w for part in parts]),
        covers="; ".join(dict.fromkeys(part.covers for part in parts if part.covers)) or None,
        fresh_samples=min((p.fresh_samples for p in parts if p.fresh_samples is not None), default=None),
        longest_gap_s=max((p.longest_gap_s for p in parts if p.longest_gap_s is not None), default=None),
        gross_uncertainty_j=_total([part.gross_uncertainty_j for part in parts]),
        terms_j={},
        reason="; ".join(reasons) or None,
    )


def _total(values: Sequence[float | None]) -> float | None:
    """Return the sum; None where a part is not known."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
