"""The worker's side of checkpoints: when one is written, what is in it, and where a resumed trial goes on.

Imported only where a job asks for checkpoints.
"""

import time
from collections.abc import Mapping

from harness.protocol import Channel
from harness.stopwatch import Losses
from workloads import checkpoint
from workloads.datasets.reader import BatchReader
from workloads.engines.base import Training
from workloads.errors import CheckpointError
from workloads.light_typing import Any


class Keeper:
    """Keeps one training in one file, after every `every` steps and after the last.

    `order` is the job's `checkpoint`: path, every, resume and fingerprint (see `harness.checkpoints`).
    """

    def __init__(
        self,
        order: Mapping[str, Any],
        steps: int,
        channel: Channel,
        training: Training,
        reader: BatchReader,
        losses: Losses,
        evaluated: list[list[int]],
    ) -> None:
        self._path, self._every, self._steps = str(order["path"]), int(order["every"]), steps
        self._resumes, self._fingerprint = bool(order["resume"]), order["fingerprint"]
        self._channel, self._training, self._reader, self._losses = channel, training, reader, losses
        self._evaluated = evaluated

    def resume(self) -> int:
        """Put the training where its checkpoint left it and return the steps taken until then: 0 without one.

        Raises CheckpointError if the file is damaged or not that of this training any more.
        """
        if not self._resumes:
            return 0
        snapshot = self._training.snapshot()
        head = checkpoint.read_into(self._path, snapshot.blocks)
        if head["fingerprint"] != self._fingerprint:
            raise CheckpointError(f"the checkpoint '{self._path}' was replaced by that of another training")
        snapshot.adopt()
        self._reader.seek(head["data"]["epoch"], head["data"]["position"])
        self._losses.restore(head["losses"])
        self._evaluated[:] = head.get("evaluated", [])  # the curve is of the whole training
        for point in self._evaluated:
            self._channel.evaluated(*point)
        return int(head["step"])

    def after(self, step: int) -> None:
        """So many steps have been taken: write a checkpoint if it is time."""
        if step % self._every and step != self._steps:
            return
        begun = time.monotonic_ns()
        head = {
            "fingerprint": self._fingerprint,
            "step": step,
            "data": {"epoch": self._reader.epoch, "position": self._reader.position},
            "losses": self._losses.state(),
            "evaluated": self._evaluated,
        }
        size = checkpoint.write(self._path, head, self._training.snapshot().blocks)
        self._channel.saved(step, size, time.monotonic_ns() - begun)
