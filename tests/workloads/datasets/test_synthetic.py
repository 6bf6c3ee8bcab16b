"""Synthetic items: any shape by name, and the generator as documented, word by word."""

import numpy as np
import pytest

from workloads.datasets import synthetic
from workloads.datasets.base import Split, prepare
from workloads.datasets.mix import STREAM_NOISE, STREAM_NOISE_ITEM, draw
from workloads.datasets.reader import BatchReader
from workloads.errors import UnknownNameError, UnsupportedError


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [
        ("synthetic", (3, 32, 32), 10),
        ("synthetic-mnist", (1, 28, 28), 10),
        ("synthetic-imagenet", (3, 224, 224), 1000),
        ("synthetic:1x5x7", (1, 5, 7), 10),
        ("synthetic:3x64x48:200", (3, 64, 48), 200),
    ],
)
def test_names_say_the_shape(name: str, shape: tuple[int, int, int], classes: int) -> None:
    prepared = prepare(name, None)
    assert (prepared.variant, prepared.shape, prepared.classes) == ("synthetic", shape, classes)
    assert prepared.description.startswith("synthetic")
    assert prepared.train.images.segments == ()


@pytest.mark.parametrize(
    ("name", "items"), [("synthetic-mnist", 10_000), ("synthetic", 10_000), ("synthetic-imagenet", 204)]
)
def test_large_images_have_fewer_test_items(name: str, items: int) -> None:
    """204 × 3 × 224² bytes are 10,000 × 3 × 32²: evaluating noise must not take longer than training on it."""
    assert prepare(name, None).test.count == items


@pytest.mark.parametrize("name", ["synthetic:", "synthetic:3x32", "synthetic:0x3x3", "synthetic:1x1x1:70000"])
def test_impossible_shapes_are_refused(name: str) -> None:
    with pytest.raises(UnsupportedError):
        prepare(name, None)


def test_a_synthetic_set_that_no_row_has_is_unknown() -> None:
    with pytest.raises(UnknownNameError, match="synthetic-mnist"):
        prepare("synthetic-audio", None)


def read(split: Split, count: int) -> tuple[np.ndarray, np.ndarray]:
    images, labels = bytearray(count * split.image_bytes), bytearray(count * split.label_bytes)
    with BatchReader(split, count, shuffle=False) as reader:
        reader.read_into(images, labels)
    kind = np.uint8 if split.label_bytes == 1 else np.dtype("<u2")
    return np.frombuffer(images, np.uint8).reshape(count, -1), np.frombuffer(labels, kind)


@pytest.mark.parametrize(("shape", "classes"), [((1, 28, 28), 10), ((3, 160, 160), 1000)])
def test_items_are_as_documented(shape: tuple[int, int, int], classes: int) -> None:
    images, labels = read(synthetic.make(shape, classes, train=20, seed=3).train, 6)
    words = [draw(draw(STREAM_NOISE, 3), w) for w in range(8192)]
    block = np.array(words, dtype="<u8").view(np.uint8)
    for k in range(6):
        bits = draw(draw(STREAM_NOISE_ITEM, 3), k)
        expected = block[(bits % 65536 + np.arange(images.shape[1])) % 65536]
        assert np.array_equal(images[k], expected)
        assert labels[k] == bits // 65536 % classes


def test_train_and_test_differ() -> None:
    prepared = synthetic.make((1, 28, 28), 10)
    assert not np.array_equal(read(prepared.train, 4)[0], read(prepared.test, 4)[0])
