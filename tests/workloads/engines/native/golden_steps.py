"""The golden curves of the native engine: 50 steps of every trainer from given weights, on two small networks.

Standard library only, so that the same lines run where NumPy does not (an emulated Arm, a sanitizer's preload). Weights
and data are those of `tests/oracle/golden.py`, made of integers alone. Run as a script it prints the curves as JSON;
HARNESS_ISA chooses the kernels. tests/data/golden-native/native.json is what `HARNESS_ISA=generic` printed.
"""

import json
import struct
import sys
from functools import cache

from workloads import recipes
from workloads.engines import native
from workloads.engines.base import Job
from workloads.engines.native.scratch import SUPPORTED
from workloads.engines.native.training import NativeTraining
from workloads.specification import Sequence, Specification

TRAINERS = SUPPORTED
STEPS = 50  # as the oracle's task, whose are the rate of Adam and the batch of 60
RATES = {"adam": 0.003, "sgd": 1e-3}
BATCH = {"mlp": 60, "conv": 22}
_FORMATS = {"float32": "f", "float16": "e", "int8": "b"}


def mlp() -> Specification:
    """Return the oracle's perceptron."""
    return Sequence("golden-mlp", (1, 1, 48)).dense(64).dense(64).dense(5).build()


def conv() -> Specification:
    """Return padded and unpadded convolutions, both kinds of pools, and channels that fill no word."""
    network = Sequence("golden-conv", (3, 7, 6)).conv(9, padding=1).conv(66, padding=1, pool="before_norm")
    return network.conv(33, kernel=2, pool="after_sign").dense(5).build()


NETWORKS = {"mlp": mlp, "conv": conv}


def hashed(i: int) -> int:
    """Return a 32-bit hash of i (the finaliser of MurmurHash3)."""
    i = (i + 0x9E3779B9) & 0xFFFFFFFF
    i = ((i ^ (i >> 16)) * 0x85EBCA6B) & 0xFFFFFFFF
    i = ((i ^ (i >> 13)) * 0xC2B2AE35) & 0xFFFFFFFF
    return i ^ (i >> 16)


@cache  # the same for every trainer, and slow in plain Python
def units_of(stage: int, count: int) -> list[int]:
    """Return the weights of a stage in multiples of 2^-12."""
    return [hashed(i + 1000 * stage) % 1023 - 511 for i in range(count)]


def set_weights(training: NativeTraining, stages: int, dtype: str) -> None:
    """Overwrite every W by multiples of 2^-12 up to 1/8; in 8 bits, of 1/127."""
    for stage in range(stages):
        view = training.variable("W", stage)
        count = view.nbytes // struct.calcsize(_FORMATS[dtype])
        units = units_of(stage, count)
        values = [unit // 32 for unit in units] if dtype == "int8" else [unit / 4096 for unit in units]
        view[:] = struct.pack(f"{count}{_FORMATS[dtype]}", *values)


def items(network: Specification, count: int) -> tuple[bytes, bytes]:
    """Return pixels and labels of so many items: a pattern for each class, and noise of ±48."""
    features, labels = network.stages[0].inputs, bytes(j % network.classes for j in range(count))
    bright = [
        [64 + 128 * (hashed(7_000_000 + label * features + k) & 1) for k in range(features)]
        for label in range(network.classes)
    ]
    noise = (hashed(9_000_000 + i) % 97 - 48 for i in range(count * features))
    return bytes(bright[label][k] + next(noise) for label in labels for k in range(features)), labels


@cache
def items_of(name: str, count: int) -> tuple[bytes, bytes]:
    """Return the items of a network, made once."""
    return items(NETWORKS[name](), count)


def batches(name: str) -> list[tuple[memoryview, memoryview]]:
    """Return the three batches that the steps take in turn."""
    network, batch = NETWORKS[name](), BATCH[name]
    pixels, labels = items_of(name, 3 * batch)
    size = batch * network.stages[0].inputs
    return [
        (
            memoryview(bytearray(pixels[i * size : (i + 1) * size])),
            memoryview(bytearray(labels[i * batch : (i + 1) * batch])),
        )
        for i in range(3)
    ]


def curve(trainer: str, name: str, *, threads: int = 1, optimizer: str = "adam") -> list[float]:
    """Return the mean loss of every step."""
    network, recipe = NETWORKS[name](), recipes.recipe(trainer)
    training = native.create(Job(network, recipe, recipes.optimizer(optimizer), BATCH[name], threads, 0, {}))
    assert isinstance(training, NativeTraining)
    training.set_up()
    set_weights(training, len(network.stages), recipe.weight)
    data = batches(name)
    losses = [training.step(*data[step % 3], RATES[optimizer], lambda phase: None) for step in range(STEPS)]
    training.close()
    return losses


def main() -> None:
    """Print {network/trainer: losses}; an argument is the number of threads."""
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    curves = {f"{n}/{t}": curve(t, n, threads=threads) for n in NETWORKS for t in TRAINERS}
    json.dump(curves, sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
