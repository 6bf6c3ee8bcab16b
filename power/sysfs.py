"""Meters whose values stand in files of the kernel's sysfs: the files, and what turns their text into samples.

What the files say becomes samples here and nowhere else, whether Python read it (`Attribute`) or the native sampler did
(`power/native`), so that both ways give the same samples and fail with the same words.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from power.base import Domain, Meter, Sample, now_ns
from power.errors import MeterReadError
from power.native.sampler import Column
from power.series import Block


class Reading(NamedTuple):
    """The text of a file, and the instants (ns, CLOCK_MONOTONIC) before and after it was read."""

    before_ns: int
    after_ns: int
    text: bytes


class Attribute:
    """An open attribute, read as cheaply as Python can: one system call a reading, four when it did not change.

    sysfs makes the value anew for every read of an open file from its start. A value that did not change
    is asked for again by its name, so that a device that was taken away (`OSError`) or replaced is noticed.
    Raises `OSError` where it cannot be opened or read.
    """

    __slots__ = ("_fd", "_last", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._last = b""

    def read(self) -> bytes:
        """Return the value as text."""
        value = os.pread(self._fd, 64, 0)
        if value == self._last:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            os.close(self._fd)
            self._fd = fd
            value = os.pread(fd, 64, 0)
        self._last = value
        return value

    def reading(self) -> Reading:
        """Return the value with the instants around it."""
        before_ns = now_ns()
        text = self.read()
        return Reading(before_ns, now_ns(), text)

    def close(self) -> None:
        """Close the file; may be called twice."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


@dataclass(frozen=True, slots=True)
class Gauge:
    """A domain and its files, at least one: its value in J or W is the product of their integers and `factor`."""

    domain: Domain
    files: tuple[Attribute, ...]
    factor: float

    def sample(self, readings: Iterator[Reading]) -> Sample:
        """Make a sample of the next readings, one a file, at their middle. Raises `ValueError`: not an integer."""
        before_ns, after_ns, text = next(readings)
        value = self.factor * int(text)
        for _ in self.files[1:]:
            _, after_ns, text = next(readings)
            value *= int(text)
        t_ns = (before_ns + after_ns) // 2
        if self.domain.kind == "energy":
            return Sample(t_ns, self.domain.name, energy_j=value)
        return Sample(t_ns, self.domain.name, power_w=value)

    def read(self) -> Sample:
        """Read the files. Raises `OSError` or `ValueError`."""
        return self.sample(file.reading() for file in self.files)

    def block(self, columns: Iterator[Column]) -> Block:
        """Make of the next columns, one a file, what `sample` makes of them reading by reading."""
        before_ns, after_ns, integers = next(columns)
        values = [self.factor * integer for integer in integers]
        for _ in self.files[1:]:
            _, after_ns, integers = next(columns)
            values = [value * integer for value, integer in zip(values, integers, strict=True)]
        t_ns = [(before + after) // 2 for before, after in zip(before_ns, after_ns, strict=True)]
        return Block(self.domain.name, t_ns, values)

    def close(self) -> None:
        """Close the files."""
        for file in self.files:
            file.close()


class SysfsMeter(Meter):
    """A meter of gauges, which `open` finds.

    Such a meter can be read without Python in between: by its files' paths, and `samples` of what they said.
    """

    gauges: tuple[Gauge, ...] = ()
    is_open: bool = False

    @property
    def domains(self) -> tuple[Domain, ...]:
        """One domain a gauge."""
        return tuple(gauge.domain for gauge in self.gauges)

    @property
    def paths(self) -> list[str]:
        """The files of all gauges, in the order in which `samples` wants their readings."""
        return [file.path for gauge in self.gauges for file in gauge.files]

    def read(self) -> list[Sample]:
        """Return one sample a gauge, each with its own instant. Raises `MeterReadError`."""
        return self.samples(file.reading() for gauge in self.gauges for file in gauge.files)

    def samples(self, readings: Iterable[Reading]) -> list[Sample]:
        """Return one sample a gauge from the readings of all `paths`.

        Raises `MeterReadError` for a text that is no integer, and where taking the next reading raises `OSError`.
        """
        following = iter(readings)
        try:
            return [gauge.sample(following) for gauge in self.gauges]
        except (OSError, ValueError) as error:
            raise MeterReadError(f"meter '{self.name}': a value could not be read: {error}") from error

    def blocks(self, columns: Iterable[Column]) -> list[Block]:
        """Return one block a gauge from the columns of all `paths`."""
        following = iter(columns)
        return [gauge.block(following) for gauge in self.gauges]

    def close(self) -> None:
        """Close the files; the gauges stay known, and a reading fails until the meter is opened again."""
        self.is_open = False
        for gauge in self.gauges:
            gauge.close()
