"""Every trainer follows its golden curve: 50 steps from given weights, computed by the float64 oracle."""

import json
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the torch extra is not installed")

from tests_support import GOLDEN, Build, odd_network, oracle_module  # noqa: E402


@pytest.fixture(params=sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def document(request: pytest.FixtureRequest) -> dict[str, Any]:
    return json.loads(request.param.read_text())


def losses_of(document: dict[str, Any], build: Build, seed: int = 0) -> list[float]:
    golden, task = oracle_module("golden"), document["task"]
    training = build(document["trainer"], odd_network(*task["widths"]), task["batch_size"], seed=seed)
    for index, layer in enumerate(training.layers):
        weights = torch.from_numpy(golden.initial_weights(index, *layer.weights.shape))
        layer.weights.storage.copy_(weights)
        assert torch.equal(layer.weights.storage.double(), weights)
    pixels, labels = golden.items(task["widths"][0], task["widths"][-1], task["items"])
    losses = []
    for step in range(task["steps"]):
        part = [i % task["items"] for i in range(step * task["batch_size"], (step + 1) * task["batch_size"])]
        images = memoryview(bytearray(pixels[part].tobytes()))
        target = memoryview(bytearray(labels[part].tobytes()))
        losses.append(training.step(images, target, task["learning_rate"], lambda phase: None))
    assert training.saturated == 0
    return losses


def test_the_curve_is_followed(document: dict[str, Any], build: Build) -> None:
    expected = document["train_loss"]
    assert expected[-1] < 0.6 * expected[0]  # a curve that does not fall would pin nothing
    assert losses_of(document, build) == pytest.approx(expected, rel=document["relative_tolerance"])


def test_the_stored_curve_is_what_the_oracle_gives(document: dict[str, Any]) -> None:
    golden = oracle_module("golden")
    norm, one_bit, _ = golden.TRAINERS[document["trainer"]]
    assert golden.curve(norm, one_bit) == pytest.approx(document["train_loss"], abs=1e-8)
