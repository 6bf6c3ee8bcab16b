"""How far back should the moving averages of batch normalisation reach? Several rules, side by side in one training.

    HARNESS_DATA=... python benchmarks/moving_averages.py --after 3 --after 10 [--batch-size 100] [--points 10]
    HARNESS_DATA=... python benchmarks/moving_averages.py --workload cnv-cifar10 --epochs 40 --after 4 --points 3

The averages have no part in training: from the statistics of each batch every rule makes its own, and the test set is
classified with each in turn, at several points 25 steps apart, and once with fresh statistics of 2,000 training images,
which have no age. The native engine's own averages tell what a batch's statistics were. Adds one row for each `--after`
(epochs trained before the first point) to benchmarks/results/moving_averages.json.
"""

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

import numpy as np
from accuracy import Feed, accuracy, commit, fresh_statistics, in_order, prepared

from workloads.datasets.base import PreparedDataset
from workloads.engines import native
from workloads.engines.base import Job
from workloads.engines.native.training import NativeTraining
from workloads.recipes import optimizer, recipe
from workloads.registry import Workload, workload
from workloads.schedule import average_share, learning_rate

RESULTS = Path(__file__).parent / "results" / "moving_averages.json"
LEAD, GAP = 100, 25  # steps before the first point, and between two
Averages = list[np.ndarray]


def by_cube_root(at_full_rate: float) -> Callable[[float, int], float]:
    """Return the rule of `average_share`, with another share of 100 items at the full rate."""
    return lambda cooled, items: min(1.0, max(0.01, at_full_rate * math.cbrt(cooled**2 * items / 100)))


# The share of a batch, given the rate as a part of the largest, and the batch's items.
RULES: dict[str, Callable[[float, int], float]] = {
    "0.01": lambda cooled, items: 0.01,
    "0.1": lambda cooled, items: 0.1,
    "0.1 by rate": lambda cooled, items: max(0.01, 0.1 * cooled),
    "0.2 by rate": lambda cooled, items: max(0.01, 0.2 * cooled),
    **{f"{share} by cube root": by_cube_root(share) for share in (0.1, 0.2, 0.3, 0.4)},
}


class Watched:
    """A training whose batches' statistics are seen."""

    def __init__(self, given: argparse.Namespace, row: Workload, data: PreparedDataset) -> None:
        self._rate_at_first, self._data, self.items = row.rate_of("adam"), data, given.batch_size
        job = Job(
            row.specification(), recipe(given.trainer), optimizer("adam"), given.batch_size, 1, given.seed, {}
        )
        self.training = NativeTraining(job)
        self.training.set_up()
        self._feed = Feed(data, row, given.seed, native.data_core(), given.batch_size)
        self._steps = given.epochs * self._feed.batches
        self._step = 0
        places = [each.stage for each in self.training.plan.variables if each.role == "mu_psi.moving"]
        views = [self.training.variable("mu_psi.moving", stage).cast("f") for stage in places]
        self.own: Averages = [np.frombuffer(view, np.float32) for view in views]

    def _rate(self, step: int) -> float:
        return learning_rate(self._rate_at_first, "cosine", step, self._steps)

    def epochs(self, count: int) -> None:
        """Train until so many epochs are done."""
        while self._step < count * self._feed.batches:
            self._train()

    def _train(self) -> None:
        self.training.step(*self._feed.next(), self._rate(self._step), lambda phase: None)
        self._step += 1

    def batch_statistics(self) -> tuple[Averages, float]:
        """Train one step; return the statistics of its batch, and the rate before it as a part of the largest."""
        before = [each.astype(np.float64) for each in self.own]
        cooled = self._rate(self._step - 1) / self._rate_at_first
        share = average_share(self._step + 1, cooled, self.items)
        self._train()
        return [old + (new - old) / share for old, new in zip(before, self.own, strict=True)], cooled

    def accuracy_with(self, averages: Averages) -> float:
        """Classify the test set with these, and put the training's own back."""
        before = [each.copy() for each in self.own]
        self._set(averages)
        reached = self._accuracy()
        self._set(before)
        return reached

    def accuracy_fresh(self) -> float:
        """Classify it with the statistics of 2,000 training images as the network is now."""
        with fresh_statistics(self.training, in_order(self._data.train, 2_000, self.items)):
            return self._accuracy()

    def _accuracy(self) -> float:
        return accuracy(self.training, self._data.test, self.items)

    def _set(self, averages: Averages) -> None:
        for own, each in zip(self.own, averages, strict=True):
            own[:] = each


def compare(watched: Watched, points: int) -> dict[str, float]:
    """Return the mean accuracy over the points, by rule."""
    averages = {name: [each.astype(np.float64) for each in watched.own] for name in RULES}
    reached: dict[str, list[float]] = {name: [] for name in (*RULES, "fresh")}
    for step in range(1, LEAD + GAP * (points - 1) + 1):
        seen, cooled = watched.batch_statistics()
        for name, rule in RULES.items():
            share = rule(cooled, watched.items)
            for own, batch in zip(averages[name], seen, strict=True):
                own += share * (batch - own)
        if step >= LEAD and (step - LEAD) % GAP == 0:
            for name, own in averages.items():
                reached[name].append(watched.accuracy_with(own))
            reached["fresh"].append(watched.accuracy_fresh())
    return {name: round(fmean(each), 3) for name, each in reached.items()}


def main() -> None:
    """Train to each point, compare there, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--workload", default="mlp-mnist")
    parser.add_argument("--trainer", default="lowmem")
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=20, help="of the schedule")
    parser.add_argument("--after", type=int, action="append", required=True)
    parser.add_argument("--points", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    row = workload(given.workload)
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    watched = Watched(given, row, prepared(row))
    for after in sorted(given.after):
        watched.epochs(after)
        reached = compare(watched, given.points)
        about = {key: value for key, value in vars(given).items() if key != "after"} | {"after": after}
        print(about, reached, sep="\n  ", flush=True)
        rows = [each for each in rows if each["given"] != about]
        rows.append({"commit": commit(), "given": about, "test_accuracy": reached})
        RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    watched.training.close()


if __name__ == "__main__":
    main()
