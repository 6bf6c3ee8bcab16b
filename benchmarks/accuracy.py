"""Accuracy on whole data sets: workload × engine × trainer × epochs × seeds, one JSON record a run.

    HARNESS_DATA=... python benchmarks/accuracy.py --trainer standard --trainer lowmem --epochs 10
    HARNESS_DATA=... python benchmarks/accuracy.py --workload cnv-cifar10 --engine native --trainer lean --epochs 10
    HARNESS_DATA=... python benchmarks/accuracy.py --workload binarynet-cifar10 --accelerator cuda --trainer lowmem

Batch 100, cosine schedule from the workload's rate to 0 over the run, the workload's augmentation. Accuracy is that of
the whole test set, with the moving averages after every epoch, and at the end once more with statistics recalibrated
over 10,000 training images. The record is written after every epoch; a run whose record is complete is skipped, so an
interrupted series is taken up again by the same command, and with `--checkpoints DIR` an interrupted run from its last
epoch. `--stop-after N` ends a run there, on the schedule of all its epochs. `--recalibrate-every N` evaluates every N
epochs once more with statistics of 2,000 training images, and goes on with the training's own. What a variant is chosen
by should not be the test set: with `--held-out N` the last N training images stand in for it. With `--accelerator cuda`
(engine torch) the record is another one, `torch-cuda-...`: a GPU draws other weights and other roundings from the same
seed.
"""

import argparse
import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from workloads import checkpoint
from workloads.datasets import augment
from workloads.datasets.base import Column, PreparedDataset, Segment, Split
from workloads.datasets.cache import Cache
from workloads.datasets.core import DataCore
from workloads.datasets.reader import BatchReader
from workloads.engines.base import Batch, EngineModule, Job, Training
from workloads.errors import UnsupportedError
from workloads.recipes import OPTIMIZERS, optimizer, recipe
from workloads.registry import Workload, engine, workload
from workloads.schedule import learning_rate

RESULTS = Path(os.environ.get("ACCURACY_RESULTS", Path(__file__).parent / "results" / "accuracy"))
BATCH = 100
# Of an optimizer's row: the factors on the learning rate, and Bop's thresholds.
FACTORS = ("rate", "sign_rate", "real_rate", "beta_rate", "threshold", "sign_threshold")


class Variant(NamedTuple):
    """What a run does otherwise than the recipe, the workload and the optimizer say."""

    learning_rate: float
    recipe: dict[str, Any]
    settings: dict[str, Any]
    factors: dict[str, float]


def variant_of(text: str, rate: float) -> Variant:
    """Read a variant: `default`, or `lr=3e-3,border=clip,...`.

    Keys: lr, border (cancel, clip), norm (l1_sign, l1_sign_centred), initial (factor on the initial weights), beta1,
    beta2 (Adam's), sharpness (factor on the logits), scale (none, layer: of one-bit gradients), and the numbers of the
    optimizer's row: rate, sign_rate, real_rate, beta_rate, threshold, sign_threshold.
    """
    given = dict(pair.split("=") for pair in text.split(",")) if text != "default" else {}
    rate = float(given.pop("lr", rate))
    factors = {key: float(given.pop(key)) for key in FACTORS if key in given}
    betas = (float(given.pop("beta1", 0.9)), float(given.pop("beta2", 0.999)))
    settings: dict[str, Any] = {"betas": betas} if betas != (0.9, 0.999) else {}
    of_recipe = {key: given.pop(key) for key in ("border", "norm") if key in given}
    if "scale" in given:
        settings["gradient_scale"] = given.pop("scale")
    settings |= {key: float(given.pop(key)) for key in ("initial", "sharpness") if key in given}
    if given:
        raise SystemExit(f"unknown keys in variant '{text}': {', '.join(given)}")
    return Variant(rate, of_recipe, settings, factors)


def held_out(data: PreparedDataset, items: int) -> PreparedDataset:
    """Return the training images cut in two, the last `items` in place of the test set; both of one file each."""
    first = data.train.count - items
    train, rest = (_part(data.train, start, count) for start, count in ((0, first), (first, items)))
    return data._replace(train=train, test=rest)


def _part(split: Split, start: int, count: int) -> Split:
    def cut(column: Column) -> Column:
        (whole,) = column.segments
        return column._replace(segments=(Segment(whole.path, whole.offset + start * column.stride, count),))

    return split._replace(images=cut(split.images), labels=cut(split.labels), count=count)


class Feed:
    """Training batches as the worker feeds them: shuffled, moved and mirrored as the workload says."""

    def __init__(
        self, data: PreparedDataset, row: Workload, seed: int, core: DataCore | None, batch: int = BATCH
    ) -> None:
        self._data, self._row, self._seed, self._core = data, row, seed, core
        self._reader = BatchReader(data.train, batch, seed, shuffle=True, core=core)
        self._images = memoryview(bytearray(batch * data.train.image_bytes))
        self._labels = memoryview(bytearray(batch))
        self.batches = self._reader.batches_per_epoch

    def seek(self, epoch: int) -> None:
        """Go on with the first batch of that epoch."""
        self._reader.seek(epoch, 0)

    def next(self) -> Batch:
        """Return the next batch, in the one buffer."""
        self._reader.read_into(self._images, self._labels)
        place = self._reader.last_items, self._seed, self._reader.last_epoch
        augment.augment(self._row.augmentation, self._images, *place, self._data.shape, self._core)
        return self._images, self._labels


def in_order(split: Split, items: int, batch: int = BATCH) -> Iterator[Batch]:
    """Yield the first items of a split in the files' order, through one buffer."""
    images, labels = memoryview(bytearray(batch * split.image_bytes)), memoryview(bytearray(batch))
    reader = BatchReader(split, batch, shuffle=False)
    for _ in range(items // batch):
        reader.read_into(images, labels)
        yield images, labels


def accuracy(training: Training, test: Split, batch: int = BATCH) -> float:
    """Return the share of the whole test set classified rightly, in percent."""
    return 100 * sum(training.evaluate(*each) for each in in_order(test, test.count, batch)) / test.count


@contextlib.contextmanager
def fresh_statistics(training: Training, batches: Iterator[Batch]) -> Iterator[None]:
    """Have the training hold the statistics of these batches; then put all back as it was."""
    snapshot = training.snapshot()
    before = [bytes(block.data) for block in snapshot.blocks]
    training.recalibrate(batches)
    yield
    for block, kept in zip(snapshot.blocks, before, strict=True):
        block.data.cast("B")[:] = kept
    snapshot.adopt()


def train_epoch(training: Training, feed: Feed, epoch: int, epochs: int, rate: float) -> float:
    """Train one of the epochs, the rate falling along the cosine, and return the mean training loss."""
    total, steps = 0.0, epochs * feed.batches
    for index in range(feed.batches):
        eta = learning_rate(rate, "cosine", epoch * feed.batches + index, steps)
        total += training.step(*feed.next(), eta, lambda phase: None)
    return total / feed.batches


def prepared(row: Workload) -> PreparedDataset:
    """Return the whole data set of a workload, from the folder that HARNESS_DATA names."""
    dataset = import_module(f"workloads.datasets.{row.dataset}")
    found: PreparedDataset = dataset.prepare(row.dataset, Path(os.environ["HARNESS_DATA"]), Cache())
    return found


class Run:
    """One training with its record."""

    def __init__(self, args: argparse.Namespace, trainer: str, seed: int, variant: str) -> None:
        self._row, self._seed, self._epochs = workload(args.workload), seed, args.epochs
        self._rate, of_recipe, settings, factors = variant_of(variant, self._row.rate_of(args.optimizer))
        self._module: EngineModule = import_module(engine(args.engine).module)
        self._module.load()
        there = None if args.accelerator == "cpu" else self._module.accelerator(args.accelerator).facts()
        settings |= {"device": args.accelerator} if there else {}
        kind = f"{args.engine}-{args.accelerator.partition(':')[0]}" if there else args.engine
        trained = recipe(trainer)._replace(**of_recipe)
        method = optimizer(args.optimizer)._replace(**factors)
        job = Job(self._row.specification(), trained, method, BATCH, args.threads, seed, settings)
        self._training = self._module.create(job)
        variant += f",held-out-{args.held_out}" if args.held_out else ""
        name = f"{kind}-{trainer}-{args.optimizer}-{variant}-{args.epochs}-epochs-seed-{seed}.json"
        self.path = RESULTS / args.workload / name
        folder: Path | None = args.checkpoints
        self._checkpoint = folder and folder / f"{args.workload}-{name}{checkpoint.SUFFIX}"
        self._last_epoch = args.stop_after or args.epochs
        self._recalibrate_every: int | None = args.recalibrate_every
        self._record: dict[str, Any] = {
            "commit": commit(), "workload": args.workload, "trainer": trainer, "border": trained.border,
            "variant": variant,
            "settings": settings, "optimizer": args.optimizer, "factors": factors,
            "held_out": args.held_out, "epochs": args.epochs, "stopped_after": args.stop_after, "seed": seed,
            "batch_size": BATCH, "schedule": "cosine", "learning_rate": self._rate,
            "augmentation": self._row.augmentation, "engine": self._module.facts(), "accelerator": there,
        }  # fmt: skip

    def complete(self) -> bool:
        """Tell whether the record was written to its end before."""
        return self.path.exists() and json.loads(self.path.read_text()).get("test_accuracy") is not None

    def train(self, data: PreparedDataset) -> None:
        """Train every epoch, evaluate after each, write the record each time."""
        self._training.set_up()
        feed = Feed(data, self._row, self._seed, self._module.data_core())
        curve, before = self._resumed()
        feed.seek(len(curve))
        started, seconds = time.process_time(), before
        for epoch in range(len(curve), self._last_epoch):
            loss = train_epoch(self._training, feed, epoch, self._epochs, self._rate)
            reached = accuracy(self._training, data.test)
            curve.append({"epoch": epoch + 1, "train_loss": loss, "test_accuracy": reached})
            if self._recalibrate_every and (epoch + 1) % self._recalibrate_every == 0:
                curve[-1]["test_accuracy_recalibrated"] = self._recalibrated(data)
            print(self.path.stem, curve[-1], flush=True)
            seconds = round(before + time.process_time() - started, 1)
            self._write(data, {"cpu_seconds": seconds, "curve": curve, "test_accuracy": None})
            self._keep(curve, seconds)
        self._training.recalibrate(in_order(data.train, 10_000))
        recalibrated = accuracy(self._training, data.test)
        last = {"test_accuracy": curve[-1]["test_accuracy"], "test_accuracy_recalibrated": recalibrated}
        self._write(data, {"cpu_seconds": seconds, "curve": curve} | last)
        self._training.close()
        if self._checkpoint:
            self._checkpoint.unlink(missing_ok=True)

    def _recalibrated(self, data: PreparedDataset) -> float:
        """Return the accuracy with statistics of some training images, and leave the training as it was."""
        with fresh_statistics(self._training, in_order(data.train, 2_000)):
            return accuracy(self._training, data.test)

    def _resumed(self) -> tuple[list[dict[str, Any]], float]:
        """Return the curve so far and the processor's time it took: those of a checkpoint, if there is one."""
        if self._checkpoint is None or not self._checkpoint.exists():
            return [], 0.0
        snapshot = self._training.snapshot()
        head = checkpoint.read_into(self._checkpoint, snapshot.blocks)
        snapshot.adopt()
        return head["curve"], head["cpu_seconds"]

    def _keep(self, curve: list[dict[str, Any]], seconds: float) -> None:
        if self._checkpoint is None:
            return
        self._checkpoint.parent.mkdir(parents=True, exist_ok=True)
        head = {"curve": curve, "cpu_seconds": seconds}
        checkpoint.write(self._checkpoint, head, self._training.snapshot().blocks)

    def _write(self, data: PreparedDataset, figures: dict[str, Any]) -> None:
        about = {"dataset_variant": data.variant, "test_items": data.test.count}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self._record | about | figures, indent=1) + "\n")


def commit() -> str | None:
    """Return the commit of the working tree, marked if it was changed since; None outside of one."""
    here = Path(__file__).parent
    told = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=here, capture_output=True, text=True
    )
    return told.stdout.strip() or None


def main() -> None:
    """Run what is missing and say where each record lies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--workload", default="mlp-mnist")
    parser.add_argument("--engine", default="torch")
    parser.add_argument("--accelerator", default="cpu", help="cuda or cuda:N, with the engine torch")
    parser.add_argument("--trainer", action="append", required=True)
    parser.add_argument("--variant", action="append", help=variant_of.__doc__)
    parser.add_argument("--optimizer", default="adam", choices=sorted(OPTIMIZERS))
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--stop-after", type=int, help="end after so many epochs of the schedule")
    parser.add_argument(
        "--recalibrate-every", type=int, help="epochs between evaluations with fresh statistics"
    )
    parser.add_argument(
        "--checkpoints", type=Path, help="folder in which an interrupted run finds its last epoch"
    )
    parser.add_argument("--held-out", type=int, default=0, help="judge by so many training images, held out")
    args = parser.parse_args()
    if args.accelerator != "cpu" and args.engine != "torch":
        parser.error("--accelerator is the torch engine's")
    data = prepared(workload(args.workload))
    if args.held_out:
        data = held_out(data, args.held_out)
    for variant in args.variant or ["default"]:
        for seed in args.seed or [0, 1, 2]:
            for trainer in args.trainer:
                try:
                    run = Run(args, trainer, seed, variant)
                except UnsupportedError as error:
                    raise SystemExit(str(error)) from None
                if not run.complete():
                    run.train(data)
                print(run.path, flush=True)


if __name__ == "__main__":
    main()
