"""The worker's part of energy by phase: repeats a step up to a border until a meter has seen enough of it.

A phase of some milliseconds is far below what a meter resolves, and backward cannot run without the forward before it.
So three windows are filled with repetitions: of forward alone, of forward and backward, of whole steps; what a phase
costs is the difference of two. This comes after the accuracy figures, with a learning rate of 0 on one batch, so it
changes nothing that is reported.
"""

import time

from harness.protocol import Channel
from workloads.engines.base import Phase, Training

PHASES: tuple[Phase, ...] = ("forward", "backward", "update")
_PROGRESS_NS = 1_000_000_000


class _Border(Exception):  # noqa: N818 (no error: it leaves a step at a border)
    """The phase asked for has ended."""


def repeat_phases(
    training: Training,
    images: memoryview,
    labels: memoryview,
    *,
    seconds: float,
    fused: bool,
    steps: int,
    channel: Channel,
) -> None:
    """Fill one window of at least `seconds` for each border and report it; a fused update has no border of its own."""
    for border in PHASES[:2] if fused else PHASES:
        _run_until(training, images, labels, border)  # what a first time costs is not the phase's
        begin_ns = said_ns = time.monotonic_ns()
        channel.window("repeat", begin_ns)
        end_ns, count = begin_ns, 0
        while end_ns - begin_ns < seconds * 1e9:
            _run_until(training, images, labels, border)
            end_ns, count = time.monotonic_ns(), count + 1
            if end_ns - said_ns > _PROGRESS_NS:
                said_ns = end_ns
                channel.progress(steps, steps, float("nan"))
        channel.repeated(border, count, begin_ns, end_ns)


def _run_until(training: Training, images: memoryview, labels: memoryview, border: Phase) -> None:
    def mark(phase: Phase) -> None:
        if phase == border:
            raise _Border

    try:
        training.step(images, labels, 0.0, mark)
    except _Border:
        return
