"""Runs a few steps of every trainer and optimizer on odd networks with three threads, for the sanitizer builds.

Standard library only, so that it also runs where NumPy does not (under qemu, under a sanitizer's preload).
"""

import random
import sys

from workloads import recipes
from workloads.engines import native
from workloads.engines.base import Job
from workloads.engines.native.scratch import SUPPORTED
from workloads.specification import Sequence, Specification

BATCH = 5


def networks() -> list[Specification]:
    """Return dense, padded and unpadded networks whose channels fill no word, with both kinds of pools."""
    mlp = Sequence("mlp", (1, 5, 7)).dense(70).dense(33).dense(64).dense(7)
    padded = Sequence("padded", (3, 8, 10)).conv(12, padding=1).conv(70, padding=1, pool="before_norm")
    valid = Sequence("valid", (3, 16, 18)).conv(20).conv(70, pool="after_sign").conv(33)
    odd = Sequence("odd", (1, 9, 7)).conv(10, padding=1).conv(65, padding=1, pool="before_norm")
    return [
        mlp.build(),
        padded.conv(64, padding=1, pool="before_norm").dense(33).dense(5).build(),
        valid.conv(64, kernel=2, pool="after_sign").dense(9).build(),
        odd.conv(64, kernel=2).dense(6).build(),
    ]


def run(network: Specification, trainer: str, optimizer: str) -> float:
    """Train two steps, recalibrate with a short batch, evaluate; return the last loss."""
    job = Job(network, recipes.recipe(trainer), recipes.optimizer(optimizer), BATCH, 3, 0, {})
    training = native.create(job)
    training.set_up()
    channels, height, width = network.image_shape
    item = channels * height * width
    images = memoryview(bytearray(random.Random(1).randbytes(BATCH * item)))
    labels = memoryview(bytearray(i % network.classes for i in range(BATCH)))
    losses = [training.step(images, labels, 0.01, lambda phase: None) for _ in range(2)]
    training.recalibrate([(images[: 3 * item], labels[:3])])
    training.evaluate(images, labels)
    training.close()
    return losses[-1]


def main() -> None:
    """Run every combination and say so."""
    for network in networks():
        for trainer in SUPPORTED:
            for optimizer in ("adam", "sgd") if trainer == "standard" else ("adam", "sgd", "bop"):
                run(network, trainer, optimizer)
    sys.stdout.write("clean\n")


if __name__ == "__main__":
    main()
