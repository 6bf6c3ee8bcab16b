"""Runs a program while sensors that umockdev describes show a load: live_sensors.py LOAD LOG PROGRAM ARGUMENT...

LOAD is a JSON file. Its keys are files below /sys/class; of each it says how much power it shows while a worker of the
program runs (`busy_w`) and while none does (`idle_w`). An `energy_uj` counts the energy in real time, and begins
`until_wrap_j` before the end of its range. What really happened is written to LOG: the longest time between two
rounds, which is how far a sensor can have been behind, and when each counter wrapped.
"""

import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path

from harness.workers import WORKER

ROUND_S, LOOK_S = 0.002, 0.02


class Sensor:
    """One file, written in place: a program that has it open sees the new text, as it does in the kernel's sysfs."""

    def __init__(self, file, idle_w, busy_w, until_wrap_j=None):
        self.watts = {False: idle_w, True: busy_w}
        self.fd = os.open(file, os.O_WRONLY)
        self.counts = until_wrap_j is not None
        self.wrapped_ns = []
        if self.counts:
            self.range_uj = int(file.with_name("max_energy_range_uj").read_text())
            self.count_uj = self.range_uj - until_wrap_j * 1e6

    def show(self, at_ns, elapsed_s, busy):
        if not self.counts:
            os.pwrite(self.fd, b"%08d\n" % round(self.watts[busy] * 1e6), 0)
            return
        self.count_uj += self.watts[busy] * elapsed_s * 1e6
        if self.count_uj >= self.range_uj:
            self.count_uj -= self.range_uj
            self.wrapped_ns.append(at_ns)
        os.pwrite(self.fd, b"%020d\n" % int(self.count_uj), 0)


class Worker:
    """The program's worker, if it has one now: looked for every now and then, its end known at once."""

    def __init__(self, program):
        self.children = Path(f"/proc/{program.pid}/task/{program.pid}/children")
        self.pidfd, self.due_ns = None, 0

    def runs(self, at_ns):
        if self.pidfd is not None and select.select([self.pidfd], [], [], 0)[0]:
            os.close(self.pidfd)
            self.pidfd = None
        if self.pidfd is None and at_ns >= self.due_ns:
            self.due_ns = at_ns + round(LOOK_S * 1e9)
            self.find()
        return self.pidfd is not None

    def find(self):
        try:
            for pid in self.children.read_text().split():
                if WORKER.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                    self.pidfd = os.pidfd_open(int(pid))
        except OSError:
            pass  # it has ended in this moment

    def rest(self):
        select.select([self.pidfd] if self.pidfd is not None else [], [], [], ROUND_S)


def main():
    load, log, *command = sys.argv[1:]
    root = Path(os.environ["UMOCKDEV_DIR"]) / "sys/class"
    given = json.loads(Path(load).read_text())
    sensors = {name: Sensor((root / name).resolve(), **each) for name, each in given.items()}
    program = subprocess.Popen(command)
    worker, longest_s, last_ns = Worker(program), 0.0, time.monotonic_ns()
    while program.poll() is None:
        at_ns = time.monotonic_ns()
        elapsed_s, last_ns = (at_ns - last_ns) * 1e-9, at_ns
        longest_s = max(longest_s, elapsed_s)
        busy = worker.runs(at_ns)
        for sensor in sensors.values():
            sensor.show(at_ns, elapsed_s, busy)
        worker.rest()
    wraps = {name: sensor.wrapped_ns for name, sensor in sensors.items()}
    Path(log).write_text(json.dumps({"longest_s": longest_s, "wrapped_ns": wraps}))
    return program.returncode


if __name__ == "__main__":
    sys.exit(main())
