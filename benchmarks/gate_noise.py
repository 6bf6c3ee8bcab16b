"""Whether noise alone ever fails a gate: one baseline, then the same program held to it again and again.

    python benchmarks/gate_noise.py [--engine native] [--checks 50] [--repeats 3] [--steps 100] [--metric M]...

Records a baseline of the MLP by five repeats under the pinned allocator, then runs and checks it `--checks` times, each
time in fresh processes. Writes benchmarks/results/gate_noise-ENGINE.json: the exit codes of all checks, by metric the
tolerance of the baseline and the largest distance from it, and the machine's load. The promise is that without the
time every exit code is 0 on any machine, and that no check says that the time regressed.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from results import baselines, gate, store
from results.gate import Verdict
from results.schema import Document

RESULTS = Path(__file__).parent / "results"


def measure(options: argparse.Namespace, repeats: int, path: Path) -> Document:
    """Run both trainers `repeats` times."""
    command = [
        sys.executable,
        "-P",
        "-m",
        "harness",
        "run",
        "--quiet",
        "--meter",
        "none",
        "--allocator",
        "pinned",
    ]
    command += ["--engine", options.engine, "--steps", str(options.steps), "--repeats", str(repeats)]
    subprocess.run([*command, "--json", str(path)], check=True)
    return store.read(path)


def distances(verdicts: list[list[Verdict]], held_to: baselines.Baselines) -> dict[str, Any]:
    """Return for each trainer and metric the tolerance, the largest distance from the baseline, and the verdicts."""
    found: dict[str, Any] = {}
    for key, entry in held_to.entries():
        for name, value in entry.metrics.items():
            these = [each for run in verdicts for each in run if each.key == key and each.metric == name]
            values = [each.value for each in these if each.value is not None]
            assert value.value is not None
            found[f"{key.trainer} {name}"] = {
                "baseline": value.value,
                "tolerance": value.tolerance,
                "largest_distance": max(abs(each / value.value - 1) for each in values),
                "verdicts": dict(Counter(str(each.status) for each in these)),
            }
    return found


def exit_codes(verdicts: list[list[Verdict]]) -> dict[str, int]:
    """Return how many checks ended with which exit code."""
    counts = Counter(gate.exit_code(each) for each in verdicts)
    return {str(code): count for code, count in sorted(counts.items())}


def main() -> None:
    """Record the baseline, check, and write what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", default="native")
    parser.add_argument("--checks", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--metric", action="append", dest="metrics")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "baseline.toml"
        first = measure(options, 5, Path(folder) / "first.json")
        baselines.update(path, [first], "the same program", options.metrics)
        held_to, verdicts, loads = baselines.read(path), [], []
        for index in range(options.checks):
            document = measure(options, options.repeats, Path(folder) / "run.json")
            verdicts.append(gate.check(document, held_to))
            loads.append(document.host.load_before)
            print(f"check {index + 1}: exit code {gate.exit_code(verdicts[-1])}", flush=True)
    timeless = [[each for each in run if each.metric != "time_ratio"] for run in verdicts]
    record = {
        "engine": options.engine,
        "steps": options.steps,
        "repeats": options.repeats,
        "checks": options.checks,
        "created": f"{first.created:%Y-%m-%dT%H:%M:%SZ}",
        "machine": {"cpu": first.host.cpu, "cores": first.host.cores, "loads_before": loads},
        "exit_codes": exit_codes(verdicts),
        "exit_codes_without_time": exit_codes(timeless),
        "metrics": distances(verdicts, held_to),
        "failures": sorted(
            {each.detail for run in verdicts for each in run if str(each.status) not in ("ok", "improved")}
        ),
    }
    target = RESULTS / f"gate_noise-{options.engine}.json"
    target.write_text(json.dumps(record, indent=2) + "\n")
    print(f"{record['exit_codes']}, without time {record['exit_codes_without_time']}; written: {target}")


if __name__ == "__main__":
    main()
