"""Accuracy on the whole of MNIST: trainers × epochs × seeds, one JSON record a run.

    HARNESS_DATA=... python benchmarks/accuracy_mnist.py --trainer standard --trainer lowmem --epochs 10

Adam, cosine schedule from 1e-3 to 0 over the run, batch 100. Accuracy is that of the whole test set, with the moving
averages after every epoch, and at the end once more with statistics recalibrated over 10,000 training images. A run whose record exists is skipped, so an
interrupted series is resumed by the same command.
"""

import argparse
import gzip
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from workloads.engines.base import Batch, Job
from workloads.engines.torch import facts
from workloads.engines.torch.trainer import TorchTraining
from workloads.recipes import optimizer, recipe
from workloads.registry import workload
from workloads.schedule import learning_rate

RESULTS = Path(os.environ.get("ACCURACY_RESULTS", Path(__file__).parent / "results" / "accuracy_mnist"))
BATCH = 100

# Named departures from a trainer's defaults: engine settings, the initial learning rate, the floor of the schedule.
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "clip": {"border": "clip"},
    "initial-0.25": {"initial": 0.25},
    "initial-4": {"initial": 4.0},
    "lr-3e-3": {"learning_rate": 3e-3},
    "lr-3e-4": {"learning_rate": 3e-4},
    "beta2-0.99": {"betas": (0.9, 0.99)},
    "beta1-0.99": {"betas": (0.99, 0.999)},
}


def read_mnist(folder: Path, split: str) -> tuple[Tensor, Tensor]:
    """Return images (items × 784, uint8) and labels (items, uint8) of `train` or `t10k`."""
    images = gzip.decompress((folder / "mnist" / f"{split}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / "mnist" / f"{split}-labels-idx1-ubyte.gz").read_bytes())
    pixels = torch.frombuffer(bytearray(images[16:]), dtype=torch.uint8).view(-1, 784)
    return pixels, torch.frombuffer(bytearray(labels[8:]), dtype=torch.uint8)


def batches(data: tuple[Tensor, Tensor], order: Tensor) -> Iterator[Batch]:
    """Yield whole batches in that order."""
    for start in range(0, len(order) - BATCH + 1, BATCH):
        part = order[start : start + BATCH]
        yield _bytes(data[0][part]), _bytes(data[1][part])


def _bytes(tensor: Tensor) -> memoryview:
    return memoryview(tensor.contiguous().numpy()).cast("B")


def accuracy(training: TorchTraining, test: tuple[Tensor, Tensor]) -> float:
    """Return the share of the whole test set classified rightly, in percent."""
    right = sum(training.evaluate(*batch) for batch in batches(test, torch.arange(len(test[1]))))
    return 100 * right / len(test[1])


def run(args: argparse.Namespace, trainer: str, seed: int, variant: str) -> dict[str, Any]:
    """Train once and return the record."""
    settings = dict(VARIANTS[variant])
    rate = settings.pop("learning_rate", 1e-3)
    network = workload("mlp-mnist").specification()
    job = Job(network, recipe(trainer), optimizer(args.optimizer), BATCH, args.threads, seed, settings)
    training = TorchTraining(job)
    training.set_up()
    folder = Path(os.environ["HARNESS_DATA"])
    train, test = read_mnist(folder, "train"), read_mnist(folder, "t10k")
    generator = torch.Generator().manual_seed(seed)
    steps, step, curve = args.epochs * (len(train[1]) // BATCH), 0, []
    started = time.perf_counter()
    for epoch in range(args.epochs):
        losses = []
        for images, labels in batches(train, torch.randperm(len(train[1]), generator=generator)):
            eta = learning_rate(rate, "cosine", step, steps)
            losses.append(training.step(images, labels, eta, lambda phase: None))
            step += 1
        point = {
            "epoch": epoch + 1,
            "train_loss": sum(losses) / len(losses),
            "test_accuracy": accuracy(training, test),
        }
        curve.append(point)
        print(trainer, variant, f"seed {seed}", point, flush=True)
    seconds = time.perf_counter() - started
    training.recalibrate(batches(train, torch.arange(10_000)))
    return {
        "workload": "mlp-mnist", "dataset_variant": "full", "trainer": trainer, "variant": variant,
        "settings": VARIANTS[variant], "optimizer": args.optimizer, "epochs": args.epochs, "seed": seed,
        "batch_size": BATCH, "schedule": "cosine", "learning_rate": rate, "engine": facts(),
        "test_accuracy": curve[-1]["test_accuracy"],
        "test_accuracy_recalibrated": accuracy(training, test), "saturated": training.saturated,
        "seconds": round(seconds, 1), "curve": curve,
    }  # fmt: skip


def main() -> None:
    """Run what is missing and say where each record lies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--trainer", action="append", required=True)
    parser.add_argument("--variant", action="append", choices=list(VARIANTS))
    parser.add_argument("--optimizer", default="adam")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    for variant in args.variant or ["default"]:
        for seed in args.seed or [0, 1, 2]:
            for trainer in args.trainer:
                name = f"{trainer}-{args.optimizer}-{variant}-{args.epochs}-epochs-seed-{seed}.json"
                if not (RESULTS / name).exists():
                    record = run(args, trainer, seed, variant)
                    (RESULTS / name).write_text(json.dumps(record, indent=1) + "\n")
                print(RESULTS / name, flush=True)


if __name__ == "__main__":
    main()
