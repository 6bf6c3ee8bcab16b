"""Whether `harness fit` is right: every batch size tried under the same ceiling, beside its answer.

    python benchmarks/fit_brute_force.py [--mechanism M]... [--workload W]... [--trainer T]... [--append]

For each workload, trainer and mechanism, with the native engine on noise and one step a run: `fit` answers; then runs
say what really fits, at every multiple of its resolution within six steps of the answer, and a quarter apart from 1 to
three times the answer. The largest size below which nothing failed must be within one step of the resolution.
Writes benchmarks/results/fit_brute_force.json; exits with 1 where they disagree.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from harness import fit, host, plan, runner
from harness.display import Quiet
from harness.errors import LimitUnavailableError
from results.fit_document import FittedTrainer

RECORD = Path(__file__).parent / "results" / "fit_brute_force.json"
MIB = 1 << 20
CEILINGS = {"mlp-mnist": 24 * MIB, "cnv-cifar10": 64 * MIB}
NEIGHBOURS = 6


def options(**changes: Any) -> plan.Options:
    """Return what every run here shares: one step on noise, evaluated on nothing but its own batch."""
    asked = fit.Question(workload="").options
    shared = {"engine": "native", "synthetic": True, "steps": 1, "warmup": 0, "idle_s": 0.0}
    return msgspec.structs.replace(asked, **(shared | changes))


def fits(workload: str, trainer: str, mechanism: str, batch_size: int) -> bool:
    """Run that batch size once and tell whether it ended well."""
    chosen = options(
        workloads=(workload,),
        trainers=(trainer,),
        batch_size=batch_size,
        ceiling_bytes=CEILINGS[workload],
        mechanism=mechanism,
        test_items=batch_size,
    )
    (trial,) = runner.trials(plan.build(chosen), Quiet())
    if trial.outcome not in ("ok", "out_of_memory"):
        raise SystemExit(f"{workload} {trainer} at batch {batch_size}: {trial.reason}")
    return trial.outcome == "ok"


def sizes(answer: int, resolution: int) -> list[int]:
    """Return the batch sizes to try: densely around the answer, coarsely from 1 to three times it."""
    near = {answer + step * resolution for step in range(-NEIGHBOURS, NEIGHBOURS + 1)}
    far, size = {1, 3 * answer}, 1.0
    while size < 3 * answer:
        size = max(size + 1, size * 1.25)
        far.add(min(round(size), 3 * answer))
    return sorted(size for size in near | far if size >= 1)


def brute_force(workload: str, fitted: FittedTrainer, mechanism: str) -> dict[str, Any]:
    """Try every size and say what fits; `holes` are sizes that failed below one that did not."""
    answer = fitted.batch_size or 0
    tried = {
        size: fits(workload, fitted.trainer, mechanism, size) for size in sizes(answer, fitted.resolution)
    }
    first_failed = min((size for size, ok in tried.items() if not ok), default=None)
    largest = max((size for size in tried if first_failed is None or size < first_failed), default=0)
    return {
        "workload": workload,
        "trainer": fitted.trainer,
        "mechanism": mechanism,
        "ceiling_bytes": CEILINGS[workload],
        "fit": answer,
        "resolution": fitted.resolution,
        "predicted": fitted.predicted_batch_size,
        "runs_of_fit": len(fitted.attempts),
        "largest_that_fits": largest,
        "smallest_that_does_not": first_failed,
        "holes": [size for size, ok in tried.items() if ok and first_failed and size > first_failed],
        "agrees": first_failed is not None and abs(largest - answer) <= fitted.resolution,
        "tried": {str(size): ok for size, ok in tried.items()},
    }


def cases(asked: argparse.Namespace, mechanism: str) -> list[dict[str, Any]]:
    """Let `fit` answer for every workload and trainer, and try its answers."""
    found = []
    for workload in asked.workload or CEILINGS:
        question = fit.Question(
            workload=workload,
            trainers=tuple(asked.trainer or plan.DEFAULT_TRAINERS),
            ceiling_bytes=CEILINGS[workload],
            mechanism=mechanism,
            options=options(),
        )
        for fitted in fit.answer(question, lambda line: None).trainers:
            case = brute_force(workload, fitted, mechanism)
            found.append(case)
            print(
                f"{workload} {fitted.trainer} ({mechanism}): fit {case['fit']}, brute force "
                f"{case['largest_that_fits']}, resolution {case['resolution']}, {len(case['tried'])} runs: "
                f"{'agrees' if case['agrees'] else 'DISAGREES'}",
                flush=True,
            )
    return found


def main() -> None:
    """Try every case under each mechanism this machine has, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mechanism", action="append")
    parser.add_argument("--workload", action="append")
    parser.add_argument("--trainer", action="append")
    parser.add_argument("--append", action="store_true")
    asked = parser.parse_args()
    machine = {"cpu": host.cpu_name(), "cores": host.usable_cores()}
    record: dict[str, Any] = {"machine": machine, "unavailable": {}, "cases": []}
    if asked.append and RECORD.exists():
        record = json.loads(RECORD.read_text())
    for mechanism in asked.mechanism or ("cgroup-v2", "cgroup-v1", "watchdog"):
        try:
            record["cases"] += cases(asked, mechanism)
        except LimitUnavailableError as error:
            record["unavailable"][mechanism] = str(error)
            print(f"{mechanism}: {error}")
    RECORD.write_text(json.dumps(record, indent=1) + "\n")
    sys.exit(0 if all(case["agrees"] for case in record["cases"]) else 1)


if __name__ == "__main__":
    main()
