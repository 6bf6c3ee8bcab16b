"""Whole training steps, engine against engine: time and peak memory as ratios to torch `standard`, in one run.

    python benchmarks/steps.py [--workload mlp-mnist] [--batch-size 100] [--steps 100] [--rounds 5] [--threads 2]

Each round runs every pair of engine and trainer once, in turn and in fresh processes, so that a machine whose speed
drifts changes all alike; the ratios are taken round by round and their median is quoted. `plain eager` and `plain
compiled` are the same network as a PyTorch user writes it (`plain_torch.py`), the latter under `torch.compile`, which
needs a C++ compiler; they keep the allocator as users have it. The data are synthetic, so no data set is needed. With
HARNESS_ISA=avx2 in the environment the native engine takes those kernels, and the record's name says so. Writes
benchmarks/results/steps-WORKLOAD-BATCH.json with every figure and the machine.
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
PLAIN = Path(__file__).parent / "plain_torch.py"
REFERENCE = "torch standard"
PLAIN_PAIRS = ("plain eager", "plain compiled")
Figures = dict[str, float | None]
PAIRS = (
    REFERENCE,
    *PLAIN_PAIRS,
    "torch lowmem",
    "native standard",
    "native lowmem",
    "native lowmem-centred",
    "native lowmem-q6",
    "native lean",
    "native lean-centred",
    "native lean8",
)


def measure(pair: str, given: argparse.Namespace) -> tuple[Figures, Any]:
    """Run one pair in a process of its own; return its figures, and the machine where an engine ran."""
    if pair in PLAIN_PAIRS:
        return measure_plain(pair.split()[1], given), None
    trial, host = measure_engine(pair, given)
    assert trial.time.step_s and trial.memory.training_peak_bytes, trial.reason
    figures: Figures = {
        "step_s": trial.time.step_s.median,
        "training_peak_bytes": trial.memory.training_peak_bytes,
        "peak_rss_bytes": trial.memory.peak_rss_bytes,
        "modelled_bytes": trial.memory.modelled_bytes,
    }
    return figures, host


def measure_plain(mode: str, given: argparse.Namespace) -> Figures:
    """Run the plain module, eagerly or compiled; no model speaks for its memory."""
    options = {
        "--mode": mode,
        "--batch-size": given.batch_size,
        "--steps": given.steps,
        "--warmup": given.warmup,
        "--threads": given.threads,
    }
    command = [
        sys.executable,
        str(PLAIN),
        given.workload,
        *(str(part) for each in options.items() for part in each),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": str(given.threads), "PYTHONPATH": str(PLAIN.parents[1])}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return {**json.loads(done.stdout), "modelled_bytes": None}


def measure_engine(pair: str, given: argparse.Namespace) -> tuple[Trial, Any]:
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
    if "plain compiled" in pairs:
        # What it compiles is kept on disk: no round waits for the compiler.
        measure_plain("compiled", argparse.Namespace(**{**vars(given), "steps": 1, "warmup": 0}))
    rounds: list[dict[str, Figures]] = []
    host: Any = None
    for _ in range(given.rounds):
        figures = {}
        for pair in pairs:
            figures[pair], machine = measure(pair, given)
            host = machine or host
        rounds.append(figures)
    summary = {pair: summarise(rounds, pair) for pair in pairs}
    for pair, each in summary.items():
        print(
            f"{pair:18}",
            "  ".join(f"{name} {value:.4g}" for name, value in each.items() if value is not None),
        )
    record = {"given": vars(given), "cpu": host.cpu, "cores": host.cores, "load_before": host.load_before,
              "libraries": host.libraries, "summary": summary, "rounds": rounds}  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    isa = f"-{os.environ['HARNESS_ISA']}" if "HARNESS_ISA" in os.environ else ""
    path = RESULTS / f"steps-{given.workload}-{given.batch_size}{isa}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")


def summarise(rounds: list[dict[str, Figures]], pair: str) -> Figures:
    """Return medians over the rounds, ratios taken round by round; None for what was not measured."""

    def ratio(figure: str, reference: str = REFERENCE) -> float | None:
        if reference not in rounds[0]:
            return None
        pairs = [(each[reference][figure], each[pair][figure]) for each in rounds]
        return statistics.median(theirs / ours for theirs, ours in pairs if theirs and ours)

    def median(figure: str, unit: float = 1.0) -> float | None:
        values = [value for each in rounds if (value := each[pair][figure]) is not None]
        return statistics.median(values) / unit if values else None

    return {
        "step_s": median("step_s"),
        "times_faster": ratio("step_s"),
        "times_faster_than_eager": ratio("step_s", "plain eager"),
        "times_faster_than_compiled": ratio("step_s", "plain compiled"),
        "training_peak_mib": median("training_peak_bytes", 2**20),
        "times_smaller": ratio("training_peak_bytes"),
        "peak_rss_mib": median("peak_rss_bytes", 2**20),
        "modelled_mib": median("modelled_bytes", 2**20),
    }


if __name__ == "__main__":
    main()
