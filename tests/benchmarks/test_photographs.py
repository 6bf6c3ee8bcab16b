"""The folders of `benchmarks/photographs.py` are what the ImageNet reader takes, and its figures what it says."""

import math
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

image_module = pytest.importorskip("PIL.Image", reason="Pillow (extra 'images') writes the pictures")
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import photographs  # noqa: E402

from workloads.datasets import imagenet  # noqa: E402
from workloads.datasets.base import Split  # noqa: E402
from workloads.datasets.packing import record_split  # noqa: E402

PLANE = photographs.SOURCE_PX**2


@pytest.fixture
def pictures(tmp_path: Path) -> Split:
    """Twelve items of three classes in turn, each class of one band alone: red, green, blue."""
    records = [
        bytes([k % 3]) + b"".join(bytes([255 * (band == k % 3)]) * PLANE for band in range(3))
        for k in range(12)
    ]
    path = tmp_path / "records"
    path.write_bytes(b"".join(records))
    return record_split(path, len(records), 3 * PLANE, 10)


def test_the_folders_hold_the_first_pictures_of_each_class(pictures: Split, tmp_path: Path) -> None:
    photographs.write_folders(pictures, tmp_path / "train", classes=2, pictures=3)
    found = imagenet.list_images(tmp_path / "train")
    assert found.classes == ["airplane", "automobile"]
    assert [(path.name, label) for path, label in found.images] == [
        (f"{index:03}.JPEG", label) for label in range(2) for index in (1, 2, 3)
    ]
    for path, label in found.images:
        pixels, area = imagenet.decode(path), imagenet.CROP**2
        means = [sum(pixels[band * area : (band + 1) * area]) / area for band in range(3)]
        assert means[label] > 245 and sum(means) - means[label] < 20
        with image_module.open(path) as opened:
            assert opened.size == (256, 256) and opened.format == "JPEG"


@pytest.mark.parametrize(
    ("last", "fell", "below"), [(0.5, True, True), (2.0, True, False), (6.0, False, False)]
)
def test_what_is_said_of_a_curve(last: float, fell: bool, below: bool) -> None:
    trial = SimpleNamespace(
        quality=SimpleNamespace(train_loss=[5.0, 5.0, 9.0, 9.0, 9.0, 9.0, last, last]),
        memory=SimpleNamespace(training_peak_bytes=7), reason=None,
    )  # fmt: skip
    found = photographs.figures(trial, classes=2)
    assert (found["first_quarter_loss"], found["last_quarter_loss"]) == (5.0, last)
    assert (found["fell"], found["below_ln_classes"]) == (fell, below)
    assert photographs.pictures_of("made up", SimpleNamespace(classes=2, pictures=3))[
        "ln_classes"
    ] == math.log(2)
