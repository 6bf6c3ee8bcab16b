"""Counters that are one: of two domains that show the same counter, the later is nested in the earlier.

On an AMD processor of several dies each shows the counter of the package as if it were its own: in powercap as zones,
in perf as events (kernels since 6.9 take a core complex for a die). On an Intel processor of several dies (Cascade
Lake-AP) each die has a counter, and they add up. Nothing in sysfs tells the two apart; what the counters do in a moment
does: those that keep their distance, to the step, are one. Two dies advance differently, by thousands of steps.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from power.base import Domain

#: Readings that tell a counter from its mirror, and the time between them: some updates, a moment at opening.
_ROUNDS, _BETWEEN_S = 9, 0.01


def rounds_of(read: Callable[[], list[int]]) -> list[list[int]]:
    """Return what all counters show, time and again for a moment. What `read` raises passes through."""
    rounds = [read()]
    while len(rounds) < _ROUNDS:
        time.sleep(_BETWEEN_S)
        rounds.append(read())
    return rounds


def without_mirrors(
    domains: Sequence[Domain], kinds: Sequence[object], rounds: Sequence[Sequence[int]]
) -> list[Domain]:
    """Nest a domain that repeats an earlier one's counter inside it, so that it is not added up twice.

    Only domains of one of `kinds` can be one counter. `rounds` holds the counts of all domains, one after the other,
    time and again.
    """
    counts = list(zip(*rounds, strict=True))
    apart: list[Domain] = []
    for index, domain in enumerate(domains):
        earlier = [i for i in range(index) if kinds[i] == kinds[index]]
        same = next((i for i in earlier if _alike(counts[i], counts[index])), None)
        apart.append(domain if same is None else replace(domain, parent=domains[same].name))
    return apart


def _alike(a: Sequence[int], b: Sequence[int]) -> bool:
    """Tell whether two counters keep their distance in most rounds, moving.

    All rounds but those count in which the counter was renewed just between the two readings. (Held against the round
    before, each such round would count twice.) Equal pairs, of a counter that stands still, count once.
    """
    distances = Counter(q - p for p, q in set(zip(a, b, strict=True)))
    return 2 * max(distances.values()) > len(a)
