"""The worker's own part, in this process: what it hands to an engine."""

import os
import sys
from pathlib import Path

import pytest

from harness import worker
from harness.protocol import Channel
from workloads.datasets import augment
from workloads.datasets.reader import BatchReader

FAKES = Path(__file__).parents[1] / "fakes"


@pytest.mark.parametrize("augmentation", ["none", "shift", "shift-flip"])
def test_training_batches_are_augmented_as_the_settings_say(make_plan, monkeypatch, augmentation):
    monkeypatch.syspath_prepend(str(FAKES))
    import pretend_engine

    plan = make_plan({"augmentation": augmentation}).trials[1]
    trial = worker.Trial(plan.job(), Channel(os.open(os.devnull, os.O_WRONLY)))
    trial._set_up(pretend_engine)
    reader = BatchReader(plan.dataset.train, plan.batch_size, plan.seed)
    images, labels = bytearray(plan.batch_size * 784), bytearray(plan.batch_size)
    for _ in range(3):
        trial._read_batch()
        reader.read_into(images, labels)
        if augmentation != "none":
            flip = augmentation == "shift-flip"
            moves = augment.moves(plan.seed, reader.last_epoch, reader.last_items, (1, 28, 28), flip)
            augment.apply_batch(memoryview(images), moves, (1, 28, 28))
        assert trial._labels == labels
        assert trial._images == images
    sys.modules.pop("pretend_engine")
