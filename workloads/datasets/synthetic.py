"""Synthetic items for pure resource runs: any shape, no file, no download, made by the reader itself.

`synthetic` is 3x32x32 with 10 classes; `synthetic-mnist`, `-cifar10`, `-svhn`, `-imagenet` have the shape
and the number of classes of the real set; `synthetic:CxHxW` or `synthetic:CxHxW:CLASSES` any other.
Where an image is larger than 3x32x32, there are fewer test items: no more bytes than 10,000 of those.
The pixels are noise and the labels have nothing to do with them: time, memory and energy are real,
the accuracy means nothing. Every result says `dataset_variant: "synthetic"`.
"""

import re
from pathlib import Path
from typing import Final

from workloads.datasets.base import Column, PreparedDataset, image_split
from workloads.datasets.cache import Cache
from workloads.datasets.files import DataFile
from workloads.errors import UnsupportedError

ORIGIN: Final = "nowhere: its items are made while they are read, and need no file"
TRAIN_ITEMS: Final = 50_000
TEST_ITEMS: Final = 10_000
TEST_BYTES: Final = TEST_ITEMS * 3 * 32 * 32
SEED: Final = 0
MAX_CLASSES: Final = 1 << 16

SHAPES: Final[dict[str, tuple[tuple[int, int, int], int]]] = {
    "synthetic": ((3, 32, 32), 10),
    "synthetic-mnist": ((1, 28, 28), 10),
    "synthetic-cifar10": ((3, 32, 32), 10),
    "synthetic-svhn": ((3, 32, 32), 10),
    "synthetic-imagenet": ((3, 224, 224), 1000),
}


def files_of(name: str) -> tuple[tuple[DataFile, ...], ...]:
    """Return no files: nothing is to be fetched or verified."""
    return ()


def prepare(name: str, data_dir: Path | None, cache: Cache) -> PreparedDataset:
    """Return the synthetic set of that name; neither folder is looked at."""
    shape, classes = SHAPES[name] if name in SHAPES else _parse(name)
    channels, height, width = shape
    test = max(1, min(TEST_ITEMS, TEST_BYTES // max(1, channels * height * width)))
    return make(shape, classes, test=test, name=name)


def make(
    shape: tuple[int, int, int],
    classes: int,
    train: int = TRAIN_ITEMS,
    test: int = TEST_ITEMS,
    seed: int = SEED,
    name: str = "synthetic",
) -> PreparedDataset:
    """Return a synthetic set of any shape (channels, height, width), size and seed.

    Raises:
        UnsupportedError: a size below 1, or more than 65,536 classes.
    """
    channels, height, width = shape
    if min(channels, height, width, train, test, classes) < 1 or classes > MAX_CLASSES:
        raise UnsupportedError(f"a synthetic set of shape {shape} with {classes} classes makes no sense")
    images = Column((), 0, channels * height * width)
    labels = Column((), 0, 1 if classes <= 256 else 2)
    splits = [image_split(images, labels, count, classes, seed + k) for k, count in enumerate((train, test))]
    description = f"synthetic {channels}x{height}x{width}, {classes} classes"
    return PreparedDataset(name, "synthetic", description, shape, "chw", classes, splits[0], splits[1])


def _parse(name: str) -> tuple[tuple[int, int, int], int]:
    match = re.fullmatch(r"synthetic:(\d{1,6})x(\d{1,6})x(\d{1,6})(?::(\d{1,6}))?", name, re.ASCII)
    if match is None:
        raise UnsupportedError(f"'{name}' is not synthetic:CxHxW or synthetic:CxHxW:CLASSES")
    channels, height, width, classes = (int(size or 10) for size in match.groups())
    return (channels, height, width), classes
