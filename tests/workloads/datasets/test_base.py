"""A prepared set travels as plain JSON and arrives as what it was."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from workloads.datasets import synthetic
from workloads.datasets.base import Column, PreparedDataset, Segment, Split, image_split
from workloads.errors import DataCorruptError, DataError

MakeSplit = Callable[..., Split]


@pytest.fixture
def prepared(file_split: MakeSplit) -> PreparedDataset:
    split = file_split(20, image_bytes=12, files=2)
    return PreparedDataset("toy", "full", "a toy", (3, 2, 2), "chw", 7, split, split)


def test_round_trip_of_files(prepared: PreparedDataset) -> None:
    assert PreparedDataset.from_json(json.loads(json.dumps(prepared.to_json()))) == prepared


def test_round_trip_of_noise() -> None:
    prepared = synthetic.make((3, 8, 8), 1000)
    assert PreparedDataset.from_json(json.loads(json.dumps(prepared.to_json()))) == prepared
    assert prepared.train.label_bytes == 2


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("shape",), [3, 2]),
        (("shape",), [3, 2, 3]),
        (("layout",), "whc"),
        (("train",), None),
        (("train", "count"), 21),
        (("train", "count"), "many"),
        (("train", "classes"), 300),
        (("test", "images", "segments"), [{"path": "x"}]),
        (("test", "labels", "item_bytes"), 4),
    ],
)
def test_a_damaged_document_is_refused(prepared: PreparedDataset, path: tuple[str, ...], value: Any) -> None:
    document = json.loads(json.dumps(prepared.to_json()))
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(DataCorruptError):
        PreparedDataset.from_json(document)


@pytest.mark.parametrize("missing", ["name", "variant", "shape", "train"])
def test_a_missing_field_is_named(prepared: PreparedDataset, missing: str) -> None:
    document = prepared.to_json()
    del document[missing]
    with pytest.raises(DataCorruptError, match=missing):
        PreparedDataset.from_json(document)


def test_columns_must_describe_the_same_items() -> None:
    images, labels = Column((Segment("x", 0, 3),), 4, 4), Column((Segment("y", 0, 2),), 1, 1)
    with pytest.raises(DataError, match="labels column describes 2 items"):
        image_split(images, labels, 3, 10)


def test_classes_must_fit_the_labels() -> None:
    images, labels = Column((Segment("x", 0, 3),), 4, 4), Column((Segment("y", 0, 3),), 1, 1)
    with pytest.raises(DataError, match="257 classes"):
        image_split(images, labels, 3, 257)
    assert image_split(images, labels, 3, 256).classes == 256
