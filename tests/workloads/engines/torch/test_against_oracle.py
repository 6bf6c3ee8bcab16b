"""One step of every recipe against the float64 oracle: every gradient of every layer, and every sign of ∂W.

Signs are compared where the oracle's value is not within rounding of zero; the seeds are those whose activations keep
clear of 0 and of the straight-through border, so that a rounding cannot turn into another network.
"""

from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the torch extra is not installed")

from tests_support import (  # noqa: E402
    NO_MASK,
    Build,
    close,
    odd_network,
    of_seeds,
    pixels_and_labels,
    real_pixels,
)

from workloads.engines.torch import stage  # noqa: E402
from workloads.engines.torch.bits import unpack  # noqa: E402
from workloads.engines.torch.loss import cross_entropy, propagate  # noqa: E402
from workloads.engines.torch.trainer import TorchTraining  # noqa: E402
from workloads.specification import Sequence  # noqa: E402

NETWORKS = {
    "13-7-5-3": (odd_network(13, 7, 5, 3), 6),
    "16-24-8-10": (odd_network(16, 24, 8, 10), 9),
    "40-16-3": (odd_network(40, 16, 3), 19),
    "BinaryNet's kind": (
        Sequence("odd", (2, 4, 5))
        .conv(2, padding=1)
        .conv(3, padding=1, pool="before_norm")
        .dense(4)
        .dense(3)
        .build(),
        7,
    ),
    "CNV's kind": (
        Sequence("odd", (2, 7, 6)).conv(2).conv(3, pool="after_sign").dense(4).dense(3).build(),
        7,
    ),
    "whole bytes": (
        Sequence("even", (1, 4, 4)).conv(8, padding=1, pool="after_sign").conv(8, padding=1).dense(4).build(),
        4,
    ),
}
# Relative to the largest element of a tensor. float16: an ulp is 2^-10, and a gradient passes a few roundings.
TOLERANCE = {
    "standard": 2e-5,
    "float16": 6e-3,
    "float16-booldw": 6e-3,
    "float16-booldw-l1": 6e-3,
    "lowmem": 6e-3,
    "lowmem-centred": 6e-3,
    "lowmem-po2": 6e-3,
    "lowmem-q6": 4e-2,  # a float16 gradient between two of the 63 steps may fall either way
    f"standard{NO_MASK}": 2e-5,
    f"float16{NO_MASK}": 6e-3,
    f"lowmem{NO_MASK}": 6e-3,
}
MARGIN = {"standard": 1e-5, f"standard{NO_MASK}": 1e-5}


_clear_seeds: dict[tuple[str, str], int] = {}


class Step(NamedTuple):
    """One step as the engine did it: per stage X⁺, ∂X⁺ and ∂Y; the loss; the factor that takes the scale off."""

    outputs: list[Any]
    arriving: list[Any]
    dy: list[Any]
    loss: float
    to_sum: float


def engine_step(training: TorchTraining, images: memoryview, labels: memoryview) -> Step:
    """Run forward and backward as the trainer does, and look in between. ∂Y overwrites ∂X⁺, so both are seen."""
    x = training._first(images)
    outputs, arriving, dy = [], {}, {}
    for index, layer in enumerate(training.layers):
        x = stage.train(layer, x)
        outputs.append(x.real.detach().double().numpy().copy())

        def look(gradient: Any, index: int = index) -> None:
            arriving[index] = gradient.double().numpy().copy()
            dy[index] = gradient

        x.real.register_hook(look)
    target = torch.frombuffer(labels, dtype=torch.uint8).long()
    loss = cross_entropy(x.real.detach(), target)
    for layer in training.layers:
        layer.unscale = loss.unscale
    propagate(x.real, loss.gradient)
    batch = len(labels)
    to_sum = loss.unscale if loss.gradient.dtype == torch.float16 else float(batch)
    order = range(len(training.layers))
    # Where there is a pooling, or ∂Y is kept in codes, it is another tensor, and this one's memory was given back.
    coded = training.job.recipe.output_gradient not in ("float32", "float16")
    given_back = [coded or training.layers[i].stage.pool != "none" for i in order]
    left = [None if given_back[i] else dy[i].double().numpy() for i in order]
    return Step(outputs, [arriving[i] for i in order], left, loss.mean, to_sum)


def oracle_step(oracle: ModuleType, training: TorchTraining, images: memoryview, labels: memoryview) -> Any:
    weights = [layer.weights.storage.double().numpy() for layer in training.layers]
    betas = [layer.beta.detach().double().numpy() for layer in training.layers]
    target = np.frombuffer(labels, dtype=np.uint8).astype(np.int64)
    stages = training.job.specification.stages
    shapes = [oracle.Shape(s.kernel if s.kind == "conv" else 0, s.padding, s.pool) for s in stages]
    x = real_pixels(images).reshape(len(labels), *training.job.specification.image_shape)
    recipe = training.job.recipe
    options = {"ste_mask": recipe.ste_mask != "none", "output_gradient": recipe.output_gradient}
    return oracle.step(x, target, weights, betas, recipe.norm, shapes, **options)


def is_clear(record: Any, norm: str, margin: float) -> bool:
    """Tell whether no hidden activation is near 0 or ±1, where a sign or a mask could fall either way.

    And whether there is a gradient at all: the exact l1 norm of a few items with few values may cancel all of it.
    """
    hidden = [each.full for each in record.stages[:-1]]
    normalised = [np.moveaxis(each.y, 1, -1) - each.mean for each in record.stages]
    near = [np.abs(x).min() > margin and np.abs(np.abs(x) - 1).min() > margin for x in hidden]
    if norm == "l1":  # its backward pass takes sgn(x̃)
        near += [np.abs(each).min() > margin for each in normalised[:-1]]
    near.append(np.abs(normalised[-1]).min() > margin)  # as every norm's does in the last stage
    # A channel that is constant over a tiny batch is divided by next to nothing; see test_norm.py.
    near += [each.spread.min() > 0.05 for each in record.stages]
    near += [np.abs(each.dw).max() > 0.01 for each in record.stages]
    return bool(all(near))


def rounds_clearly(record: Any, oracle: ModuleType) -> bool:
    """Tell whether no ∂Y of the last two stages is half-way between two of the 63 steps.

    One that falls the other way moves the step's own size in all stages before, which have so few elements here.
    """
    for each in record.stages[-2:]:
        steps = each.dy / oracle.int6_step(each.dy, each.x_plus.size)
        if (np.abs(steps % 1 - 0.5) < 0.01).any():
            return False
    return True


@pytest.fixture(params=list(TOLERANCE))
def trainer(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=list(NETWORKS))
def compared(
    request: pytest.FixtureRequest, trainer: str, block_bytes: int | None, build: Build, oracle: ModuleType
) -> tuple[TorchTraining, Step, Any]:
    """Both steps from the same weights, β and batch, with the first seed that is clear."""
    network, batch = NETWORKS[request.param]
    key = (request.param, trainer)
    for seed, training, labelled in of_seeds(
        build, trainer, network, batch, block_bytes, _clear_seeds.get(key)
    ):
        expected = oracle_step(oracle, training, *labelled)
        clear = is_clear(expected, training.job.recipe.norm, MARGIN.get(trainer, 2e-3))
        if clear and (trainer != "lowmem-q6" or rounds_clearly(expected, oracle)):
            _clear_seeds[key] = seed
            return training, engine_step(training, *labelled), expected
    pytest.fail("no seed keeps clear of the borders")


def test_one_step_agrees_with_the_oracle(compared: tuple[TorchTraining, Step, Any], trainer: str) -> None:
    training, step, expected = compared
    tolerance = TOLERANCE[trainer]
    assert step.loss == pytest.approx(expected.loss, rel=tolerance)
    assert training.saturated == 0
    for index, (layer, stage_record) in enumerate(zip(training.layers, expected.stages, strict=True)):
        close(step.outputs[index], stage_record.x_plus, tolerance)
        if step.dy[index] is not None:
            close(step.dy[index] * step.to_sum, stage_record.dy, tolerance)
        beta_gradient = layer.beta_gradient.double().numpy()
        to_sum = step.to_sum if training.job.recipe.gradient == "float32" else 1.0
        later = expected.stages[index + 1].dx if index + 1 < len(training.layers) else expected.dlogits
        # Without a mask the sum of ∂X over the batch is 0 behind an exact norm: what is left is rounding.
        close(beta_gradient * to_sum, stage_record.dbeta, tolerance, least=np.abs(later).max())
        close(step.arriving[index] * step.to_sum, later, tolerance)
        check_weight_gradient(layer, stage_record, step.to_sum, tolerance)


def check_weight_gradient(layer: Any, expected: Any, to_sum: float, tolerance: float) -> None:
    if not layer.gradient.is_sign:
        close(layer.gradient.buffer.double().numpy() * to_sum, expected.dw, tolerance)
        return
    signs = unpack(layer.gradient.buffer, expected.dw.size).double().numpy().reshape(expected.dw.shape)
    decided = np.abs(expected.dw) > tolerance * np.abs(expected.dw).max()
    assert decided.mean() > 0.3  # small batches have channels in which every gradient is cancelled
    assert (signs[decided] == np.sign(expected.dw[decided])).all()


def test_the_moving_averages_start_as_the_first_batch(compared: tuple[TorchTraining, Step, Any]) -> None:
    training, _, expected = compared
    for layer, record in zip(training.layers, expected.stages, strict=True):
        np.testing.assert_allclose(layer.moving[0].numpy(), record.mean, rtol=2e-3, atol=2e-3)
        np.testing.assert_allclose(layer.moving[1].numpy(), record.spread, rtol=2e-3, atol=2e-3)


def test_a_weight_gradient_of_exactly_zero_counts_as_positive(build: Build) -> None:
    """Two equal items of the same label make every ∂Y zero, so every sum of ∂W is an exact 0."""
    network = odd_network(8, 4, 3)
    training = build("lowmem", network, 2)
    images, _ = pixels_and_labels(network, 1, 0)
    training.step(
        memoryview(bytearray(bytes(images) * 2)), memoryview(bytearray([1, 1])), 0.0, lambda phase: None
    )
    for layer in training.layers:
        count = layer.stage.weights
        assert unpack(layer.gradient.buffer, count).tolist() == [1.0] * count
