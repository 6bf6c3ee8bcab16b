"""Modelled, really held and measured bytes of every workload × recipe × engine, side by side.

    python benchmarks/ledger.py [--workload W]... [--engine E]... [--batch-size N] [--add]

Each trial is one warm-up step and one measured step of `harness run` on synthetic data with the pinned allocator,
with a batch of 100, of 4 for the ImageNet networks. `modelled` is the honest model, `held` the ledger (what the engine
really allocated, class by class; in torch counted by saved-tensor hooks and by storage; the arena of the native engine
with its scratch, of which a run need not touch every page), then the measured training peak and the whole worker's. A
trial whose ledger differs from the model in any class but scratch is an error here, not a row. Writes
benchmarks/results/ledger.json and prints a Markdown table; with `--add` the record keeps its rows of other workloads
and engines, if they were measured on this machine.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from results import store
from results.schema import Host, Trial
from workloads.registry import ENGINES, WORKLOADS

RECORD = Path(__file__).parent / "results" / "ledger.json"
BATCH, BATCH_OF_SHORTCUTS = 100, 4


def measure(workload: str, engine: str, trainer: str, batch_size: int) -> tuple[Trial, Host]:
    """Run one trial in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.json"
        command = [sys.executable, "-P", "-m", "harness", "run", "--quiet", "--json", str(path)]
        command += ["--workload", workload, "--engine", engine, "--trainer", trainer]
        command += ["--batch-size", str(batch_size), "--synthetic", "--test-items", str(batch_size)]
        command += [
            "--steps",
            "1",
            "--warmup",
            "1",
            "--repeats",
            "1",
            "--allocator",
            "pinned",
            "--meter",
            "none",
        ]
        subprocess.run(command, check=True, capture_output=True)
        document = store.read(path)
    return document.trials[0], document.host


def row(trial: Trial) -> dict[str, Any]:
    """Return the figures of a trial; raises SystemExit where the ledger is not the model's, class by class."""
    memory = trial.memory
    modelled, held = memory.modelled_by_variable or {}, memory.ledger_by_variable or {}
    classes = (modelled.keys() | held.keys()) - {"scratch"}
    differing = {name for name in classes if modelled.get(name, 0) != held.get(name, 0)}
    if differing or memory.training_peak_bytes is None:
        raise SystemExit(f"{trial.workload} {trial.trainer} {trial.engine}: {differing or trial.reason}")
    return {
        "workload": trial.workload, "engine": trial.engine, "trainer": trial.trainer,
        "batch_size": trial.batch_size, "modelled_bytes": sum(modelled.values()),
        "held_bytes": sum(held.values()), "training_peak_bytes": memory.training_peak_bytes,
        "peak_rss_bytes": memory.peak_rss_bytes, "modelled_by_variable": modelled, "held_by_variable": held,
    }  # fmt: skip


def main() -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workload", action="append", choices=sorted(WORKLOADS))
    parser.add_argument("--engine", action="append", choices=sorted(ENGINES))
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--add", action="store_true", help="keep the record's other rows")
    given = parser.parse_args()
    # The networks on SVHN are those on CIFAR-10.
    workloads = given.workload or [name for name in WORKLOADS if not name.endswith("svhn")]
    rows, about = [], {}
    for name in workloads:
        usual = BATCH_OF_SHORTCUTS if "shortcuts" in WORKLOADS[name].features else BATCH
        for engine in given.engine or ENGINES:
            for trainer in ENGINES[engine].trainers:
                if ENGINES[engine].supports(WORKLOADS[name], trainer):
                    trial, host = measure(name, engine, trainer, given.batch_size or usual)
                    rows.append(row(trial))
                    print(line(rows[-1]), flush=True)
                    about = {fact: getattr(host, fact) for fact in ("cpu", "cores", "kernel", "libraries")}
    RECORD.parent.mkdir(exist_ok=True)
    kept = others(about, rows) if given.add else []
    RECORD.write_text(json.dumps(about | {"rows": kept + rows}, indent=1) + "\n")


def others(about: dict[str, Any], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the record's rows of other workloads and engines; raises SystemExit if another machine measured them."""
    record = json.loads(RECORD.read_text())
    if differing := [name for name, value in about.items() if record[name] != value]:
        raise SystemExit(f"{RECORD} is of another machine: {', '.join(differing)} differ; leave --add out")
    measured = {(each["workload"], each["engine"]) for each in rows}
    return [each for each in record["rows"] if (each["workload"], each["engine"]) not in measured]


def line(figures: dict[str, Any]) -> str:
    """Return a line of the Markdown table, in MiB."""
    names = ("modelled_bytes", "held_bytes", "training_peak_bytes", "peak_rss_bytes")
    sizes = " | ".join(f"{figures[name] / 2**20:.2f}" for name in names)
    return f"| {figures['workload']} | {figures['engine']} | `{figures['trainer']}` | {sizes} |"


if __name__ == "__main__":
    main()
