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


def average_share(batch: int, cooled: float, items: int) -> float:
    """Return the share of the batch of that number, from 1, in the moving averages of batch normalisation.

    A share s errs by noise and by age. The noise of 2/s batches has the variance s/(2 · items); the weights have moved
    on by rate/s since, which counts squared. The sum is least where s goes by the cube root of rate² · items. Of 100
    items at the full rate it is best at a fifth, and flat around it (`benchmarks/README.md`). It is never below a
    hundredth, and until then all batches count alike.

    Args:
        batch: how many batches have been seen, this one included.
        cooled: the learning rate of the last step as a share of the largest so far, 0 to 1.
        items: how many items the batch has.
    """
    return min(1.0, max(1 / batch, 0.01, 0.2 * math.cbrt(cooled * cooled * items / 100)))
