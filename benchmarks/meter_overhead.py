"""Measures what polling one sysfs meter at 100 Hz costs: `python benchmarks/meter_overhead.py [seconds]`.

On a machine with RAPL its own powercap tree is polled; elsewhere a tree of one zone whose counter runs (the
reading side does the same: open file, one read, one number). A real counter is made by the kernel as it is read; the
stand-in's has to be written by a process, which takes its part of the machine and of the reader's cache: it is written
200 times a second, as often as the shortest jittered poll, so that a poll finds a new value but for a late one.
Prints JSON. The promise is 0.5 % of one core on an otherwise quiet machine, so the load is printed beside the figure.
HARNESS_SAMPLER_LIBRARY=none has the Python loop read in the native sampler's place.
"""

import json
import multiprocessing
import os
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from power.base import now_ns
from power.meters.powercap import ROOT, PowercapMeter
from power.overhead import measure_overhead

WRITE_PERIOD_S = 0.005


def stand_in(folder: Path) -> Path:
    """Lay out a tree of one zone."""
    zone = folder / "intel-rapl:0"
    zone.mkdir()
    (zone / "name").write_text("package-0\n")
    (zone / "max_energy_range_uj").write_text("262143328850\n")
    (zone / "energy_uj").write_text(f"{0:020d}\n")
    return folder


def run_counter(file: Path) -> None:
    """Let the zone count 10 W."""
    fd = os.open(file, os.O_WRONLY)
    while True:
        os.pwrite(fd, f"{now_ns() // 100:020d}\n".encode(), 0)
        time.sleep(WRITE_PERIOD_S)


def main() -> None:
    """Measure and print."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    load = os.getloadavg()[0]
    if PowercapMeter().probe().usable:
        root, report = ROOT, measure_overhead(PowercapMeter, seconds)
    else:
        with tempfile.TemporaryDirectory() as name:
            root = stand_in(Path(name))
            file = root / "intel-rapl:0" / "energy_uj"
            counter = multiprocessing.Process(target=run_counter, args=(file,), daemon=True)
            counter.start()
            report = measure_overhead(lambda: PowercapMeter(root=root), seconds)
            counter.terminate()
    kind = "this machine's RAPL" if root == ROOT else "a stand-in tree"
    print(
        json.dumps({"load_before": load, "tree": kind, "share_percent": 100 * report.share, **asdict(report)})
    )


if __name__ == "__main__":
    main()
