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


def average_share(batch: int, cooled: float) -> float:
    """Return the share of the batch of that number, from 1, in the moving averages of batch normalisation.

    The first ten batches count alike. Then a batch has a tenth at the full learning rate, and less as the rate falls,
    down to a hundredth: the slower the weights move, the further back their statistics may reach. A fixed tenth
    follows the noise of some 20 batches to the end, which costs a binary network 0.1 to 0.2 points of accuracy; a
    fixed hundredth remembers, at the full rate, statistics of weights long gone.

    Args:
        batch: how many batches have been seen, this one included.
        cooled: the learning rate of the last step as a share of the largest so far, 0 to 1.
    """
    return max(1 / batch, 0.01, 0.1 * cooled)
