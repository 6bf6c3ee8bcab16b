"""A sysfs meter read by the native sampler: about five seconds of rounds at a time, drained in between.

The sampler reads at the jittered times that the Python poller would have kept; its readings become samples by the
meter's own conversion. A round that failed ends the batch, so that what failed is known at once, and raises as the
meter's `read` would have.
"""

import os
from collections.abc import Iterator
from ctypes import c_int64
from itertools import cycle, islice

from power.base import Sample
from power.errors import MeterReadError
from power.integrate import jittered_periods
from power.native.sampler import TEXT_BYTES, RawReading, Sampler
from power.sysfs import Reading, SysfsMeter

#: How long a batch takes, in s: what is drained rarely costs little, and nobody waits for it (a mark ends it).
_BATCH_S = 5.0
#: Stands in for CLOCK_MONOTONIC in tests.
CLOCK_NS: c_int64 | None = None


class SampledMeter:
    """The rounds of one meter; `rounds` and `close` in one thread, `wake` from any."""

    def __init__(self, meter: SysfsMeter, period_s: float, seed: int) -> None:
        self._meter = meter
        self._waits_ns = (round(wait_s * 1e9) for wait_s in jittered_periods(period_s, seed))
        self._batch = max(1, round(_BATCH_S / period_s))
        self._sampler: Sampler | None = None

    def rounds(self) -> Iterator[list[Sample]]:
        """Wait for a batch and yield its rounds.

        The first round after opening is a batch of its own: somebody waits for it. Raises `MeterReadError` where a
        round failed; the rounds before it were yielded.
        """
        count = 1 if self._sampler is None else self._batch
        raw = self._opened().run(list(islice(self._waits_ns, count)))
        paths = self._meter.paths
        readings = map(_checked, cycle(paths), raw)
        for _ in range(len(raw) // len(paths)):
            yield self._meter.samples(readings)

    def wake(self) -> None:
        """Have a round read at once and the batch end."""
        sampler = self._sampler
        if sampler is not None:
            sampler.wake()

    def close(self) -> None:
        """Close the files; the next batch opens them anew."""
        sampler, self._sampler = self._sampler, None
        if sampler is not None:
            sampler.close()

    def _opened(self) -> Sampler:
        if self._sampler is None:
            try:
                self._sampler = Sampler(self._meter.paths, self._batch, CLOCK_NS)
            except OSError as error:
                raise MeterReadError(f"meter '{self._meter.name}': {error}") from error
        return self._sampler


def _checked(path: str, raw: RawReading) -> Reading:
    """Return the reading. Raises `OSError` for one that failed, `ValueError` for one that was cut off."""
    before_ns, after_ns, length, text = raw
    if length < 0:
        raise OSError(-length, os.strerror(-length), path)
    if length >= TEXT_BYTES:
        raise ValueError(f"more than a number: {text!r}")
    return Reading(before_ns, after_ns, text[:length])
