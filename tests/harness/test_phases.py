"""The worker repeats a step up to a border: real engines, from their own marks; nothing that is reported changes."""

import os

import pytest

from harness import phases
from harness.messages import Repeated, WindowEdge, decode
from harness.protocol import Channel
from workloads.engines.base import Job
from workloads.recipes import optimizer, recipe
from workloads.registry import ENGINES
from workloads.specification import Sequence

NETWORK = Sequence("dense", (1, 8, 8)).dense(64).dense(10).build()


def training_of(engine, trainer):
    module = pytest.importorskip(ENGINES[engine].module)
    if ENGINES[engine].missing():
        pytest.skip(ENGINES[engine].missing())
    module.load()
    settings = {"gradient_scale": "none", "statistics": "moving"}
    training = module.create(Job(NETWORK, recipe(trainer), optimizer("adam"), 4, 1, 0, settings))
    training.set_up()
    return training


@pytest.mark.parametrize(
    ("engine", "trainer", "fused"),
    [
        ("native", "standard", False),
        ("native", "lean", True),
        pytest.param("torch", "lowmem", False, marks=pytest.mark.torch),
    ],
)
def test_every_engine_can_be_left_at_every_border(engine, trainer, fused):
    training = training_of(engine, trainer)
    images, labels = memoryview(bytearray(range(256))), memoryview(bytearray([0, 1, 2, 3]))
    read_end, write_end = os.pipe()
    phases.repeat_phases(
        training, images, labels, seconds=0.01, fused=fused, steps=9, channel=Channel(write_end)
    )
    os.close(write_end)
    with os.fdopen(read_end, "rb") as lines:
        messages = [decode(line) for line in lines]
    borders = ["forward", "backward"] if fused else ["forward", "backward", "update"]
    assert [type(message) for message in messages] == [WindowEdge, Repeated] * len(borders)
    repeated = messages[1::2]
    assert [each.phase for each in repeated] == borders
    assert all(each.count >= 1 and each.end_ns - each.begin_ns >= 10_000_000 for each in repeated)
    # A step that was left at a border leaves the next one whole.
    seen = []
    training.step(images, labels, 0.01, seen.append)
    assert seen == borders
    training.close()
