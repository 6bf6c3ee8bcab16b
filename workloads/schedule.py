"""Learning-rate schedules: pure functions of the step."""

import math


def learning_rate(initial: float, schedule: str, step: int, steps: int) -> float:
    """Return the rate of step 0 ≤ `step` < `steps`.

    `cosine` falls from `initial` to 0 along half a cosine (Loshchilov & Hutter 2017, without restarts);
    `constant` stays. Raises ValueError for any other name.
    """
    if schedule == "constant":
        return initial
    if schedule == "cosine":
        return initial * 0.5 * (1 + math.cos(math.pi * step / steps))
    raise ValueError(f"unknown schedule '{schedule}'; there is: constant, cosine")
