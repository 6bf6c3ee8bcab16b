"""The data path of a batch, by Python and by the core: `HARNESS_DATA=... python benchmarks/data_path.py [--rounds 15]`.

One thread. Every round makes the same shuffled batches of 100 with both, one after the other, and takes the ratio of
the two; reported are medians over the rounds. What a batch needs: the order, reading (or noise), and for CIFAR-10 the
workload's shifts and mirrors. The batches are compared too. Without HARNESS_DATA, of synthetic sets alone. Writes
benchmarks/results/data_path.json with the machine.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.host import describe
from workloads.datasets import augment
from workloads.datasets.base import PreparedDataset
from workloads.datasets.core import DataCore
from workloads.datasets.reader import BatchReader
from workloads.datasets.registry import prepare
from workloads.engines import native

RESULT = Path(__file__).parent / "results" / "data_path.json"
BATCH, BATCHES = 100, 20
# Set and augmentation, as their workloads have them.
SETS = {
    "synthetic-mnist": "none",
    "mnist": "none",
    "synthetic-cifar10": "shift-flip",
    "cifar10": "shift-flip",
}


def maker(data: PreparedDataset, kind: str, core: DataCore | None) -> Callable[[], bytes]:
    """Return what makes some batches and returns the last one's images."""
    images = memoryview(bytearray(BATCH * data.train.image_bytes))
    labels = memoryview(bytearray(BATCH * data.train.label_bytes))
    reader = BatchReader(data.train, BATCH, seed=0, core=core)

    def make() -> bytes:
        for _ in range(BATCHES):
            reader.read_into(images, labels)
            augment.augment(kind, images, reader.last_items, 0, reader.last_epoch, data.shape, core)
        return bytes(images)

    return make


def seconds(make: Callable[[], bytes]) -> tuple[float, bytes]:
    """Return CPU seconds a batch, the kernel's among them, and the last batch."""
    begun = time.thread_time_ns()
    last = make()
    return (time.thread_time_ns() - begun) / 1e9 / BATCHES, last


def compare(name: str, rounds: int) -> dict[str, float]:
    """Return the medians of one set."""
    folder = os.environ.get("HARNESS_DATA")
    data = prepare(name, Path(folder) if folder else None)
    by_python = maker(data, SETS[name], None)
    by_core = maker(data, SETS[name], native.data_core())
    pairs = []
    for _ in range(rounds + 1):
        (python_s, one), (core_s, other) = seconds(by_python), seconds(by_core)
        assert one == other, name
        pairs.append((python_s, core_s))
    pairs = pairs[1:]  # the first warms up
    return {
        "python_s": statistics.median(python_s for python_s, _ in pairs),
        "core_s": statistics.median(core_s for _, core_s in pairs),
        "times_faster": statistics.median(python_s / core_s for python_s, core_s in pairs),
    }


def main() -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    native.load()
    names = [name for name in SETS if "HARNESS_DATA" in os.environ or name.startswith("synthetic")]
    found: dict[str, Any] = {name: compare(name, given.rounds) for name in names}
    for name, row in found.items():
        print(
            f"{name:18} {row['python_s'] * 1e6:7.0f} µs {row['core_s'] * 1e6:6.0f} µs {row['times_faster']:5.1f}×"
        )
    host = describe(("edge-harness",), throttling_known=False)
    RESULT.write_text(
        json.dumps(
            {
                "cpu": host.cpu,
                "python": platform.python_version(),
                "batch": BATCH,
                "load_before": host.load_before,
            }
            | {"rounds": given.rounds, "sets": found},
            indent=1,
        )
        + "\n"
    )


if __name__ == "__main__":
    main()
