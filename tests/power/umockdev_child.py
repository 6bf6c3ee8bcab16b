"""Measures a window with one meter and prints its rows as JSON; run under umockdev by the tests.

    umockdev_child.py METER LEAD_S SPAN_S [ZONE=W ...]

With zones, their powercap counters run meanwhile at so many W (rewritten by rename, as a new value appears
to a reader of the kernel's own file), each wrapping at its range.
"""

import json
import multiprocessing
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path

from power.base import now_ns
from power.recorder import Recorder
from power.registry import make


class Counters(multiprocessing.Process):
    """Runs `energy_uj` of some zones from where it stands; a process, so that no lock delays it."""

    def __init__(self, watts: dict[str, float]) -> None:
        super().__init__(daemon=True)
        root = Path(os.environ["UMOCKDEV_DIR"]) / "sys/class/powercap"
        self.zones = [((root / name).resolve(), watt) for name, watt in watts.items()]
        self.start_uj = [int((zone / "energy_uj").read_text()) for zone, _ in self.zones]
        self.range_uj = [int((zone / "max_energy_range_uj").read_text()) for zone, _ in self.zones]
        self.begin_ns = now_ns()

    def run(self) -> None:
        while True:
            for (zone, watt), start, wrap in zip(self.zones, self.start_uj, self.range_uj, strict=True):
                energy_uj = (start + round(watt * (now_ns() - self.begin_ns) / 1000)) % wrap
                (zone / "next").write_text(f"{energy_uj}\n")
                (zone / "next").rename(zone / "energy_uj")
            time.sleep(0.0005)


def main() -> None:
    spec, lead_s, span_s, *zones = sys.argv[1:]
    if zones:
        Counters({name: float(watt) for name, _, watt in (zone.partition("=") for zone in zones)}).start()
    meter = make(spec)
    with Recorder([meter]) as recorder:
        time.sleep(float(lead_s))
        start_ns = now_ns()
        recorder.mark()
        time.sleep(float(span_s))
        end_ns = now_ns()
        recorder.mark()
        time.sleep(0.1)
        rows = recorder.energy(start_ns, end_ns)
        settings, failures = meter.settings(), recorder.overhead()[0].failures
    document = {"rows": [asdict(row) for row in rows], "settings": settings, "failures": failures}
    sys.stdout.write(json.dumps(document))


if __name__ == "__main__":
    main()
