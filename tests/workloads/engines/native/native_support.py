"""What the tests of the native engine share: small networks, a training with known weights, its variables as arrays."""

from typing import Any

import numpy as np

from workloads import recipes
from workloads.engines import native
from workloads.engines.base import Job
from workloads.engines.native.training import NativeTraining
from workloads.specification import Sequence, Specification

DTYPES = {"float32": np.float32, "float16": np.float16, "int8": np.int8}


def mlp() -> Specification:
    return Sequence("mlp", (1, 5, 7)).dense(70).dense(33).dense(64).dense(7).build()


def padded_conv() -> Specification:
    """As BinaryNet: padding, a pool before the norm, a flattening."""
    network = Sequence("padded", (3, 8, 10)).conv(12, padding=1).conv(70, padding=1, pool="before_norm")
    return network.conv(64, padding=1, pool="before_norm").dense(33).dense(5).build()


def valid_conv() -> Specification:
    """As CNV: no padding, pools after the sign, one of them with an odd row and column left over."""
    network = Sequence("valid", (3, 16, 18)).conv(20).conv(70, pool="after_sign")
    return network.conv(33).conv(64, kernel=2, pool="after_sign").dense(9).build()


def odd_pool() -> Specification:
    """A pool before the norm that drops a row and a column."""
    network = Sequence("odd", (1, 9, 7)).conv(10, padding=1).conv(65, padding=1, pool="before_norm")
    return network.conv(64, kernel=2, padding=0).dense(6).build()


def wide_conv() -> Specification:
    """More pixels, outputs and fan-in than one block of a float32 product takes (256 each), by odd amounts."""
    network = Sequence("wide", (3, 18, 17)).conv(17, padding=1).conv(300, padding=1, pool="after_sign")
    return network.conv(41, pool="before_norm").conv(64, kernel=3).dense(5).build()


def long_mlp() -> Specification:
    """The same of dense stages."""
    return Sequence("long", (1, 20, 15)).dense(530).dense(270).dense(5).build()


NETWORKS = {"mlp": mlp, "padded": padded_conv, "valid": valid_conv, "odd": odd_pool}
WIDE = {"wide": wide_conv, "long": long_mlp}  # for `standard`


def make(
    trainer: str,
    network: Specification,
    batch: int,
    *,
    threads: int = 1,
    seed: int = 0,
    optimizer: str = "adam",
    **changed: Any,
) -> NativeTraining:
    """Return a training set up; `changed` are fields of the trainer's recipe."""
    recipe = recipes.recipe(trainer)._replace(**changed)
    job = Job(network, recipe, recipes.optimizer(optimizer), batch, threads, seed, {})
    training = native.create(job)
    assert isinstance(training, NativeTraining)
    training.set_up()
    return training


def values(training: NativeTraining, role: str, stage: int, dtype: str) -> Any:
    """Return a writable array over one variable."""
    return np.frombuffer(training.variable(role, stage), dtype=DTYPES[dtype])


def values_u8(training: NativeTraining, role: str, stage: int) -> Any:
    """Return a variable's bytes as numbers."""
    return np.frombuffer(training.variable(role, stage), dtype=np.uint8).astype(np.float64)


def unpack(training: NativeTraining, role: str, stage: int, channels: int, rows: int | None = None) -> Any:
    """Return bits as an array of rows × channels of bool; asserts that the bits past the channels are 0.

    `rows` are those in use, where the variable's room is another stage's as well.
    """
    words = -(-channels // 64)
    raw = np.frombuffer(training.variable(role, stage), dtype=np.uint8)
    raw = raw[: None if rows is None else rows * words * 8].reshape(-1, words * 8)
    bits = np.unpackbits(raw, axis=1, bitorder="little").astype(bool)
    assert not bits[:, channels:].any()
    return bits[:, :channels]


def batch_of(network: Specification, batch: int, seed: int = 0) -> tuple[Any, Any]:
    """Return pixels (uint8, batch × C × H × W) and labels: each class has a pattern of its own, with noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, network.classes, batch).astype(np.uint8)
    patterns = np.random.default_rng(99).integers(40, 216, (network.classes, *network.image_shape))
    noise = rng.integers(-40, 40, (batch, *network.image_shape))
    return (patterns[labels] + noise).astype(np.uint8), labels


def views(pixels: Any, labels: Any) -> tuple[memoryview, memoryview]:
    return memoryview(bytearray(pixels.tobytes())), memoryview(bytearray(labels.tobytes()))


def weights_of(training: NativeTraining, network: Specification, dtype: str) -> list[Any]:
    unit = 127.0 if dtype == "int8" else 1.0
    return [
        (values(training, "W", i, dtype).astype(np.float64) / unit).reshape(
            stage.out_channels, -1, stage.in_channels
        )
        for i, stage in enumerate(network.stages)
    ]
