"""Time of a native step against the batch size: it should grow linearly, with a small constant.

    python benchmarks/batch_scaling.py [--workload mlp-mnist] [--trainer lean] [--threads 2] [--rounds 5]

Every round runs each batch size from 10 to 400 once, in turn, on synthetic pixels; of each size the fastest step of all
rounds is kept, and a line is fitted to those. Writes benchmarks/results/batch_scaling-WORKLOAD-TRAINER.json; exits with
1 where a time is off the line by more than the tolerance.
"""

import argparse
import json
import platform
import random
import statistics
import sys
import time
from pathlib import Path

from workloads import recipes, registry
from workloads.engines import native
from workloads.engines.base import Job

RESULTS = Path(__file__).parent / "results"
BATCHES = (10, 20, 50, 100, 200, 400)


def fastest_step_s(given: argparse.Namespace, batch: int) -> float:
    """Return the time of the fastest of a few steps, after one that touches the memory first."""
    network = registry.workload(given.workload).specification()
    job = Job(network, recipes.recipe(given.trainer), recipes.optimizer("adam"), batch, given.threads, 0, {})
    training = native.create(job)
    training.set_up()
    pixels = random.Random(batch).randbytes(batch * network.stages[0].inputs)
    images, labels = (
        memoryview(bytearray(pixels)),
        memoryview(bytearray(i % network.classes for i in range(batch))),
    )
    times = []
    for _ in range(given.steps + 1):
        begun = time.perf_counter()
        training.step(images, labels, 1e-3, lambda phase: None)
        times.append(time.perf_counter() - begun)
    training.close()
    return min(times[1:])


def main() -> int:
    """Measure, fit, print and record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workload", default="mlp-mnist")
    parser.add_argument("--trainer", default="lean")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tolerance", type=float, default=0.15, help="share of the line's value")
    given = parser.parse_args()
    step_s = dict.fromkeys(BATCHES, float("inf"))
    for _ in range(given.rounds):
        for batch in BATCHES:
            step_s[batch] = min(step_s[batch], fastest_step_s(given, batch))
    line = statistics.linear_regression(list(step_s), list(step_s.values()))
    # Small sizes are a constant and little else: their deviation is held against the time of 50 items at least.
    off = {
        batch: (found - line.intercept - line.slope * batch)
        / max(line.intercept + line.slope * batch, line.intercept + line.slope * 50)
        for batch, found in step_s.items()
    }
    for batch, found in step_s.items():
        print(
            f"{batch:5} {1e3 * found:9.3f} ms  {1e6 * found / batch:8.2f} us an item  off the line {off[batch]:+7.1%}"
        )
    linear = max(map(abs, off.values())) <= given.tolerance
    record = {"given": vars(given), "machine": platform.processor() or platform.machine(), "engine": native.facts(),
              "step_s": step_s, "slope_s": line.slope, "intercept_s": line.intercept,
              "off": off, "linear": linear}  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"batch_scaling-{given.workload}-{given.trainer}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    return 0 if linear else 1


if __name__ == "__main__":
    sys.exit(main())
