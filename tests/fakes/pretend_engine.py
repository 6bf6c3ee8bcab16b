"""An engine that trains nothing, in the standard library alone: it holds memory, takes time and fails on request.

Its settings: `hold_bytes` allocated and touched at set-up, in the ledger as `hold_as` (W); `item_bytes`, the same for
each item of a batch, in the ledger as X; `burst_bytes` allocated and freed again in each backward pass,
`evaluate_bytes` in each evaluation of a batch, which takes `evaluate_s`, as a batch to recalibrate with does;
`fail_at`, a phase, with `fail_how`: raise, memory, exit, hang, garbage, print or kill. `there_PHASE` is what a phase
takes of the accelerator: at set-up for good, else for a moment.
"""

import os
import signal
import sys
import time

from workloads.engines.accelerator import AcceleratorMemory
from workloads.errors import OutOfMemoryError


def load():
    pass


def warm_up(threads):
    pass


def data_core():
    return None


def facts():
    return {"name": "pretend"}


class PretendAccelerator:
    """A device of 1 GiB, of which 256 MiB are in use by others; its libraries take 8 MiB of its allocator."""

    others_bytes = 256 << 20
    workspace_bytes = 8 << 20

    def __init__(self):
        self._limit_bytes = self._held_bytes = self._peak_bytes = 0

    def take(self, size):
        if self._limit_bytes and self._held_bytes + size > self._limit_bytes:
            raise OutOfMemoryError("the device refused memory")
        self._held_bytes += size
        self._peak_bytes = max(self._peak_bytes, self._held_bytes)

    def give_back(self, size):
        self._held_bytes -= size

    def limit(self, limit_bytes):
        self._limit_bytes = limit_bytes

    def warm_up(self):
        self.take(self.workspace_bytes)

    def facts(self):
        return {
            "device": "cuda", "name": "Pretended GPU", "total_bytes": 1 << 30, "compute_capability": "9.0",
            "cuda_version": "13.0", "driver_version": "580.1",
        }  # fmt: skip

    def reset_peak(self):
        self._peak_bytes = self._held_bytes

    def read(self):
        held, peak = self._held_bytes, self._peak_bytes
        return AcceleratorMemory(held, peak, 2 * held, 2 * peak, self.others_bytes + 2 * held)


DEVICE = PretendAccelerator()


def accelerator(device):
    return DEVICE


def create(job):
    return PretendTraining(job)


class PretendTraining:
    def __init__(self, job):
        self._settings = job.settings
        self._held_bytes = job.settings.get("hold_bytes", 0)
        self._item_bytes = job.settings.get("item_bytes", 0) * job.batch_size
        self._held = b""

    def _reach(self, phase):
        size = self._settings.get(f"there_{phase}", 0)
        DEVICE.take(size)
        if phase != "setup":
            DEVICE.give_back(size)
        if self._settings.get("fail_at") == phase:
            fail(self._settings["fail_how"])

    def set_up(self):
        self._reach("setup")
        self._held = touched(self._held_bytes + self._item_bytes)

    def step(self, images, labels, learning_rate, mark):
        self._reach("forward")
        mark("forward")
        burst = touched(self._settings.get("burst_bytes", 0))
        self._reach("backward")
        del burst
        mark("backward")
        self._reach("update")
        time.sleep(self._settings.get("step_s", 0))
        mark("update")
        return 2.5

    def recalibrate(self, batches):
        for _ in batches:
            time.sleep(self._settings.get("evaluate_s", 0))

    def evaluate(self, images, labels):
        self._reach("evaluate")
        burst = touched(self._settings.get("evaluate_bytes", 0))
        time.sleep(self._settings.get("evaluate_s", 0))
        del burst
        return sum(label == 0 for label in labels)

    def scratch_by_name(self):
        return {}

    def ledger(self):
        ledger = {self._settings.get("hold_as", "W"): self._held_bytes}
        return ledger | ({"X": self._item_bytes} if self._item_bytes else {})

    def close(self):
        pass


def touched(size):
    held = bytearray(size)
    # A byte of each page; a loop would take longer than the training.
    held[::4096] = b"\1" * len(range(0, size, 4096))
    return held


def fail(how):
    if how == "raise":
        raise RuntimeError("deliberate")
    if how == "memory":
        raise OutOfMemoryError("deliberately out of memory")
    if how == "exit":
        print("a last word", file=sys.stderr, flush=True)
        os._exit(7)
    if how == "hang":
        time.sleep(3600)
    if how == "garbage":
        os.write(int(os.environ["HARNESS_MESSAGES_FD"]), b"{not json\n")
        time.sleep(3600)
    if how == "print":
        print('{"type": "done"}', flush=True)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
