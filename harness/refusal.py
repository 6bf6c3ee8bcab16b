"""Refusing harness-train what cannot fit its ceiling: it has no memory model, so its parent judges for it.

The program says what it holds just before it sets up. From that and the layout of the arena follows what is missing, as
the Python worker finds it by itself; the parent then ends the program. Where the kernel is faster and ends it in the
middle of its set-up, the same numbers are the reason all the same.
"""

from collections.abc import Callable

from harness.ceilings import Ceiling
from harness.messages import AnyMessage, Peak
from harness.plan import TrialPlan
from workloads.errors import WorkloadError

Refuse = Callable[[AnyMessage], str | None]


def nothing(message: AnyMessage) -> str | None:
    """Refuse nothing: what a worker is watched with that judges for itself, or has no ceiling."""
    return None


def judge(trial: TrialPlan, ceiling: Ceiling | None) -> Refuse:
    """Return what tells from a worker's message why its training cannot fit; None while it may."""
    if trial.worker != "program" or ceiling is None or not ceiling.of_the_host:
        return nothing
    from workloads.engines.native import fitting  # loads the core, which other workers' parents should not

    job, limit_bytes = trial.engine_job(), ceiling.limit_bytes
    try:
        needed = fitting.arena_bytes(job)
    except WorkloadError:
        return nothing  # the program will say what is wrong with its core

    def refuse(message: AnyMessage) -> str | None:
        if not isinstance(message, Peak) or message.phase != "library" or message.rss_bytes is None:
            return None
        room = max(0, limit_bytes - message.rss_bytes)
        return fitting.refusal(job, needed, room) if room < needed else None

    return refuse
