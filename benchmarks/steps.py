"""Whole training steps, engine against engine: time and peak memory as ratios to torch `standard`, in one run.

    python benchmarks/steps.py [--workload mlp-mnist] [--batch-size 100] [--steps 100] [--rounds 5] [--threads 2]

Each round runs every pair of engine and trainer once, in turn and in fresh processes, so that a machine whose speed
drifts changes all alike; the ratios are taken round by round and their median is quoted. The data are synthetic, so no
data set is needed. With HARNESS_ISA=avx2 in the environment the native engine takes those kernels, and the record's
name says so. Writes benchmarks/results/steps-WORKLOAD-BATCH.json with every figure and the machine.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from results import store
from results.schema import Trial

RESULTS = Path(__file__).parent / "results"
REFERENCE = "torch standard"
PAIRS = (
    REFERENCE,
    "torch lowmem",
    "native standard",
    "native lowmem",
    "native lowmem-q6",
    "native lean",
    "native lean8",
)


def measure(pair: str, given: argparse.Namespace) -> tuple[Trial, Any]:
    """Run one trial of an engine and a trainer; return it with the machine."""
    engine, trainer = pair.split()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.json"
        options = [
            "--workload",
            given.workload,
            "--engine",
            engine,
            "--trainer",
            trainer,
            "--json",
            str(path),
        ]
        options += ["--batch-size", given.batch_size, "--steps", given.steps, "--threads", given.threads]
        options += [
            "--repeats",
            "1",
            "--synthetic",
            "--test-items",
            "100",
            "--warmup",
            str(given.warmup),
            "--meter",
            "none",
            "--allocator",
            given.allocator,
            "--quiet",
        ]
        subprocess.run([sys.executable, "-P", "-m", "harness", "run", *map(str, options)], check=True)
        document = store.read(path)
    return document.trials[0], document.host


def main() -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workload", default="mlp-mnist")
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--warmup", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--allocator", choices=["pinned", "stock"], default="pinned")
    parser.add_argument("--pair", action="append", choices=PAIRS)
    given = parser.parse_args()
    pairs = [REFERENCE, *(pair for pair in given.pair or PAIRS if pair != REFERENCE)]
    rounds: list[dict[str, dict[str, float]]] = []
    for _ in range(given.rounds):
        figures = {}
        for pair in pairs:
            trial, host = measure(pair, given)
            assert trial.time.step_s and trial.memory.training_peak_bytes, trial.reason
            figures[pair] = {
                "step_s": trial.time.step_s.median,
                "training_peak_bytes": trial.memory.training_peak_bytes,
                "peak_rss_bytes": trial.memory.peak_rss_bytes or 0,
                "modelled_bytes": trial.memory.modelled_bytes or 0,
            }
        rounds.append(figures)
    summary = {pair: summarise(rounds, pair) for pair in pairs}
    for pair, each in summary.items():
        print(f"{pair:18} {1e3 * each['step_s']:9.2f} ms  {each['times_faster']:5.2f}x faster"
              f"  {each['training_peak_mib']:8.2f} MiB  {each['times_smaller']:5.2f}x smaller"
              f"  worker {each['peak_rss_mib']:7.2f} MiB")  # fmt: skip
    record = {"given": vars(given), "cpu": host.cpu, "cores": host.cores, "load_before": host.load_before,
              "libraries": host.libraries, "summary": summary, "rounds": rounds}  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    isa = f"-{os.environ['HARNESS_ISA']}" if "HARNESS_ISA" in os.environ else ""
    path = RESULTS / f"steps-{given.workload}-{given.batch_size}{isa}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")


def summarise(rounds: list[dict[str, dict[str, float]]], pair: str) -> dict[str, float]:
    """Return medians over the rounds, ratios taken round by round."""

    def ratio(figure: str) -> float:
        return statistics.median(each[REFERENCE][figure] / each[pair][figure] for each in rounds)

    def median(figure: str) -> float:
        return statistics.median(each[pair][figure] for each in rounds)

    return {
        "step_s": median("step_s"),
        "times_faster": ratio("step_s"),
        "training_peak_mib": median("training_peak_bytes") / 2**20,
        "times_smaller": ratio("training_peak_bytes"),
        "peak_rss_mib": median("peak_rss_bytes") / 2**20,
        "modelled_mib": median("modelled_bytes") / 2**20,
    }


if __name__ == "__main__":
    main()
