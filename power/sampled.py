"""A sysfs meter read by the native sampler: ten seconds of rounds at a time, drained in between.

The sampler reads at the jittered times that the Python poller would have kept; what its files said becomes samples by
the meter's own conversion, whole columns at once, at a fraction of what it costs one by one. A round that failed ends
the batch, so that what failed is known at once, and raises as the meter's `read` would have.
"""

import os
import random
from array import array
from collections.abc import Iterator
from ctypes import c_int64

from power.errors import MeterReadError
from power.integrate import jittered_waits_ns
from power.native.sampler import TEXT_BYTES, RawReading, Sampler
from power.series import Block
from power.sysfs import Reading, SysfsMeter

#: How long a batch takes, in s. Nobody waits for it: a mark ends it. A longer one would save less than what its
#: schedule, made before the first poll, costs a short run.
_BATCH_S = 10.0
#: Readings that are kept at most until they are drained, 24 bytes each.
_MAX_READINGS = 16_384
#: Stands in for CLOCK_MONOTONIC in tests.
CLOCK_NS: c_int64 | None = None


class SampledMeter:
    """The rounds of one meter; `batch` and `close` in one thread, `wake` from any."""

    def __init__(self, meter: SysfsMeter, period_s: float, seed: int) -> None:
        self._meter, self._period_s = meter, period_s
        self._generator = random.Random(seed)
        self._waits_ns = array("q")
        self._sampler: Sampler | None = None

    def batch(self) -> Iterator[list[Block]]:
        """Wait for a batch and yield its rounds: a block a gauge, all of one length.

        The first round after opening is a batch of its own: somebody waits for it. Raises `MeterReadError` where a
        round failed; the rounds before it were yielded.
        """
        is_new, rounds = self._sampler is None, self._rounds()
        columns, odd = self._opened(rounds).run(self._waits(1 if is_new else rounds))
        count = len(columns[0].values)
        del self._waits_ns[: count + bool(odd)]
        if count > 0:
            yield self._meter.blocks(columns)
        if odd:
            samples = self._meter.samples(map(_checked, self._meter.paths, odd))
            yield [Block(sample.domain, [sample.t_ns], [sample.value]) for sample in samples]

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

    def _rounds(self) -> int:
        return max(1, min(round(_BATCH_S / self._period_s), _MAX_READINGS // len(self._meter.paths)))

    def _waits(self, count: int) -> "array[int]":
        """Return the next waits, in ns; first those that an early end left over."""
        more = max(0, count - len(self._waits_ns))
        self._waits_ns.extend(jittered_waits_ns(self._period_s, self._generator, more))
        return self._waits_ns[:count]

    def _opened(self, rounds: int) -> Sampler:
        if self._sampler is None:
            try:
                self._sampler = Sampler(self._meter.paths, rounds, CLOCK_NS)
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
    return Reading(before_ns, after_ns, text)
