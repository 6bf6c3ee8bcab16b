"""What the loaders share: a cache recipe for published files, and record files of label and pixels.

A record is one label (1 or 2 bytes, little-endian) and then the pixels, channel by channel, row by row:
the layout of CIFAR-10's binary version, used for every set that has no plain layout of its own.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

from workloads.datasets.base import Column, Segment, Split, image_split
from workloads.datasets.cache import Facts, Recipe
from workloads.datasets.files import Source, check


def recipe_for(label: str, dataset: str, sources: list[Source], build: Callable[[Path], Facts]) -> Recipe:
    """Return the recipe of a copy made from published files: named and verified by their checksums."""

    def verify() -> None:
        for source in sources:
            check(source, dataset)

    joined = "".join(source.file.sha256 for source in sources)
    fingerprint = hashlib.sha256(joined.encode()).hexdigest()
    return Recipe(label, fingerprint, [source.path for source in sources], verify, build)


def record_split(path: Path, count: int, image_bytes: int, classes: int, label_bytes: int = 1) -> Split:
    """Return the split that one file of records makes."""
    stride = label_bytes + image_bytes
    return image_split(
        Column((Segment(str(path), label_bytes, count),), stride, image_bytes),
        Column((Segment(str(path), 0, count),), stride, label_bytes),
        count,
        classes,
    )
