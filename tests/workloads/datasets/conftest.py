"""Small generated sets, and the real data where HARNESS_DATA names it."""

import itertools
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from workloads.datasets.base import Column, Segment, Split, image_split


@pytest.fixture
def real_data() -> Path:
    named = os.environ.get("HARNESS_DATA")
    if not named:
        pytest.skip("HARNESS_DATA names no data folder")
    return Path(named)


@pytest.fixture
def cache_dir(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return one cache for all tests that read real sets, so that each is unpacked once."""
    return tmp_path_factory.mktemp("shared") / "cache"


@pytest.fixture
def file_split(tmp_path: Path) -> Callable[..., Split]:
    """Return a maker of splits: item i has the pixels i, i + 1, ... and the label i % classes."""

    def make(count: int, image_bytes: int = 5, classes: int = 7, files: int = 1, wide: bool = False) -> Split:
        label_bytes, parts = (2 if wide else 1), []
        stride = label_bytes + image_bytes
        bounds = [count * k // files for k in range(files + 1)]
        for k, (start, stop) in enumerate(itertools.pairwise(bounds)):
            path = tmp_path / f"part-{k}.bin"
            path.write_bytes(
                b"head" + b"".join(_record(i, image_bytes, classes, wide) for i in range(start, stop))
            )
            parts.append((str(path), stop - start))
        return image_split(
            Column(tuple(Segment(path, 4 + label_bytes, n) for path, n in parts), stride, image_bytes),
            Column(tuple(Segment(path, 4, n) for path, n in parts), stride, label_bytes),
            count,
            classes,
        )

    return make


def _record(item: int, image_bytes: int, classes: int, wide: bool) -> bytes:
    label = struct.pack("<H" if wide else "B", item % classes)
    return label + bytes((item + p) % 256 for p in range(image_bytes))
