"""The child process: imports one engine, trains one trial, and reports phases, peaks and times to its parent.

It reads its job from standard input and writes messages to the descriptor that HARNESS_MESSAGES_FD names. It imports
nothing that its engine does not need: what it holds is what is measured.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from importlib import import_module

from harness.batches import Batches
from harness.protocol import Channel, await_parent
from harness.stopwatch import Losses, PhasePeaks, StepPeaks, StepTimer
from workloads.datasets.base import PreparedDataset
from workloads.engines.base import EngineModule, Job, Mark, Training
from workloads.errors import OutOfMemoryError, WorkloadError
from workloads.light_typing import TYPE_CHECKING, Any
from workloads.recipes import Optimizer, Recipe
from workloads.schedule import learning_rate
from workloads.specification import Specification

if TYPE_CHECKING:
    from harness.keeper import Keeper

_PROGRESS_NS = 100_000_000
_ALIVE_NS = 1_000_000_000


class Trial:
    """One training from import to evaluation."""

    def __init__(self, document: dict[str, Any], channel: Channel) -> None:
        self._document, self._channel = document, channel
        self._peaks, self._step_peaks = PhasePeaks(channel), StepPeaks()
        self._steps, self._warmup = int(document["steps"]), int(document["warmup"])
        self._losses = Losses(self._steps)
        self._evaluated: list[
            list[int]
        ] = []  # step, correct, items, ns: what a checkpoint keeps of the curve
        self._taken = 0  # steps, those before a resumption too
        self._said_ns = 0

    def run(self) -> None:
        """Go through every phase; an error is the caller's to report."""
        try:
            self._go()
        except (OutOfMemoryError, MemoryError):
            self._peaks.interrupt(self._step_peaks)
            raise

    def _go(self) -> None:
        self._peaks.begin("import")
        engine: EngineModule = import_module(self._document["engine_module"])
        engine.load()
        self._peaks.begin("library")
        engine.warm_up(self._document["threads"])
        self._channel.facts(engine.facts() | self._open_accelerator(engine))
        self._peaks.begin("setup")
        training = self._set_up(engine)
        keeper = self._keeper(training)
        first = self._taken = keeper.resume() if keeper else 0
        self._train(training, first, keeper)
        if first < self._steps:
            self._channel.ledger(training.ledger(), training.scratch_by_name())
        self._peaks.begin("evaluate")
        self._evaluate(training)
        self._peaks.end()
        seconds = self._document.get("phase_s")
        if seconds and self._durations_ns["step"]:  # the steps measured show whether the update is fused
            self._repeat_phases(training, seconds)
        training.close()
        self._channel.done()

    def _open_accelerator(self, engine: EngineModule) -> dict[str, Any]:
        """Bring to life the accelerator that the job names, and return what it is; nothing where it names none."""
        name = self._document["settings"].get("device")
        if name is None:
            return {}
        accelerator = engine.accelerator(name)
        limit_bytes = self._document.get("accelerator_limit_bytes")
        if limit_bytes is not None:
            accelerator.limit(limit_bytes)
        accelerator.warm_up()
        self._peaks.accelerator = accelerator
        self._step_peaks = StepPeaks(accelerator)
        return {"accelerator": accelerator.facts()}

    def _set_up(self, engine: EngineModule) -> Training:
        document = self._document
        job = Job(
            specification=Specification.from_json(document["specification"]),
            recipe=Recipe.from_json(document["recipe"]),
            optimizer=Optimizer(**document["optimizer"]),
            batch_size=document["batch_size"],
            threads=document["threads"],
            seed=document["seed"],
            settings=document["settings"],
            ceiling_bytes=document.get("ceiling_bytes"),
        )
        # First of all, so that a training that does not fit is refused before the batch takes of what is left.
        training = engine.create(job)
        training.set_up()
        data = PreparedDataset.from_json(document["data"])
        self._batches = Batches(data, job, self._stay_heard, engine.data_core())
        return training

    def _keeper(self, training: Training) -> "Keeper | None":
        """Return what writes and reads checkpoints, if the job asks for any."""
        order = self._document.get("checkpoint")
        if order is None:
            return None
        from harness.keeper import Keeper

        reader = self._batches.reader
        return Keeper(order, self._steps, self._channel, training, reader, self._losses, self._evaluated)

    def _train(self, training: Training, first: int, keeper: "Keeper | None") -> None:
        """Take every step from `first` on: those of the warm-up, then those that are measured."""
        step_peaks, timer = self._step_peaks, StepTimer()
        self._peaks.end()
        measured = min(first + self._warmup, self._steps)
        for step in range(first, measured):
            step_peaks.start()
            self._step(training, step, step_peaks.mark)
            self._between(training, step + 1, keeper, measured=False)
        step_peaks.report(self._channel)
        self._peaks.begin("train")
        self._edge("ready")
        self._channel.window("begin", time.monotonic_ns())
        for step in range(measured, self._steps):
            timer.start()
            self._step(training, step, timer.lap, lambda: timer.lap("data"))
            timer.stop()
            self._between(training, step + 1, keeper, measured=True)
        self._edge("end")
        self._peaks.end()
        self._losses.flush()
        self._durations_ns = timer.durations_ns()
        self._channel.timing(self._durations_ns)

    def _between(self, training: Training, step: int, keeper: "Keeper | None", *, measured: bool) -> None:
        """Evaluate after so many steps if it is time, then keep a checkpoint if it is: it knows the evaluation."""
        if self._evaluation_is_due(step):
            if measured:
                self._channel.window("pause", time.monotonic_ns())
            self._evaluate_between(training, step)
            if measured:
                self._peaks.begin("train")
                self._channel.window("resume", time.monotonic_ns())
        if keeper:
            keeper.after(step)

    def _evaluation_is_due(self, step: int) -> bool:
        """Whether one of the multiples of so many micro-batches was reached by this step; the last has its own."""
        order = self._document.get("evaluate")
        if not order or step >= self._steps or step <= order["after"]:
            return False
        each = int(self._document["settings"].get("accumulate", 1))
        read = (step - order["after"]) * each
        return bool(read // order["every"] > (read - each) // order["every"])

    def _evaluate_between(self, training: Training, step: int) -> None:
        """Evaluate in a phase of its own, so that neither the peaks nor the times of training know of it."""
        self._peaks.begin("evaluate")
        point = [step, *self._count_right(training)]
        self._peaks.end()
        self._evaluated.append(point)
        self._channel.evaluated(*point)

    def _edge(self, event: str) -> None:
        """Report an edge of the window; where a trigger pin marks it, wait until the pin is set."""
        self._channel.window(event, time.monotonic_ns())
        if self._document["trigger"]:
            await_parent()

    def _step(
        self, training: Training, step: int, mark: Mark, was_read: Callable[[], None] = lambda: None
    ) -> None:
        """Take one step, of one batch or of several micro-batches; `was_read` is called after the reading of each."""
        settings = self._document["settings"]
        rate = learning_rate(settings["learning_rate"], settings["schedule"], step, self._steps)
        micro_batches, total = settings.get("accumulate", 1), 0.0
        for _ in range(micro_batches):
            images, labels = self._batches.read()
            was_read()
            total += training.step(images, labels, rate, mark)
        loss = total / micro_batches
        self._losses.add(loss)
        self._taken = step + 1
        now = time.monotonic_ns()
        if now - self._said_ns > _PROGRESS_NS or step + 1 == self._steps:
            self._said_ns = now
            self._channel.progress(step + 1, self._steps, loss)

    def _evaluate(self, training: Training) -> None:
        correct, items, duration_ns = self._count_right(training)
        if self._document.get("evaluate"):
            self._channel.evaluated(self._steps, correct, items, duration_ns)  # the curve's last point
        self._channel.quality(self._losses.means, correct, items, self._document["settings"]["statistics"])

    def _count_right(self, training: Training) -> tuple[int, int, int]:
        """Return how many test items are classified rightly, of how many, and how long it took in ns."""
        begun, settings = time.monotonic_ns(), self._document["settings"]
        data = self._batches.data
        most = settings.get("test_items") or data.test.count
        if settings["statistics"] == "recalibrated":
            training.recalibrate(self._batches.first(data.train, 10_000))
        correct = items = 0
        for images, labels in self._batches.first(data.test, most):
            correct += training.evaluate(images, labels)
            items += len(labels)
        return correct, items, time.monotonic_ns() - begun

    def _repeat_phases(self, training: Training, seconds: float) -> None:
        """Repeat the phases of a step for the meters, on one training batch."""
        from harness.phases import repeat_phases

        fused = self._durations_ns["update"] is None
        repeat_phases(
            training,
            *self._batches.read(),
            seconds=seconds,
            fused=fused,
            steps=self._steps,
            channel=self._channel,
        )

    def _stay_heard(self) -> None:
        """Say that the worker is alive, at most every second: an evaluation may outlast the silence that is borne."""
        now = time.monotonic_ns()
        if now - self._said_ns > _ALIVE_NS:
            self._said_ns = now
            self._channel.progress(self._taken, self._steps, float("nan"))


def _read_job() -> bytes:
    """Return the line that the parent writes first; it writes no more before the worker has reported an edge."""
    job = bytearray()
    while not job.endswith(b"\n"):
        chunk = os.read(0, 1 << 16)
        if not chunk:
            raise BrokenPipeError("the parent is gone")
        job += chunk
    return bytes(job)


def _trace() -> str:
    """Return the traceback of the error under way. Only a failing worker pays for the module: 0.3 MiB."""
    try:
        import traceback
    except MemoryError:
        return ""
    return traceback.format_exc()


def main() -> None:
    """Run the job on standard input; whatever goes wrong is said in one line to the parent."""
    channel = Channel(int(os.environ["HARNESS_MESSAGES_FD"]))
    try:
        Trial(json.loads(_read_job()), channel).run()
    except BrokenPipeError:
        sys.exit(1)
    except (OutOfMemoryError, MemoryError) as error:
        channel.failure("out_of_memory", str(error) or "the allocator refused memory", _trace())
        sys.exit(3)
    except WorkloadError as error:
        channel.failure("error", str(error), _trace())
        sys.exit(1)
    except Exception as error:
        channel.failure("error", f"{type(error).__name__}: {error}", _trace())
        sys.exit(1)


if __name__ == "__main__":
    main()
