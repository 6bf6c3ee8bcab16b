"""Series over time for the report: what the worker held, looked at from outside, and what each meter read.

They are for the eye. What counts is measured otherwise: peaks by the kernel, energy from every sample of a meter.
"""

import time
from bisect import bisect_left, bisect_right
from itertools import pairwise

from harness.memory import Residency
from power.series import Series
from results.schema import Phase, Trace

_MOST_LOOKS = 400
_MOST_POWERS = 400
_APART_NS = 50_000_000
"""Looks nearer than this are not kept: a watchdog looks every 2 ms."""


class ResidencyTrace:
    """Keeps what the parent's looks at the worker found: at most so many, and the highest of each stretch.

    However long a trial is, memory and document stay small: a full list is halved by keeping the higher of two
    neighbours, and from then on looks are kept half as often.
    """

    def __init__(self, most: int = _MOST_LOOKS) -> None:
        self._most, self._apart_ns = most, _APART_NS
        self._t_ns: list[int] = []
        self._rss_bytes: list[int] = []

    def look(self, residency: Residency, t_ns: int | None = None) -> None:
        """Take one look; `t_ns` is CLOCK_MONOTONIC, now by default."""
        t_ns = time.monotonic_ns() if t_ns is None else t_ns
        if self._t_ns and t_ns - self._t_ns[-1] < self._apart_ns:
            self._rss_bytes[-1] = max(self._rss_bytes[-1], residency.rss_bytes)
            return
        self._t_ns.append(t_ns)
        self._rss_bytes.append(residency.rss_bytes)
        if len(self._t_ns) >= self._most:
            pairs = range(0, len(self._t_ns), 2)
            self._rss_bytes = [max(self._rss_bytes[i : i + 2]) for i in pairs]
            self._t_ns = self._t_ns[::2]
            self._apart_ns *= 2

    def trace(
        self, zero_ns: int, cpu_share: float | None = None, exact: dict[int, int] | None = None
    ) -> Trace | None:
        """Return the looks since `zero_ns` with the worker's own, `exact` (t_ns: bytes); None where there is none.

        `cpu_share` is what looking took of one processor.
        """
        points = dict(zip(self._t_ns, self._rss_bytes, strict=True)) | (exact or {})
        kept = sorted((t_ns, rss_bytes) for t_ns, rss_bytes in points.items() if t_ns >= zero_ns)
        if not kept:
            return None
        return Trace(
            quantity="rss_bytes",
            source="kernel",
            t_s=[_seconds(t_ns, zero_ns) for t_ns, _ in kept],
            values=[float(rss_bytes) for _, rss_bytes in kept],
            reader_cpu_share=cpu_share,
        )


def power_trace(
    series: Series, meter: str, zero_ns: int, windows: dict[str, tuple[int, int]], most: int = _MOST_POWERS
) -> Trace | None:
    """Return one domain's power over the windows and between them, None where fewer than two samples lie there.

    Times are relative to `zero_ns`, so that what came before is negative. Of more than `most` samples each value is the
    mean power of a stretch: from the counter's two ends, or over the samples in it.
    """
    times, values = list(series.t_ns), list(series.values)
    spans = list(windows.values())
    low = bisect_left(times, min(begin for begin, _ in spans))
    high = bisect_right(times, max(end for _, end in spans))
    count = min(high, len(values)) - low
    if count < 2:
        return None
    edges = sorted({low + round(i * (count - 1) / most) for i in range(most + 1)})
    counts_energy = series.domain.kind == "energy"
    points = []
    for first, last in pairwise(edges):
        middle_ns = (times[first] + times[last]) // 2
        power_w = (
            (values[last] - values[first]) / ((times[last] - times[first]) * 1e-9)
            if counts_energy
            else _mean_w(times, values, first, last)
        )
        points.append((_seconds(middle_ns, zero_ns), float(f"{power_w:.5g}")))
    return Trace(
        quantity="power_w",
        source=f"{meter}/{series.domain.name}",
        t_s=[t_s for t_s, _ in points],
        values=[power_w for _, power_w in points],
        windows=[
            Phase(name=name, start_s=_seconds(begin, zero_ns), end_s=_seconds(end, zero_ns))
            for name, (begin, end) in windows.items()
        ],
    )


def _mean_w(times: list[int], values: list[float], first: int, last: int) -> float:
    """Return the mean of a sampled power between two samples, by trapezoids."""
    area = sum((values[i] + values[i + 1]) / 2 * (times[i + 1] - times[i]) for i in range(first, last))
    return area / (times[last] - times[first])


def _seconds(t_ns: int, zero_ns: int) -> float:
    return round((t_ns - zero_ns) * 1e-9, 4)
