"""The samples of one domain in order of time, counters unwrapped on the way in.

A failed read adds nothing here, so it can never be taken for a wrap; a counter that went back to zero (a
meter that was unplugged) is told from a wrap by the power that the modular difference would mean. After a
time without readings in which it may have wrapped more than once, nothing is known of it.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import isfinite
from operator import lt, sub
from typing import NamedTuple

from power.base import Domain, wrap_s


class Block(NamedTuple):
    """Readings of one domain, one after the other: their times (ns, CLOCK_MONOTONIC) and values (J or W)."""

    domain: str
    t_ns: Sequence[int]
    values: Sequence[float]


@dataclass(slots=True)
class Series:
    """Times (ns, CLOCK_MONOTONIC) and values (J since the first sample, or W) of one domain.

    `resets` holds the intervals in which the counter lost its place; no energy is known across them.
    Readings that are not finite, or not later than the one before, are counted in `rejected` and dropped.
    """

    domain: Domain
    t_ns: "array[int]" = field(default_factory=lambda: array("q"))
    values: "array[float]" = field(default_factory=lambda: array("d"))
    resets: list[tuple[int, int]] = field(default_factory=list)
    rejected: int = 0
    _raw_j: float = 0.0

    def __len__(self) -> int:
        # The reader thread appends the value last: every index below this has both.
        return len(self.values)

    def add(self, t_ns: int, value: float) -> None:
        """Append one reading: W for a power, J from the meter's own fixed point for a counter."""
        if not isfinite(value) or (self.values and t_ns <= self.t_ns[-1]):
            self.rejected += 1
            return
        if self.domain.kind == "energy":
            value = self._unwrapped(t_ns, value)
        self.t_ns.append(t_ns)
        self.values.append(value)

    def extend(self, t_ns: Sequence[int], values: Sequence[float]) -> None:
        """Append many readings as `add` would one by one, faster where nothing is odd about them."""
        if not t_ns:
            return
        count, rest_ns, rest = len(self), t_ns[1:], values[1:]
        self.add(t_ns[0], values[0])
        if len(self) == count or not self._is_plain(t_ns, values):
            for at_ns, value in zip(rest_ns, rest, strict=True):
                self.add(at_ns, value)
            return
        if self.domain.kind == "energy" and rest:
            steps_j = map(sub, rest, values)
            self._raw_j, rest = rest[-1], list(accumulate(steps_j, initial=self.values[-1]))[1:]
        self.t_ns.extend(array("q", rest_ns))
        self.values.extend(array("d", rest))

    def _is_plain(self, t_ns: Sequence[int], values: Sequence[float]) -> bool:
        """Whether time only goes on, and a counter only by what is plausible however close its readings are."""
        if not all(map(lt, t_ns, t_ns[1:])) or not all(map(isfinite, values)):
            return False
        if self.domain.kind == "power":
            return True
        if may_wrap_unseen((t_ns[-1] - t_ns[0]) * 1e-9, self.domain):
            return False  # as a whole, at least; one by one they tell
        steps_j = list(map(sub, values[1:], values))
        return not steps_j or (min(steps_j) >= 0.0 and max(steps_j) <= plausible_step_j(0.0, self.domain))

    def _unwrapped(self, t_ns: int, raw_j: float) -> float:
        before_j, self._raw_j = self._raw_j, raw_j
        if not self.values:
            return 0.0
        step_j = counter_step_j(before_j, raw_j, (t_ns - self.t_ns[-1]) * 1e-9, self.domain)
        if step_j is None:
            self.resets.append((self.t_ns[-1], t_ns))
            step_j = 0.0
        return self.values[-1] + step_j


def counter_step_j(before_j: float, after_j: float, elapsed_s: float, domain: Domain) -> float | None:
    """Return the energy between two readings of a counter, in J; None where it lost its place.

    The difference is modular: after < before means one wrap of `domain.wrap_j`. A counter that does not
    wrap cannot go backwards, and no counter can exceed `domain.max_power_w` for long (a margin of a
    hundred updates or of the resolution covers late and coarse ones): both are resets, not energy. Nor
    does a difference tell the energy where there was time for more than one wrap.
    """
    if may_wrap_unseen(elapsed_s, domain):
        return None
    step_j = after_j - before_j
    if step_j < 0.0:
        if domain.wrap_j is None:
            return None
        step_j += domain.wrap_j
    return step_j if 0.0 <= step_j <= plausible_step_j(elapsed_s, domain) else None


def may_wrap_unseen(elapsed_s: float, domain: Domain) -> bool:
    """Return whether a counter may have run through its whole range in a time."""
    limit_s = wrap_s(domain)
    return limit_s is not None and elapsed_s > limit_s


def plausible_step_j(elapsed_s: float, domain: Domain) -> float:
    """Return the most that a counter can have counted in a time, in J."""
    slack_s = elapsed_s + max(0.01, 100 * domain.update_s)
    return domain.max_power_w * slack_s + 2 * domain.resolution_j
