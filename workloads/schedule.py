"""Learning-rate schedules, and the weight of a batch in the moving averages: pure functions of the step."""

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


def average_share(batch: int) -> float:
    """Return the share of the batch of that number, from 1, in the moving averages of batch normalisation.

    The first ten batches count alike; then a batch has a tenth; from the hundredth on the averages reach back over a
    tenth of the training so far (averaging of polynomial decay: Shamir & Zhang 2013), from the thousandth on over a
    hundred batches. A fixed tenth follows the noise of some 20 batches, which costs a binary network 0.1 to 0.2
    points of accuracy; a fixed hundredth remembers, in a short training, statistics of weights long gone.
    """
    return max(1 / batch, min(0.1, max(0.01, 10 / batch)))
