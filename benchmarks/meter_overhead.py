"""Measures what polling one sysfs meter at 100 Hz costs: `python benchmarks/meter_overhead.py [SECONDS [RUNS]]`.

On a machine with RAPL its own powercap tree is polled; elsewhere a tree of one zone with a counter in it (the reading
side does the same: open file, one read, one number), in two ways, turn by turn:

- *kernel*: a counter that the kernel makes as it is read, as it makes RAPL's: the milliseconds that a PCI device has
  been active, a file of sysfs. Nothing else runs, and the processor has slept before every poll.
- *written*: an ordinary file that a second process writes 200 times a second, as often as the shortest jittered poll,
  so that a poll finds a new value but for a late one. The writer takes its part of the machine, and keeps it awake.

Prints a line of JSON a run and, last, the least, the median and the most of each kind, and how many runs were above the
promise of 0.5 % of one core (on an otherwise quiet machine, so the load is printed beside every figure).
HARNESS_SAMPLER_LIBRARY=none has the Python loop read in the native sampler's place.
"""

import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from statistics import median

from power.base import now_ns
from power.meters.powercap import PowercapMeter
from power.overhead import measure_overhead

WRITE_PERIOD_S = 0.005
PROMISE_PERCENT = 0.5


@contextmanager
def tree(counter: Path | None) -> Iterator[Path]:
    """Lay out a tree of one zone whose counter is a file of the kernel, or none yet, and take it down again."""
    with tempfile.TemporaryDirectory() as name:
        zone = Path(name) / "intel-rapl:0"
        zone.mkdir()
        (zone / "name").write_text("package-0\n")
        (zone / "max_energy_range_uj").write_text("262143328850\n")
        if counter is None:
            (zone / "energy_uj").write_text(f"{0:020d}\n")
        else:
            (zone / "energy_uj").symlink_to(counter)
        yield Path(name)


def kernel_counter() -> Path | None:
    """Return a file of sysfs that holds one integer, made as it is read and larger every millisecond."""
    for path in sorted(Path("/sys/devices").glob("pci*/*/power/runtime_active_time")):
        before = int(path.read_text())
        time.sleep(0.02)
        if int(path.read_text()) - before >= 10:
            return path
    return None


def run_counter(file: Path) -> None:
    """Let the zone count 10 W."""
    fd = os.open(file, os.O_WRONLY)
    while True:
        os.pwrite(fd, f"{now_ns() // 100:020d}\n".encode(), 0)
        time.sleep(WRITE_PERIOD_S)


def own(seconds: float) -> dict[str, object]:
    """Poll this machine's own RAPL, and see what power that adds."""
    return report(PowercapMeter, seconds, power=True)


def kernel(seconds: float) -> dict[str, object]:
    """Poll a counter that the kernel makes."""
    with tree(kernel_counter()) as root:
        return report(lambda: PowercapMeter(root=root), seconds)


def written(seconds: float) -> dict[str, object]:
    """Poll a counter that another process writes."""
    with tree(None) as root:
        writer = multiprocessing.Process(
            target=run_counter, args=(root / "intel-rapl:0" / "energy_uj",), daemon=True
        )
        writer.start()
        found = report(lambda: PowercapMeter(root=root), seconds)
        writer.terminate()
        writer.join()
        return found


def report(make: Callable[[], PowercapMeter], seconds: float, *, power: bool = False) -> dict[str, object]:
    """Measure one run."""
    load = os.getloadavg()[0]
    measured = measure_overhead(make, seconds, power=power)
    return {"share_percent": 100 * measured.share, "load_before": load, **asdict(measured)}


def kinds() -> dict[str, Callable[[float], dict[str, object]]]:
    """Return the kinds of counter there are here."""
    if PowercapMeter().probe().usable:
        return {"own": own}
    return {"kernel": kernel, "written": written} if kernel_counter() else {"written": written}


def main() -> None:
    """Measure and print."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    percents: dict[str, list[float]] = {name: [] for name in kinds()}
    for _ in range(runs):
        for name, measure in kinds().items():
            found = measure(seconds)
            percents[name].append(float(str(found["share_percent"])))
            print(json.dumps({"counter": name, **found}), flush=True)
    print(json.dumps({name: summary(each) for name, each in percents.items()}))


def summary(percents: list[float]) -> dict[str, float]:
    """Return the least, the median and the most of some shares, and how many broke the promise."""
    return {
        "runs": len(percents),
        "min": min(percents),
        "median": median(percents),
        "max": max(percents),
        "above_promise": sum(percent > PROMISE_PERCENT for percent in percents),
    }


if __name__ == "__main__":
    main()
