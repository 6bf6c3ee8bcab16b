"""Captures: the samples of one meter in a file, so that a recording can be replayed and looked at again.

JSON lines, because a text file of a few megabytes is read everywhere and survives a cut-off end:

    {"schema": "power.capture", "version": 1, "meter": "fnirsi", "provenance": "measured", "domains": [...]}
    [t_ns, domain index, value]                 one line a sample, in J for a counter, in W for a power

A capture keeps its provenance: what was scripted when it was written is not measured when it is replayed.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from math import isfinite
from pathlib import Path
from typing import Any, TextIO

from power.base import Domain, Provenance, Sample
from power.errors import CaptureError
from power.series import Series

SCHEMA, VERSION = "power.capture", 1


@dataclass(frozen=True, slots=True)
class Capture:
    """A recording: the meter's name, its domains, and its samples in order of time (at least one)."""

    meter: str
    domains: tuple[Domain, ...]
    samples: tuple[Sample, ...]
    provenance: Provenance = "measured"


def capture_text(meter: str, recorded: list[Series], provenance: Provenance = "measured") -> str:
    """Return a capture of what was recorded of one meter. Counters are written unwrapped."""
    domains = [asdict(series.domain) | {"wrap_j": None} for series in recorded]
    about = {"schema": SCHEMA, "version": VERSION, "meter": meter, "provenance": provenance}
    rows = sorted((t, i, v) for i, s in enumerate(recorded) for t, v in zip(s.t_ns, s.values, strict=False))
    lines = [json.dumps(about | {"domains": domains}), *(f"[{t}, {i}, {v!r}]" for t, i, v in rows)]
    return "".join(f"{line}\n" for line in lines)


def read_capture(path: Path) -> Capture:
    """Read a capture. Raises `OSError`, or `CaptureError` naming the file, the line and what is wrong."""
    try:
        with path.open(encoding="utf-8") as file:
            meter, provenance, domains = _head(file.readline())
            samples = tuple(_samples(file, domains))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise CaptureError(f"'{path}' is not a capture this program reads: {error}") from error
    if not samples:
        raise CaptureError(f"'{path}' holds no sample")
    return Capture(meter, domains, samples, provenance)


def _head(line: str) -> tuple[str, Provenance, tuple[Domain, ...]]:
    head = json.loads(line)
    if not isinstance(head, dict) or head.get("schema") != SCHEMA or head.get("version") != VERSION:
        raise ValueError(f"its first line is not a '{SCHEMA}' of version {VERSION}")
    known = {f.name for f in fields(Domain)}
    domains = tuple(Domain(**{k: v for k, v in row.items() if k in known}) for row in head["domains"])
    if not domains or any(domain.kind not in ("energy", "power") for domain in domains):
        raise ValueError("it names no domain, or one that counts neither energy nor power")
    provenance: Provenance = "measured" if head["provenance"] == "measured" else "modelled"
    return str(head["meter"]), provenance, domains


def _samples(file: TextIO, domains: tuple[Domain, ...]) -> Iterator[Sample]:
    before_ns = None
    for number, line in enumerate(file, start=2):
        try:
            sample = _sample(json.loads(line), domains)
        except (ValueError, TypeError, IndexError) as error:
            raise ValueError(f"line {number}: {error}") from error
        if before_ns is not None and sample.t_ns < before_ns:
            raise ValueError(f"line {number}: earlier than the line before")
        before_ns = sample.t_ns
        yield sample


def _sample(row: Any, domains: tuple[Domain, ...]) -> Sample:
    t_ns, index, value = row
    if type(t_ns) is not int or type(index) is not int or not 0 <= index < len(domains):
        raise ValueError("not [t_ns, domain index, value]")
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not isfinite(value):
        raise ValueError("the value is not a finite number")
    domain = domains[index]
    if domain.kind == "energy":
        return Sample(t_ns, domain.name, energy_j=float(value))
    return Sample(t_ns, domain.name, power_w=float(value))
