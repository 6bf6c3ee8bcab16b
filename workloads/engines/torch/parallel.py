"""One process's part of a training over several: its part of every batch, the steps, the checkpoints, the report."""

import argparse
import os
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from workloads import checkpoint, registry
from workloads.datasets import augment
from workloads.datasets.base import PreparedDataset
from workloads.datasets.reader import BatchReader
from workloads.datasets.registry import prepare
from workloads.engines.base import Batch, Job
from workloads.engines.torch import processes
from workloads.engines.torch.exchange import Group
from workloads.engines.torch.trainer import TorchTraining
from workloads.errors import CheckpointError, WorkloadError
from workloads.recipes import optimizer, recipe
from workloads.schedule import learning_rate

# Options that change what is trained.
_TRAINED_BY = (
    "workload", "trainer", "optimizer", "batch_size", "accumulate", "seed", "steps", "exchange", "learning_rate",
)  # fmt: skip


class Distributed:
    """One process's part of the training."""

    def __init__(self, options: argparse.Namespace, group: Group) -> None:
        self._options, self._group = options, group
        self._workload = registry.workload(options.workload)
        self._data = _prepare(options, self._workload.dataset)
        network = self._workload.specification()
        settings = {"accumulate": options.accumulate}
        self._job = Job(
            network, recipe(options.trainer), optimizer(options.optimizer), options.batch_size,
            options.threads or _threads(), options.seed, settings,
        )  # fmt: skip
        train, batch = self._data.train, options.batch_size
        self._reader = BatchReader(train, batch, options.seed, rank=group.rank, ranks=group.count)
        self._images = memoryview(bytearray(batch * train.image_bytes))
        wide = train.label_bytes == 2
        self._labels = memoryview(bytearray(batch * train.label_bytes)).cast("H" if wide else "B")
        self._file = file_of(options, group.count)
        self._losses: list[float] = []

    def run(self) -> dict[str, Any] | None:
        """Train, from a checkpoint where one is to be resumed, and evaluate."""
        self._training = TorchTraining(self._job)
        self._training.set_up()
        first = self._resume(self._file) if self._file and self._options.resume else 0
        begun = time.monotonic()
        for step in range(first, self._options.steps):
            self._losses.append(self._step(step))
            self._keep_if_due(step + 1)
        wall_s = time.monotonic() - begun
        self._require_agreement()
        report = self._report(first, wall_s) if self._group.rank == 0 else None
        dist.barrier()  # nobody leaves while the first still evaluates
        return report

    def _step(self, step: int) -> float:
        """Take one step and return its mean loss over all processes."""
        options, total = self._options, 0.0
        given, usual = options.learning_rate, self._workload.rate_of(options.optimizer)
        rate = learning_rate(usual if given is None else given, self._workload.schedule, step, options.steps)
        for _ in range(options.accumulate):
            self._read()
            total += self._training.step(self._images, self._labels, rate, lambda phase: None)
        loss = torch.tensor([total / options.accumulate / self._group.count], dtype=torch.float64)
        dist.all_reduce(loss)
        return float(loss)

    def _read(self) -> None:
        self._reader.read_into(self._images, self._labels)
        place = self._reader.last_items, self._options.seed, self._reader.last_epoch
        augment.augment(self._workload.augmentation, self._images, *place, self._data.shape)

    def _fingerprint(self) -> dict[str, Any]:
        """Return what must be the same for the training to be continued."""
        known = {name: getattr(self._options, name) for name in _TRAINED_BY}
        data = f"{self._data.name}, {self._data.variant}, {self._data.train.count} items"
        return {**known, "processes": self._group.count, "dataset": data}

    def _keep_if_due(self, step: int) -> None:
        due = step % self._options.checkpoint_every == 0 or step == self._options.steps
        if self._file and due:
            self._keep(self._file, step)

    def _keep(self, path: Path, step: int) -> None:
        """Have the first process write a checkpoint; the others hold the same."""
        self._require_agreement()
        head = {
            "fingerprint": self._fingerprint(),
            "step": step,
            "data": {"epoch": self._reader.epoch, "position": self._reader.position},
            "losses": self._losses,
        }
        trouble = ""
        if self._group.rank == 0:
            try:
                checkpoint.write(path, head, self._training.snapshot().blocks)
            except CheckpointError as error:
                trouble = str(error)
        # All or none: a process that went on alone would wait for the others for ever.
        if not self._group.agree(0 if self._group.rank else len(trouble)):
            raise CheckpointError(trouble or "the first process could not write its checkpoint")

    def _resume(self, path: Path) -> int:
        snapshot = self._training.snapshot()
        head = checkpoint.read_into(path, snapshot.blocks)
        for name, value in self._fingerprint().items():
            before = head["fingerprint"].get(name)
            if before != value:
                raise CheckpointError(
                    f"'{path}' is of another training: {name} was {before}, now it is {value}"
                )
        snapshot.adopt()
        self._reader.seek(head["data"]["epoch"], head["data"]["position"])
        self._losses = list(head["losses"])
        self._group.steps = int(head["step"])
        return self._group.steps

    def _state_sum(self) -> int:
        """Return the CRC-32 of all that the training remembers."""
        crc = 0
        for block in self._training.snapshot().blocks:
            crc = zlib.crc32(block.data, crc)
        return crc

    def _require_agreement(self) -> None:
        if not self._group.agree(self._state_sum()):
            raise WorkloadError(
                "the processes no longer hold the same weights: are all of one version, with as many threads each?"
            )

    def _report(self, first: int, wall_s: float) -> dict[str, Any]:
        with processes.joined(processes.Alone()):
            correct, items = self._evaluate()
        options, steps = self._options, self._options.steps - first
        sent = {kind: size / max(1, steps) for kind, size in self._group.sent_bytes.items()}
        return {
            "workload": options.workload, "trainer": options.trainer, "optimizer": options.optimizer,
            "exchange": options.exchange, "processes": self._group.count, "batch_size": options.batch_size,
            "accumulate": options.accumulate, "seed": options.seed, "dataset_variant": self._data.variant,
            "steps": options.steps, "resumed_at_step": first if options.resume else None,
            "step_s": wall_s / steps if steps else None,
            "sent_bytes_per_step": sent if steps else None,
            "weights_crc32": f"{self._state_sum():08x}",
            "train_loss": self._losses, "test_accuracy": correct / items if items else None, "test_items": items,
        }  # fmt: skip

    def _evaluate(self) -> tuple[int, int]:
        correct = items = 0
        for images, labels in self._test_batches():
            correct += self._training.evaluate(images, labels)
            items += len(labels)
        return correct, items

    def _test_batches(self) -> Iterator[Batch]:
        left = self._data.test.count if self._options.test_items is None else self._options.test_items
        left, size = min(left, self._data.test.count), self._data.test.image_bytes
        with BatchReader(self._data.test, self._options.batch_size, shuffle=False) as reader:
            while left > 0:
                count = min(reader.read_into(self._images, self._labels), left)
                yield self._images[: count * size], self._labels[:count]
                left -= count


def file_of(options: argparse.Namespace, count: int) -> Path | None:
    """Return the checkpoint's path; every process of a resumed training must be able to read it."""
    if options.checkpoint is None:
        return None
    name = f"{options.workload}-{options.trainer}-seed-{options.seed}-processes-{count}"
    return Path(options.checkpoint).absolute() / f"{name}{checkpoint.SUFFIX}"


def _prepare(options: argparse.Namespace, dataset: str) -> PreparedDataset:
    """Let one process of each machine unpack the data, then all find it unpacked."""
    name = f"synthetic-{dataset}" if options.synthetic else dataset
    folder = Path(options.data_dir) if options.data_dir else None
    if int(os.environ.get("LOCAL_RANK", "0")) == 0:
        _make(options.checkpoint)
        prepared = prepare(name, folder)
    dist.barrier()
    return prepare(name, folder) if int(os.environ.get("LOCAL_RANK", "0")) else prepared


def _threads() -> int:
    """Share this machine's processors among its processes."""
    return max(1, len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def _make(folder: str | None) -> None:
    try:
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(
            f"--checkpoint {folder}: {error.strerror}; name a folder that can be made"
        ) from error
