"""Measures windows, one after the other, with one meter and prints their rows as JSON; run under umockdev by the tests.

    umockdev_child.py METER LEAD_S SPAN_S[,SPAN_S ...] [ZONE=W ... | --paced | --hurried]

The time of the samples can be the devices' own, so that a busy machine that delays them delays the clock with them:
with zones, their powercap counters run meanwhile at so many W, each wrapping at its range, a millisecond at a time;
with `--paced`, byte 62 of every report that a FNIRSI meter sends, unused there, says how many milliseconds after the
last it came; with `--hurried`, a meter that Python polls is polled without rest, and the clock goes on by each rest
that was left out: a meter of two values a second has its hundred within a second.
"""

import json
import multiprocessing
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

TICK_NS = 1_000_000
real_monotonic, real_monotonic_ns = time.monotonic, time.monotonic_ns
scripted_ns = multiprocessing.Value("q", 0)
scripted = len(sys.argv) > 4
if scripted:
    # Before `power` is imported: it reads its clock by this name.
    time.monotonic_ns = lambda: scripted_ns.value

from power import reader, sampled  # noqa: E402
from power.base import now_ns  # noqa: E402
from power.meters import fnirsi  # noqa: E402
from power.recorder import Recorder  # noqa: E402
from power.registry import make  # noqa: E402


class Counters(multiprocessing.Process):
    """Runs `energy_uj` of some zones from where it stands, and the clock with them; a process without our locks."""

    def __init__(self, watts: dict[str, float]) -> None:
        super().__init__(daemon=True)
        root = Path(os.environ["UMOCKDEV_DIR"]) / "sys/class/powercap"
        self.zones = [((root / name).resolve(), watt) for name, watt in watts.items()]
        self.start_uj = [int((zone / "energy_uj").read_text()) for zone, _ in self.zones]
        self.range_uj = [int((zone / "max_energy_range_uj").read_text()) for zone, _ in self.zones]

    def run(self) -> None:
        files = [os.open(zone / "energy_uj", os.O_WRONLY) for zone, _ in self.zones]
        watts = [watt for _, watt in self.zones]
        while True:
            t_ns = scripted_ns.value + TICK_NS
            for fd, watt, start, wrap in zip(files, watts, self.start_uj, self.range_uj, strict=True):
                os.pwrite(fd, f"{(start + round(watt * t_ns / 1000)) % wrap:020d}\n".encode(), 0)
            scripted_ns.value = t_ns
            time.sleep(0.0005)


def pace_by_reports() -> None:
    """Have the clock of FNIRSI meters, and of their keep-alive, follow what their reports say of it."""
    read, arrived = os.read, [real_monotonic()]

    def paced_read(fd: int, size: int) -> bytes:
        report = read(fd, size)
        scripted_ns.value += sum(report[62:63]) * 1_000_000  # nothing is read of one that was pulled out
        arrived[0] = real_monotonic()
        return report

    def monotonic() -> float:
        silent_s = real_monotonic() - arrived[0]
        return scripted_ns.value / 1e9 + (silent_s if silent_s > 5.0 else 0.0)

    fnirsi.os = SimpleNamespace(**vars(os) | {"read": paced_read})  # type: ignore[attr-defined]
    fnirsi.time = SimpleNamespace(monotonic=monotonic)  # type: ignore[attr-defined]


def hurry() -> None:
    """Have the rest between two polls take no time but the clock's; what a poll itself takes is not counted."""

    def rest(waker: reader.Waker, wait_s: float) -> None:
        scripted_ns.value += max(0, round(wait_s * 1e9))

    reader.Waker.sleep = rest  # type: ignore[assignment]


def wait(seconds: float) -> None:
    """Wait so long by the clock of the samples."""
    end_ns = now_ns() + round(seconds * 1e9)
    while now_ns() < end_ns:
        time.sleep(0.001)


def main() -> None:
    spec, lead_s, spans_s, *rest = sys.argv[1:]
    if rest == ["--paced"]:
        pace_by_reports()
    elif rest == ["--hurried"]:
        hurry()
    elif rest:
        sampled.CLOCK_NS = scripted_ns.get_obj()
        Counters({name: float(watt) for name, _, watt in (zone.partition("=") for zone in rest)}).start()
    meter = make(spec)
    with Recorder([meter]) as recorder:
        wait(float(lead_s))
        rows = []
        for span_s in spans_s.split(","):
            start_ns = now_ns()
            recorder.mark()
            wait(float(span_s))
            end_ns = now_ns()
            recorder.mark()
            if not scripted:
                time.sleep(0.1)
            rows += recorder.energy(start_ns, end_ns, wait_s=30.0)
        settings, (cost,) = meter.settings(), recorder.overhead()
        ((_, every),) = recorder.all_series()
        inside = [sum(start_ns < t < end_ns for t in series.t_ns) for series in every]
        last = {series.domain.name: series.values[-1] for series in every if len(series)}
    document = {"rows": [asdict(row) for row in rows], "settings": settings, **asdict(cost)}
    sys.stdout.write(
        json.dumps(document | {"span_s": (end_ns - start_ns) * 1e-9, "inside": inside, "last": last})
    )


if __name__ == "__main__":
    main()
