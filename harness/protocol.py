"""What a worker says to its parent: JSON lines on a pipe of its own, so that a print breaks nothing.

Each line is an object whose `type` is one of the functions below; `messages.py` is the parent's side and decodes the
same fields strictly. Times are CLOCK_MONOTONIC nanoseconds, which parent and worker share.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence

from workloads.light_typing import Any

_RESIDENCY = ("rss_bytes", "peak_rss_bytes", "anon_bytes", "file_bytes")
_AT_A_TIME = 64  # durations in one write
# Phases in the order a trial goes through them.
PHASES = ("import", "library", "setup", "forward", "backward", "update", "train", "evaluate")


def finite(value: float) -> float | None:
    """Return the value, or None for what JSON has no word for: a diverged loss is not a number."""
    return value if math.isfinite(value) else None


def await_parent() -> None:
    """Wait until the parent has acted on an edge of the measured window (it writes one byte to standard input)."""
    if not os.read(0, 1):
        raise BrokenPipeError("the parent is gone")


class Channel:
    """The worker's end of the pipe. A parent that is gone ends the worker, since nobody would read on."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def send(self, message: Mapping[str, Any]) -> None:
        """Write one message whole; raises BrokenPipeError when the parent is gone."""
        self._write(json.dumps(message, separators=(",", ":")) + "\n")

    def _write(self, text: str) -> None:
        view = memoryview(text.encode())
        while view:
            view = view[os.write(self._descriptor, view) :]

    def phase(self, name: str, t_ns: int) -> None:
        """A phase begins."""
        self.send({"type": "phase", "name": name, "t_ns": t_ns})

    def peak(self, phase: str, t_ns: int, residency: Mapping[str, int]) -> None:
        """A phase has ended with this residency (the fields of `memory.Residency`)."""
        self.send({"type": "peak", "phase": phase, "t_ns": t_ns, **residency})

    def no_peak(self, phase: str, t_ns: int, reason: str) -> None:
        """A phase has ended, and its residency cannot be had."""
        self.send(
            {"type": "peak", "phase": phase, "t_ns": t_ns, **dict.fromkeys(_RESIDENCY), "reason": reason}
        )

    def accelerator_peak(self, phase: str, t_ns: int, memory: Mapping[str, int]) -> None:
        """A phase has ended with this on the accelerator (the fields of `AcceleratorMemory`)."""
        self.send({"type": "accelerator_peak", "phase": phase, "t_ns": t_ns, **memory})

    def progress(self, step: int, steps: int, loss: float) -> None:
        """So many of all steps are done, with this loss just now; not a number while nothing is trained."""
        self.send({"type": "progress", "step": step, "steps": steps, "loss": finite(loss)})

    def window(self, event: str, t_ns: int) -> None:
        """The measured window is about to begin (`ready`), begins (`begin`) or has ended (`end`);

        or an evaluation interrupts it (`pause`, `resume`); or one of repetitions begins (`repeat`).
        """
        self.send({"type": "window", "event": event, "t_ns": t_ns})

    def repeated(self, phase: str, count: int, begin_ns: int, end_ns: int) -> None:
        """A step up to the end of `phase` was repeated so many times in this window."""
        self.send(
            {"type": "repeated", "phase": phase, "count": count, "begin_ns": begin_ns, "end_ns": end_ns}
        )

    def timing(self, durations_ns: Mapping[str, Sequence[int] | None]) -> None:
        """Durations of the measured steps by part: step, data, forward, backward, update (None: fused).

        Written a few at a time: the whole text of a long training would be memory of the worker, and be measured.
        """
        self._write('{"type":"timing","durations_ns":{')
        for place, (part, each) in enumerate(durations_ns.items()):
            self._write(f'{"," * (place > 0)}"{part}":{"null" if each is None else "["}')
            for begin in range(0, len(each or ()), _AT_A_TIME):
                numbers = ",".join(map(str, (each or ())[begin : begin + _AT_A_TIME]))
                self._write("," * (begin > 0) + numbers)
            self._write("" if each is None else "]")
        self._write("}}\n")

    def saved(self, step: int, size_bytes: int, duration_ns: int) -> None:
        """A checkpoint of so many steps is on the disk; writing it took so long."""
        self.send({"type": "saved", "step": step, "bytes": size_bytes, "duration_ns": duration_ns})

    def ledger(self, allocated: Mapping[str, int], scratch: Mapping[str, int]) -> None:
        """Bytes by class of variable, as allocated, and what the class `scratch` is made of."""
        self.send({"type": "ledger", "allocated": dict(allocated), "scratch": dict(scratch)})

    def evaluated(self, step: int, correct: int, items: int, duration_ns: int) -> None:
        """After so many steps this many of the test items were classified rightly; counting took so long."""
        counted = {"step": step, "correct": correct, "items": items, "duration_ns": duration_ns}
        self.send({"type": "evaluated", **counted})

    def quality(self, losses: Sequence[float], correct: int, items: int, statistics: str) -> None:
        """How the training went: mean losses over equal stretches of it, and the test set at its end."""
        means = [finite(loss) for loss in losses]
        counted = {"train_loss": means, "correct": correct, "items": items, "statistics": statistics}
        self.send({"type": "quality", **counted})

    def facts(self, engine: Mapping[str, Any]) -> None:
        """What the record should say of the engine."""
        self.send({"type": "facts", "engine": dict(engine)})

    def failure(self, outcome: str, reason: str, detail: str) -> None:
        """The trial failed: `out_of_memory` or `error`, in one line, with the traceback as detail."""
        self.send({"type": "failure", "outcome": outcome, "reason": reason, "detail": detail})

    def done(self) -> None:
        """All is said."""
        self.send({"type": "done"})
