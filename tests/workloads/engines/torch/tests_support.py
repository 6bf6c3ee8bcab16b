"""Small networks and batches for the torch engine's tests."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch

from workloads.engines.torch.trainer import TorchTraining
from workloads.models.residual import residual_network
from workloads.recipes import Recipe, recipe
from workloads.specification import Sequence, Specification, StraightThrough

TESTS = Path(__file__).parents[3]
GOLDEN = TESTS / "data" / "golden"
Build = Callable[..., TorchTraining]


# Both poolings, padded and valid, an odd width, a dense end.
CONVOLUTIONS = (
    Sequence("convolutions", (3, 10, 9))
    .conv(6, padding=1, pool="before_norm")
    .conv(5)
    .conv(4, padding=1, pool="after_sign")
    .dense(7)
    .dense(4)
    .build()
)


def odd_network(*widths: int) -> Specification:
    """A perceptron of those widths: inputs, hidden, classes."""
    network = Sequence("odd", (1, 1, widths[0]))
    for width in widths[1:]:
        network.dense(width)
    return network.build()


def small_residual(straight_through: StraightThrough, clip_at: float = 1.0) -> Specification:
    """A residual network of two groups, on images of 16 pixels."""
    return residual_network(
        "residual", straight_through, clip_at=clip_at, image_shape=(2, 16, 16), widths=(3, 5), convolutions=1,
        classes=4,
    )  # fmt: skip


def pixels_and_labels(network: Specification, batch: int, seed: int) -> tuple[memoryview, memoryview]:
    """Return a random batch as the worker hands it over."""
    generator = torch.Generator().manual_seed(seed)
    features = network.stages[0].inputs
    images = torch.randint(0, 256, (batch * features,), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, network.classes, (batch,), dtype=torch.uint8, generator=generator)
    return memoryview(bytearray(images.numpy().tobytes())), memoryview(bytearray(labels.numpy().tobytes()))


def oracle_module(name: str) -> ModuleType:
    """A module of `tests/oracle`, which is no package: the oracles, and the maker of the golden curves."""
    return module_of(TESTS / "oracle" / f"{name}.py")


def module_of(path: Path) -> ModuleType:
    """The module of a file that lies in no package."""
    name = path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    # A dataclass looks its module up.
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Seeded(NamedTuple):
    """A training whose weights and β, and whose batch, follow from a seed."""

    seed: int
    training: TorchTraining
    batch: tuple[memoryview, memoryview]


NO_MASK = " without a mask"


def recipe_of(trainer: str) -> Recipe:
    """Return the recipe; `lowmem without a mask` is `lowmem` whose straight-through estimator clips nothing."""
    found = recipe(trainer.removesuffix(NO_MASK))
    return found._replace(ste_mask="none") if trainer.endswith(NO_MASK) else found


def of_seeds(
    build: Build, trainer: str, network: Specification, batch: int, block_bytes: int | None, seed: int | None
) -> Iterator[Seeded]:
    """Yield that of the seed, or of one seed after the other where none is known yet to suit."""
    for each in range(3000) if seed is None else [seed]:
        training = build(trainer, network, batch, seed=each)
        if block_bytes:
            training.scratch.block_bytes = block_bytes
        for layer in training.layers:
            layer.beta.data.normal_(0, 0.3, generator=training.generator)
        yield Seeded(each, training, pixels_and_labels(network, batch, each))


def real_pixels(images: memoryview) -> Any:
    """Return the image x = (2u − 255) / 255 in float64."""
    return (2.0 * np.frombuffer(images, dtype=np.uint8).astype(np.float64) - 255) / 255


def close(actual: Any, expected: Any, tolerance: float, least: float = 1e-12) -> None:
    """Assert that arrays agree, relative to the largest element expected, or to `least` where all may cancel."""
    assert actual.size == expected.size
    off = np.abs(actual.reshape(expected.shape) - expected).max()
    assert off <= tolerance * max(np.abs(expected).max(), least)
