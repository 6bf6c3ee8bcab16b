"""A trace that a stand-alone meter recorded by itself, exported as CSV: times of its own clock, and powers.

Programs of meters differ in their columns, so they are found by their heads: a time (`Time`, `Timestamp`, `t`; a unit
in the head, `(s)` or `[ms]`; times of day and dates are understood) and a power (`Power (W)`, `P [mW]`), or else a
voltage and a current, which are multiplied. The delimiter is a comma, a semicolon (numbers may then have a decimal
comma) or a tab. Lines before the head are passed over.
"""

import csv
import re
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from math import isfinite
from pathlib import Path
from statistics import median

from power.base import Domain
from power.errors import CaptureError
from power.series import Series

_TIME = re.compile(r"^(time|timestamp|date.?time|elapsed.*|t)$")
_POWER, _VOLT, _AMPERE = (
    re.compile(rf"^({names})$") for names in ("power|watts?|p", "voltage|volts?|v|u", "current|amps?|i|a")
)
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0, "min": 60.0}
_METRIC = {"µ": 1e-6, "u": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3}
_HEAD = re.compile(r"^\s*(?P<name>[^(\[/]*?)[\s_]*(?:[(\[/]\s*(?P<unit>[^)\]]*?)\s*[)\]]?)?\s*$")
_SUFFIX = re.compile(r"_([num]?s|[mµuk]?[wva])$")  # power_w
_LONGEST_HEAD = 50
#: A trace of more samples than this (a day at 1 kHz) is not read.
_MOST = 100_000_000


def read_trace(path: Path, *, gain_limit: float = 0.0) -> Series:
    """Return the trace as a series of powers (W) in the meter's own time (ns since its first sample).

    `gain_limit` is the meter's relative error, which its export does not tell. Raises `CaptureError` naming the file,
    the line and what is wrong, or `OSError`.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            text = file.read()
    except UnicodeDecodeError as error:
        raise CaptureError(f"'{path}' is no text in UTF-8: {error}") from error
    for delimiter in (";", "\t", ","):
        rows = list(csv.reader(text.splitlines(), delimiter=delimiter))
        for place, row in enumerate(rows[:_LONGEST_HEAD]):
            columns = _Columns.of(row)
            if columns is not None:
                samples = _samples(path, rows[place + 1 : _MOST], place + 2, columns, delimiter == ";")
                return _series(path, samples, gain_limit)
    raise CaptureError(f"'{path}' has no line that names a time and a power (or a voltage and a current)")


class _Columns:
    """Which columns hold what, and the factors to s and W."""

    def __init__(self, time: tuple[int, float], factors: Sequence[tuple[int, float]]) -> None:
        self.time, self.factors = time, factors

    @classmethod
    def of(cls, row: Sequence[str]) -> "_Columns | None":
        found: dict[str, tuple[int, float]] = {}
        for index, head in enumerate(row):
            match = _HEAD.match(_SUFFIX.sub(r" (\1)", head.lower().strip()))
            name, unit = (match["name"].strip(), (match["unit"] or "").strip()) if match else ("", "")
            if _TIME.match(name):
                found.setdefault("time", (index, _UNITS.get(unit, 1.0)))
            for what, pattern, symbol in (("p", _POWER, "w"), ("v", _VOLT, "v"), ("i", _AMPERE, "a")):
                if pattern.match(name) and unit.removesuffix(symbol) in _METRIC:
                    found.setdefault(what, (index, _METRIC[unit.removesuffix(symbol)]))
        if "time" not in found:
            return None
        if "p" in found:
            return cls(found["time"], [found["p"]])
        return cls(found["time"], [found["v"], found["i"]]) if {"v", "i"} <= found.keys() else None


def _samples(
    path: Path, rows: Sequence[Sequence[str]], first: int, columns: _Columns, decimal_comma: bool
) -> list[tuple[float, float]]:
    samples: list[tuple[float, float]] = []
    for number, row in enumerate(rows, start=first):
        if not any(cell.strip() for cell in row):
            continue
        cells = [cell.replace(",", ".") for cell in row] if decimal_comma else row
        try:
            index, unit_s = columns.time
            t_s, power_w = _time_s(cells[index], unit_s), 1.0
            for index, factor in columns.factors:
                power_w *= float(cells[index]) * factor
            if not isfinite(t_s) or not isfinite(power_w):
                raise ValueError("not a finite number")
        except (ValueError, IndexError) as error:
            raise CaptureError(f"'{path}', line {number}: {error}") from error
        samples.append((t_s, power_w))
    return samples


def _time_s(text: str, unit_s: float) -> float:
    """Return a time in s: a number, a time of day (h:m:s), or a date with one."""
    text = text.strip()
    if re.fullmatch(r"\d{1,3}(:\d{2}){1,2}([.,]\d+)?", text):
        total_s = 0.0
        for part in text.replace(",", ".").split(":"):
            total_s = total_s * 60.0 + float(part)
        return total_s
    if re.match(r"\d{4}[-/]\d", text):
        return datetime.fromisoformat(text.replace("/", "-")).timestamp()
    return float(text) * unit_s


def _series(path: Path, samples: list[tuple[float, float]], gain_limit: float) -> Series:
    if len(samples) < 3:
        raise CaptureError(f"'{path}' holds {len(samples)} samples, too few for a trace")
    start_s = samples[0][0]
    steps_s = [b[0] - a[0] for a, b in pairwise(samples)]
    if min(steps_s) < 0.0:
        raise CaptureError(f"'{path}': its times go backwards, by {-min(steps_s):g} s")
    update_s = median(steps_s)
    if update_s <= 0.0:
        raise CaptureError(f"'{path}': its times stand still; export them with fractions of a second")
    covers = "what the stand-alone meter was plugged into"
    series = Series(Domain("trace", "power", covers, update_s=update_s, gain_limit=gain_limit))
    for t_s, power_w in samples:
        series.add(round((t_s - start_s) * 1e9), power_w)
    return series
