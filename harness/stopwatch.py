"""The worker's own instruments: peaks by phase and times by part of a step. Standard library only."""

import time
from array import array
from collections.abc import Mapping, Sequence

from harness.memory import EMULATED, Residency, emulated, read_residency, reset_peak
from harness.protocol import Channel
from workloads.engines.base import Phase
from workloads.light_typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workloads.engines.accelerator import Accelerator, AcceleratorMemory

PARTS = ("data", "forward", "backward", "update")


class PhasePeaks:
    """Gives each phase a peak of its own by the kernel's resettable high-water mark.

    The process's lifetime peak is the highest of the phases', because every reset is preceded by a read. So it is on an
    accelerator, once there is one; the host is read first, since reading the device takes memory of it.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._phase: str | None = None
        self.accelerator: Accelerator | None = None

    def begin(self, phase: str) -> None:
        """End the phase before, if any, and begin this one."""
        self.end()
        self._phase = phase
        self._channel.phase(phase, time.monotonic_ns())
        reset_peak()
        if self.accelerator:
            self.accelerator.reset_peak()

    def end(self) -> None:
        """Report the phase's peak to the parent."""
        if self._phase is None:
            return
        if emulated():
            self._channel.no_peak(self._phase, time.monotonic_ns(), EMULATED)
        else:
            residency = read_residency()
            if residency is None:  # /proc is always readable for oneself; without it nothing can be measured
                raise OSError("cannot read /proc/self/status")
            self._channel.peak(self._phase, time.monotonic_ns(), residency._asdict())
        self._tell_accelerator(self._phase)
        self._phase = None

    def interrupt(self, steps: "StepPeaks") -> None:
        """Report what an accelerator held at most when memory ran out: nobody else could see it."""
        if self.accelerator:
            steps.report(self._channel)
            self._tell_accelerator(self._phase or "train")

    def _tell_accelerator(self, phase: str) -> None:
        if self.accelerator:
            held = self.accelerator.read()
            self._channel.accelerator_peak(phase, time.monotonic_ns(), held._asdict())


class StepPeaks:
    """Peaks of forward, backward and update over a few steps, each the highest seen.

    Used on warm-up steps only: reading the status and resetting the mark three times a step costs about 30 µs,
    which a measured step should not pay.
    """

    def __init__(self, accelerator: "Accelerator | None" = None) -> None:
        self._accelerator = accelerator
        self._highest: dict[str, Residency] = {}
        self._highest_there: dict[str, AcceleratorMemory] = {}

    def start(self) -> None:
        """A step begins."""
        self._reset()

    def mark(self, phase: Phase) -> None:
        """A phase has just ended; the next begins."""
        residency = read_residency()
        if residency is not None:
            known = self._highest.get(phase)
            if known is None or residency.peak_rss_bytes > known.peak_rss_bytes:
                self._highest[phase] = residency
        if self._accelerator:
            held, before = self._accelerator.read(), self._highest_there.get(phase)
            # Both peaks are kept by themselves: the allocator need not reserve most when most is handed out.
            self._highest_there[phase] = held if before is None else _higher(held, before)
        self._reset()

    def _reset(self) -> None:
        reset_peak()
        if self._accelerator:
            self._accelerator.reset_peak()

    def report(self, channel: Channel) -> None:
        """Tell the parent the highest peak of each phase."""
        for phase, residency in self._highest.items():
            channel.peak(phase, time.monotonic_ns(), residency._asdict())
        for phase, held in self._highest_there.items():
            channel.accelerator_peak(phase, time.monotonic_ns(), held._asdict())


def _higher(held: "AcceleratorMemory", before: "AcceleratorMemory") -> "AcceleratorMemory":
    return type(held)(*map(max, held, before))


class StepTimer:
    """Durations of the parts of each measured step, in 8 bytes each; a part that recurs in a step is added up."""

    def __init__(self) -> None:
        self._durations = {part: array("q") for part in (*PARTS, "step")}
        self._parts: dict[str, int] = {}
        self._begun = self._last = 0

    def start(self) -> None:
        """A step begins, with the reading of its batch."""
        self._begun = self._last = time.monotonic_ns()

    def lap(self, part: str) -> None:
        """A part has just ended; the next begins."""
        now = time.monotonic_ns()
        self._parts[part] = self._parts.get(part, 0) + now - self._last
        self._last = now

    def stop(self) -> None:
        """The step ends."""
        self._durations["step"].append(time.monotonic_ns() - self._begun)
        for part, duration in self._parts.items():
            self._durations[part].append(duration)
        self._parts.clear()

    def durations_ns(self) -> Mapping[str, Sequence[int] | None]:
        """Return the lists; None for a part that the engine never marked, since it is fused into another."""
        return {part: each if each else None for part, each in self._durations.items()}


class Losses:
    """Mean losses over at most `points` equal stretches of a training, kept as it goes."""

    def __init__(self, steps: int, points: int = 100) -> None:
        self._stretch = max(1, -(-steps // points))
        self._sum, self._count = 0.0, 0
        self.means: list[float] = []

    def add(self, loss: float) -> None:
        """Take the loss of one more step."""
        self._sum += loss
        self._count += 1
        if self._count == self._stretch:
            self.flush()

    def state(self) -> dict[str, Any]:
        """Return all that is remembered, as JSON takes it, for a checkpoint."""
        return {"means": self.means, "sum": self._sum, "count": self._count}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state` gave."""
        self.means, self._sum, self._count = list(state["means"]), state["sum"], state["count"]

    def flush(self) -> None:
        """Close the stretch that is under way."""
        if self._count:
            self.means.append(self._sum / self._count)
            self._sum, self._count = 0.0, 0
