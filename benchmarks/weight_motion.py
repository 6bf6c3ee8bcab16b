"""How do latent weights move under each trainer: how much of it is drift, how much noise, how many signs flip?

    HARNESS_DATA=... python benchmarks/weight_motion.py [--trainer standard --trainer lowmem] [--after 5] [--epochs 20]
    HARNESS_DATA=... python benchmarks/weight_motion.py --workload cnv-cifar10 --epochs 40

Four epochs' ends give three moves of every weight. What one move has in common with the next is drift: the root of the
mean product of the two. The rest of the root mean square is noise. One-bit gradients have `sign_rate` times the
learning rate so that their drift is that of real ones; this is what shows whether it is. Native engine, batch 100,
Adam, cosine to 0, as `accuracy.py`. Adds to benchmarks/results/weight_motion.json.
"""

import argparse
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from accuracy import BATCH, Feed, commit, prepared, train_epoch

from workloads.datasets.base import PreparedDataset
from workloads.engines import native
from workloads.engines.base import Job
from workloads.engines.native.training import NativeTraining
from workloads.recipes import optimizer, recipe
from workloads.registry import Workload, workload

RESULTS = Path(__file__).parent / "results" / "weight_motion.json"
MOVES = 3


def weights_by_epoch(
    given: argparse.Namespace, row: Workload, data: PreparedDataset, trainer: str
) -> list[list[np.ndarray]]:
    """Train; return the weights of each stage (float32) at the ends of the last four epochs that are wanted."""
    trained, network = recipe(trainer), row.specification()
    training = NativeTraining(Job(network, trained, optimizer("adam"), BATCH, 1, given.seed, {}))
    training.set_up()
    feed, seen = Feed(data, row, given.seed, native.data_core()), []
    for epoch in range(given.after + MOVES):
        train_epoch(training, feed, epoch, given.epochs, row.rate_of("adam"))
        if epoch + 1 >= given.after:
            stages = range(len(network.stages))
            seen.append([_weights(training, stage, trained.weight) for stage in stages])
    training.close()
    return seen


def _weights(training: NativeTraining, stage: int, dtype: str) -> np.ndarray:
    data = training.variable("W", stage).tobytes()
    values = np.frombuffer(data, dtype).astype(np.float32)
    return values / 127 if dtype == "int8" else values


def motion(ends: list[np.ndarray]) -> dict[str, float]:
    """Return drift and noise an epoch, and the share of signs that the moves flipped together."""
    moves = [after - before for before, after in pairwise(ends)]
    square = float(np.mean([np.mean(move**2) for move in moves]))
    common = float(np.mean([np.mean(a * b) for a, b in pairwise(moves)]))
    return {
        "rms_weight": round(float(np.sqrt(np.mean(ends[-1] ** 2))), 4),
        "drift": round(max(common, 0.0) ** 0.5, 5),
        "noise": round(max(square - common, 0.0) ** 0.5, 5),
        "flipped_percent": round(100 * float(np.mean((ends[0] >= 0) != (ends[-1] >= 0))), 2),
    }


def main() -> None:
    """Train with each trainer, print a row a stage, and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--workload", default="mlp-mnist")
    parser.add_argument("--trainer", action="append")
    parser.add_argument("--epochs", type=int, default=20, help="of the schedule")
    parser.add_argument("--after", type=int, default=5, help="epochs before the first move")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    row = workload(given.workload)
    data = prepared(row)
    records: list[dict[str, Any]] = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    for trainer in given.trainer or ["standard", "lowmem"]:
        ends = weights_by_epoch(given, row, data, trainer)
        about = {**vars(given), "trainer": trainer}
        found = {
            stage.name: motion([each[index] for each in ends])
            for index, stage in enumerate(row.specification().stages)
        }
        for name, figures in found.items():
            print(f"{trainer:10} {name:8} {figures}", flush=True)
        records = [each for each in records if each["given"] != about]
        records.append({"commit": commit(), "given": about, "stages": found})
        RESULTS.write_text(json.dumps(records, indent=1) + "\n")


if __name__ == "__main__":
    main()
