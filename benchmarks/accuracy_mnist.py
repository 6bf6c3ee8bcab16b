"""Accuracy on the whole of MNIST: trainers × epochs × seeds, one JSON record a run.

    HARNESS_DATA=... python benchmarks/accuracy_mnist.py --trainer standard --trainer lowmem --epochs 10

Adam, cosine schedule from 1e-3 to 0 over the run, batch 100. Accuracy is that of the whole test set, with the moving
averages after every epoch, and at the end once more with statistics recalibrated over 10,000 training images. A run
whose record exists is skipped, so an interrupted series is resumed by the same command.
"""

import argparse
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workloads.datasets import mnist
from workloads.datasets.base import PreparedDataset, Split
from workloads.datasets.cache import Cache
from workloads.datasets.reader import BatchReader
from workloads.engines.base import Batch, Job
from workloads.engines.torch import facts
from workloads.engines.torch.trainer import TorchTraining
from workloads.recipes import optimizer, recipe
from workloads.registry import workload
from workloads.schedule import learning_rate

RESULTS = Path(os.environ.get("ACCURACY_RESULTS", Path(__file__).parent / "results" / "accuracy_mnist"))
BATCH = 100


def settings_of(variant: str) -> tuple[float, dict[str, Any]]:
    """Return the initial learning rate and the engine's settings of a variant: `default`, or `lr=3e-3,border=clip,...`.

    Keys: lr, border (cancel, clip), initial (factor on the initial weights), beta1, beta2 (Adam's),
    sharpness (factor on the logits), scale (none, layer: of one-bit gradients).
    """
    given = dict(pair.split("=") for pair in variant.split(",")) if variant != "default" else {}
    rate = float(given.pop("lr", 1e-3))
    betas = (float(given.pop("beta1", 0.9)), float(given.pop("beta2", 0.999)))
    settings: dict[str, Any] = {"betas": betas} if betas != (0.9, 0.999) else {}
    if "border" in given:
        settings["border"] = given.pop("border")
    if "scale" in given:
        settings["gradient_scale"] = given.pop("scale")
    settings |= {key: float(given.pop(key)) for key in ("initial", "sharpness") if key in given}
    if given:
        raise SystemExit(f"unknown keys in variant '{variant}': {', '.join(given)}")
    return rate, settings


def in_order(split: Split, items: int) -> Iterator[Batch]:
    """Yield the first items of a split in the files' order, through one buffer."""
    images, labels = memoryview(bytearray(BATCH * split.image_bytes)), memoryview(bytearray(BATCH))
    with BatchReader(split, BATCH, shuffle=False) as reader:
        for _ in range(items // BATCH):
            reader.read_into(images, labels)
            yield images, labels


def accuracy(training: TorchTraining, test: Split) -> float:
    """Return the share of the whole test set classified rightly, in percent."""
    return 100 * sum(training.evaluate(*batch) for batch in in_order(test, test.count)) / test.count


def train_epoch(
    training: TorchTraining, reader: BatchReader, split: Split, step: int, steps: int, rate: float
) -> float:
    """Run one epoch that begins with `step` of `steps`; return the mean training loss."""
    images, labels = memoryview(bytearray(BATCH * split.image_bytes)), memoryview(bytearray(BATCH))
    losses = []
    for index in range(reader.batches_per_epoch):
        reader.read_into(images, labels)
        eta = learning_rate(rate, "cosine", step + index, steps)
        losses.append(training.step(images, labels, eta, lambda phase: None))
    return sum(losses) / len(losses)


def run(
    data: PreparedDataset, args: argparse.Namespace, trainer: str, seed: int, variant: str
) -> dict[str, Any]:
    """Train once and return the record."""
    rate, settings = settings_of(variant)
    network = workload("mlp-mnist").specification()
    job = Job(network, recipe(trainer), optimizer(args.optimizer), BATCH, args.threads, seed, settings)
    training = TorchTraining(job)
    training.set_up()
    reader = BatchReader(data.train, BATCH, seed, shuffle=True)
    steps, curve, started = args.epochs * reader.batches_per_epoch, [], time.perf_counter()
    for epoch in range(args.epochs):
        loss = train_epoch(training, reader, data.train, epoch * reader.batches_per_epoch, steps, rate)
        curve.append({"epoch": epoch + 1, "train_loss": loss, "test_accuracy": accuracy(training, data.test)})
        print(trainer, variant, f"seed {seed}", curve[-1], flush=True)
    seconds = time.perf_counter() - started
    training.recalibrate(in_order(data.train, 10_000))
    return {
        "commit": commit(), "workload": "mlp-mnist", "dataset_variant": data.variant, "trainer": trainer,
        "variant": variant, "settings": settings, "optimizer": args.optimizer, "epochs": args.epochs,
        "seed": seed, "batch_size": BATCH, "schedule": "cosine", "learning_rate": rate, "engine": facts(),
        "test_items": data.test.count, "test_accuracy": curve[-1]["test_accuracy"],
        "test_accuracy_recalibrated": accuracy(training, data.test), "saturated": training.saturated,
        "seconds": round(seconds, 1), "curve": curve,
    }  # fmt: skip


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
    parser.add_argument("--trainer", action="append", required=True)
    parser.add_argument("--variant", action="append", help=settings_of.__doc__)
    parser.add_argument("--optimizer", default="adam")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    data = mnist.prepare("mnist", Path(os.environ["HARNESS_DATA"]), Cache())
    for variant in args.variant or ["default"]:
        for seed in args.seed or [0, 1, 2]:
            for trainer in args.trainer:
                name = f"{trainer}-{args.optimizer}-{variant}-{args.epochs}-epochs-seed-{seed}.json"
                if not (RESULTS / name).exists():
                    record = run(data, args, trainer, seed, variant)
                    (RESULTS / name).write_text(json.dumps(record, indent=1) + "\n")
                print(RESULTS / name, flush=True)


if __name__ == "__main__":
    main()
