"""How figures are written for people: bytes, seconds, joules, ratios. A value not measured is a dash."""

import math

DASH = "–"

_TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_JOULES = ((1e3, "kJ"), (1.0, "J"), (1e-3, "mJ"), (1e-6, "µJ"))


def significant(value: float, digits: int = 3) -> str:
    """Return `value` with `digits` significant digits and no exponent: 0.01234 → 0.0123, 1234.5 → 1234."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    # The exponent after rounding: 9.996 is 10.0 with three digits, not 10.00.
    exponent = int(f"{abs(value):.{digits - 1}e}".split("e")[1])
    return f"{value:.{max(0, digits - 1 - exponent)}f}"


def mib(size_bytes: float | None, digits: int = 2) -> str:
    """Return bytes as a bare number of MiB: the unit stands in the column's head."""
    return DASH if size_bytes is None else f"{size_bytes / 2**20:,.{digits}f}"


def size(size_bytes: float | None) -> str:
    """Return bytes with a binary unit: 1536 → 1.5 KiB; whole bytes below 1 KiB."""
    if size_bytes is None:
        return DASH
    if abs(size_bytes) < 1024:
        return f"{size_bytes:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        size_bytes /= 1024
        if abs(size_bytes) < 1023.95 or unit == "GiB":
            break
    return f"{size_bytes:,.1f} {unit}"


def seconds(value_s: float | None) -> str:
    """Return a duration with three digits and its unit: 0.0123 → 12.3 ms; from two minutes on 2 min 05 s."""
    if value_s is None:
        return DASH
    if value_s >= 120:
        minutes, rest = divmod(round(value_s), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
    factor, unit = _unit(value_s, _TIMES)
    return f"{significant(value_s / factor)} {unit}"


def joules(value_j: float | None, uncertainty_j: float | None = None) -> str:
    """Return an energy, with its uncertainty where that shows in three digits: 1.42 ±0.05 J."""
    if value_j is None:
        return DASH
    factor, unit = _unit(max(abs(value_j), abs(uncertainty_j or 0.0)), _JOULES)
    if not uncertainty_j or uncertainty_j < 0.005 * abs(value_j):
        return f"{significant(value_j / factor)} {unit}"
    error, decimals = last_digit(uncertainty_j / factor)
    return f"{value_j / factor:.{decimals}f} ±{error} {unit}"


def last_digit(uncertainty: float) -> tuple[str, int]:
    """Return an uncertainty with one digit, and how many decimals a value has that ends where it does."""
    error = significant(uncertainty, 1)
    return error, len(error.partition(".")[2])


def ratio(value: float | None) -> str:
    """Return a ratio as 2.78×."""
    return DASH if value is None else f"{significant(value)}×"


def percent(fraction: float | None, digits: int = 1) -> str:
    """Return a fraction as a percentage: 0.9712 → 97.1 %."""
    return DASH if fraction is None else f"{fraction * 100:.{digits}f} %"


def change(value: float) -> str:
    """Return a ratio as a signed change: 1.042 → +4.2 %."""
    return f"{(value - 1) * 100:+.1f} %"


def number(value: float | None, unit: str = "") -> str:
    """Return a plain number with three digits and an optional unit."""
    return DASH if value is None else f"{significant(value)} {unit}".rstrip()


def counted(number: int, one: str) -> str:
    """Return how many of a thing there are: 1 → 1 thread, 2 → 2 threads."""
    return f"{number} {one}" if number == 1 else f"{number} {one}s"


def _unit(value: float, units: tuple[tuple[float, str], ...]) -> tuple[float, str]:
    """Return the largest unit in which three rounded digits of `value` are at least 1."""
    if value == 0:
        return next(row for row in units if row[0] == 1.0)
    for factor, unit in units:
        if abs(value) >= factor * 0.9995:
            return factor, unit
    return units[-1]
