"""Whether noise alone ever fails a gate: one baseline, then the same program held to it again and again.

    python benchmarks/gate_noise.py [--engine native] [--checks 50] [--repeats 5] [--steps 100] [--metric M]...
        [--append]

Records a baseline of the MLP by eight repeats under the pinned allocator, then runs and checks it `--checks` times,
each time in fresh processes. Writes benchmarks/results/gate_noise-ENGINE.json after each check: exit code, values, and
the most that others took of the processors in one of its windows; over all checks, by metric the tolerance and the
largest distance from the baseline (benchmarks/results/gate_noise-ENGINE.toml). With `--append` the checks join those of
the record and are held to its baseline. The promise is that every exit code is 0.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from results import baselines, gate, ratchet, store
from results.gate import Verdict
from results.schema import Document

RESULTS = Path(__file__).parent / "results"


def measure(options: argparse.Namespace, repeats: int, path: Path) -> Document:
    """Run both trainers `repeats` times."""
    command = [sys.executable, "-P", "-m", "harness", "run", "--quiet", "--meter", "none"]
    command += ["--allocator", "pinned", "--engine", options.engine]
    command += ["--steps", str(options.steps), "--repeats", str(repeats)]
    subprocess.run([*command, "--json", str(path)], check=True)
    return store.read(path)


def checked(document: Document, held_to: baselines.Baselines) -> dict[str, Any]:
    """Return one check as the record keeps it."""
    verdicts = gate.check(document, held_to)
    timeless = [each for each in verdicts if each.metric != "time_ratio"]
    return {
        "created": f"{document.created:%Y-%m-%dT%H:%M:%SZ}",
        "exit_code": gate.exit_code(verdicts),
        "exit_code_without_time": gate.exit_code(timeless),
        "others_processors": others(document),
        "values": {_name(each): each.value for each in verdicts},
        "statuses": {_name(each): str(each.status) for each in verdicts},
        "failures": [each.detail for each in verdicts if str(each.status) not in ("ok", "improved")],
    }


def others(document: Document) -> float | None:
    """Return the most processors that others took in a measured window; None where no window could tell."""
    windows = [trial.validity.others_window for trial in document.trials]
    return max((round(use.others_s / use.duration_s, 3) for use in windows if use), default=None)


def summary(checks: list[dict[str, Any]], held_to: baselines.Baselines) -> dict[str, Any]:
    """Return what came of all checks: exit codes, and by metric the tolerance and the largest distance."""
    metrics: dict[str, Any] = {}
    for key, entry in held_to.entries():
        for metric, value in entry.metrics.items():
            name = f"{key.trainer} {metric}"
            assert value.value is not None
            metrics[name] = {
                "baseline": value.value,
                "tolerance": value.tolerance,
                "largest_distance": max(abs(each["values"][name] / value.value - 1) for each in checks),
                "verdicts": dict(Counter(each["statuses"][name] for each in checks)),
            }
    codes = ("exit_code", "exit_code_without_time")
    return {
        **{f"{code}s": dict(sorted(Counter(str(each[code]) for each in checks).items())) for code in codes},
        "metrics": metrics,
    }


def begin(options: argparse.Namespace, baseline: Path) -> dict[str, Any]:
    """Record the baseline and return the record's head."""
    baseline.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        first = measure(options, 8, Path(folder) / "first.json")
    ratchet.update(baseline, [first], "the same program", options.metrics)
    return {
        "engine": options.engine,
        "steps": options.steps,
        "repeats": options.repeats,
        "created": f"{first.created:%Y-%m-%dT%H:%M:%SZ}",
        "machine": {"cpu": first.host.cpu, "cores": first.host.cores},
        "others_processors_while_recording": others(first),
        "checks": [],
    }


def _name(verdict: Verdict) -> str:
    return f"{verdict.key.trainer} {verdict.metric}"


def main() -> None:
    """Record the baseline unless there is one, check, and write what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", default="native")
    parser.add_argument("--checks", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--metric", action="append", dest="metrics")
    parser.add_argument("--append", action="store_true")
    options = parser.parse_args()
    target = RESULTS / f"gate_noise-{options.engine}.json"
    baseline = target.with_suffix(".toml")
    record = json.loads(target.read_text()) if options.append else begin(options, baseline)
    options.steps, options.repeats = record["steps"], record["repeats"]
    held_to = baselines.read(baseline)
    for _ in range(options.checks):
        with tempfile.TemporaryDirectory() as folder:
            document = measure(options, options.repeats, Path(folder) / "run.json")
        record["checks"].append(checked(document, held_to))
        record["summary"] = summary(record["checks"], held_to)
        target.write_text(json.dumps(record, indent=1) + "\n")
        print(f"check {len(record['checks'])}: exit code {record['checks'][-1]['exit_code']}", flush=True)
    print(f"{record['summary']['exit_codes']} over {len(record['checks'])} checks; written: {target}")


if __name__ == "__main__":
    main()
