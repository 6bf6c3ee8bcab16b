"""How much the measured peak of one and the same pinned trial varies: N fresh processes a trainer.

    python benchmarks/peak_repeatability.py [--repeats 5] [--steps 30] [--allocator pinned] [--engine torch]

Writes benchmarks/results/peak_repeatability.json: every peak, its spread (highest less lowest, over the lowest) and the
machine. The promise is below 0.5 % for the pinned allocator.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from results import store
from results.schema import Document

RECORD = Path(__file__).parent / "results" / "peak_repeatability.json"


def measure(options: list[str]) -> Document:
    """Run the harness and return its document."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.json"
        command = [
            sys.executable,
            "-P",
            "-m",
            "harness",
            "run",
            "--meter",
            "none",
            "--json",
            str(path),
            *options,
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return store.read(path)


def spreads(document: Document) -> dict[str, Any]:
    """Return the peaks and the spread of each engine and trainer."""
    peaks: dict[str, list[tuple[int, int]]] = {}
    for trial in document.trials:
        memory = trial.memory
        assert memory.peak_rss_bytes is not None, trial.reason
        assert memory.training_peak_bytes is not None
        peaks.setdefault(f"{trial.engine} {trial.trainer}", []).append(
            (memory.peak_rss_bytes, memory.training_peak_bytes)
        )
    return {
        name: {
            "peak_rss_bytes": [whole for whole, _ in values],
            "training_peak_bytes": [part for _, part in values],
            "peak_rss_spread": spread([whole for whole, _ in values]),
            "training_peak_spread": spread([part for _, part in values]),
        }
        for name, values in peaks.items()
    }


def spread(values: list[int]) -> float:
    """Return highest less lowest, over the lowest."""
    return (max(values) - min(values)) / min(values)


def main() -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--allocator", choices=["pinned", "stock"], default="pinned")
    parser.add_argument("--engine", default="torch")
    given = parser.parse_args()
    options = ["--repeats", str(given.repeats), "--steps", str(given.steps), "--allocator", given.allocator]
    document = measure([*options, "--engine", given.engine])
    found = spreads(document)
    for name, each in found.items():
        print(f"{name}, {given.allocator}: peak RSS varies by {100 * each['peak_rss_spread']:.3f} %,"
              f" training peak by {100 * each['training_peak_spread']:.3f} %")  # fmt: skip
    kept = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    kept[f"{given.engine} {given.allocator}"] = {
        "created": document.created.isoformat(),
        "cpu": document.host.cpu,
        "kernel": document.host.kernel,
        "libraries": document.host.libraries,
        "trials": found,
    }
    RECORD.parent.mkdir(exist_ok=True)
    RECORD.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
