"""What a worker hands to its engine: training batches as the settings say, and the first items in the files' order."""

import pytest

from harness.batches import Batches
from workloads.datasets import augment
from workloads.datasets.reader import BatchReader
from workloads.engines.base import Job

ITEM_BYTES = 784


def job_of(plan):
    settings = plan.job()["settings"]
    return Job(plan.specification, plan.recipe, plan.optimizer, plan.batch_size, 1, plan.seed, settings)


@pytest.mark.parametrize("augmentation", ["none", "shift", "shift-flip"])
def test_training_batches_are_augmented_as_the_settings_say(make_plan, augmentation):
    plan = make_plan({"augmentation": augmentation}).trials[1]
    batches = Batches(plan.dataset, job_of(plan), lambda: None)
    reader = BatchReader(plan.dataset.train, plan.batch_size, plan.seed)
    images, labels = bytearray(plan.batch_size * ITEM_BYTES), bytearray(plan.batch_size)
    for _ in range(3):
        given = batches.read()
        reader.read_into(images, labels)
        if augmentation != "none":
            flip = augmentation == "shift-flip"
            moves = augment.moves(plan.seed, reader.last_epoch, reader.last_items, (1, 28, 28), flip)
            augment.apply_batch(memoryview(images), moves, (1, 28, 28))
        assert given == (images, labels)


@pytest.mark.parametrize(("asked", "full", "rest"), [(1, 0, 1), (100, 1, 0), (250, 2, 50)])
def test_the_first_items_come_in_order_and_the_last_batch_may_be_short(make_plan, asked, full, rest):
    plan = make_plan({}).trials[0]
    assert plan.batch_size == 100
    heard = []
    batches = Batches(plan.dataset, job_of(plan), lambda: heard.append(True))
    given = [(bytes(images), bytes(labels)) for images, labels in batches.first(plan.dataset.test, asked)]
    assert [len(labels) for _, labels in given] == [100] * full + [rest] * (rest > 0)
    assert len(heard) == len(given)
    reader = BatchReader(plan.dataset.test, asked, shuffle=False)
    images, labels = bytearray(asked * ITEM_BYTES), bytearray(asked)
    reader.read_into(images, labels)
    assert b"".join(part for part, _ in given) == images
    assert b"".join(part for _, part in given) == labels
