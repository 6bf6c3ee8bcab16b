"""Residual networks (`residual`, `residual_forward`, `residual_backward`): steps of every recipe against the float64
oracle, and the ledger against the honest model."""

from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the torch extra is not installed")

from tests_support import Build, close, of_seeds, oracle_module, pixels_and_labels, real_pixels  # noqa: E402

from workloads.engines.torch import residual  # noqa: E402
from workloads.engines.torch.bits import unpack  # noqa: E402
from workloads.engines.torch.loss import cross_entropy, propagate  # noqa: E402
from workloads.engines.torch.trainer import TorchTraining  # noqa: E402
from workloads.memory_model import model  # noqa: E402
from workloads.models.residual import residual_network  # noqa: E402
from workloads.recipes import OPTIMIZERS, recipe  # noqa: E402
from workloads.registry import ENGINES  # noqa: E402
from workloads.specification import Specification  # noqa: E402

BATCH = 3
ESTIMATORS = {"clip": 1.3, "polynomial": 1.0}
NETWORKS = {
    name: residual_network(
        name, name, clip_at=clip_at, image_shape=(2, 16, 16), widths=(2, 3), convolutions=2, classes=4
    )
    for name, clip_at in ESTIMATORS.items()
}
# Relative to the largest element of a tensor. float16: an ulp is 2^-10; a sum is rounded at every shortcut.
TOLERANCE = {
    "standard": 5e-5,
    "float16": 2e-2,
    "float16-booldw": 2e-2,
    "float16-booldw-l1": 2e-2,
    "lowmem": 2e-2,
    "lowmem-centred": 2e-2,
}
_clear_seeds: dict[tuple[str, str], int] = {}


@pytest.fixture(scope="session")
def residual_oracle(oracle: ModuleType) -> ModuleType:
    return oracle_module("residual_oracle")


class Step(NamedTuple):
    """One step as the engine did it: the result of each stage and the gradient that arrived there."""

    results: list[Any]
    arriving: list[Any]
    loss: float
    to_sum: float


def engine_step(training: TorchTraining, images: memoryview, labels: memoryview) -> Step:
    x = training._first(images)
    results, arriving = [], {}
    for index, layer in enumerate(training.layers):
        x = residual.train(layer, x)
        result = x.branch if layer.stage.side else x.real
        results.append(result.detach().double().numpy().copy())

        def look(gradient: Any, index: int = index) -> None:
            arriving[index] = gradient.double().numpy().copy()

        result.register_hook(look)
    target = torch.frombuffer(labels, dtype=torch.uint8).long()
    loss = cross_entropy(x.real.detach(), target)
    for layer in training.layers:
        layer.unscale = loss.unscale
    propagate(x.real, loss.gradient)
    to_sum = loss.unscale if loss.gradient.dtype == torch.float16 else float(len(labels))
    return Step(results, [arriving[i] for i in range(len(results))], loss.mean, to_sum)


def oracle_step(
    module: ModuleType, training: TorchTraining, images: memoryview, labels: memoryview
) -> tuple[float, list[Any]]:
    return module.step(
        real_pixels(images).reshape(len(labels), *training.job.specification.image_shape),
        np.frombuffer(labels, dtype=np.uint8).astype(np.int64),
        list(training.job.specification.stages),
        [layer.weights.storage.double().numpy() for layer in training.layers],
        [layer.beta.detach().double().numpy() for layer in training.layers],
        training.job.recipe.norm,
        bits_only=training.job.recipe.activation == "bit",
    )


def is_clear(stages: Any, records: list[Any], norm: str, margin: float) -> bool:
    """Tell whether nothing lies so near a border that a rounding makes another network of it."""
    near = []
    for stage, record in zip(stages, records, strict=True):
        if stage.binary:  # its sign, and the border of its straight-through derivative
            near += [np.abs(record.read).min(), np.abs(np.abs(record.read) - stage.clip_at).min()]
        if stage.norm and norm.startswith("l1_sign"):
            near.append(np.abs(record.full).min())
        if record.places is not None:
            near.append(gap_of_maxima(record.full))
    return min(near) > margin and all(record.spread.min() > 0.05 for record in records)


def gap_of_maxima(maps: Any) -> float:
    """Return the least distance between the largest and the second largest element of any window."""
    wide = np.pad(maps, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-1e9)
    windows = np.lib.stride_tricks.sliding_window_view(wide, (3, 3), axis=(2, 3))[:, :, ::2, ::2]
    ordered = np.sort(windows.reshape(*windows.shape[:4], 9), axis=-1)
    return float((ordered[..., -1] - ordered[..., -2]).min())


@pytest.fixture(params=list(TOLERANCE))
def trainer(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=list(NETWORKS))
def compared(
    request: pytest.FixtureRequest,
    trainer: str,
    block_bytes: int | None,
    build: Build,
    residual_oracle: ModuleType,
) -> tuple[TorchTraining, Step, float, list[Any]]:
    network, norm = NETWORKS[request.param], recipe(trainer).norm
    margin = 1e-5 if trainer == "standard" else 1e-3
    key = (request.param, trainer)
    for seed, training, labelled in of_seeds(
        build, trainer, network, BATCH, block_bytes, _clear_seeds.get(key)
    ):
        loss, records = oracle_step(residual_oracle, training, *labelled)
        if is_clear(network.stages, records, norm, margin):
            _clear_seeds[key] = seed
            return training, engine_step(training, *labelled), loss, records
    pytest.fail("no seed keeps clear of the borders")


def test_one_step_agrees_with_the_oracle(compared: Any, trainer: str) -> None:
    training, step, loss, records = compared
    tolerance = TOLERANCE[trainer]
    assert step.loss == pytest.approx(loss, rel=tolerance)
    assert training.saturated == 0
    for index, (layer, record) in enumerate(zip(training.layers, records, strict=True)):
        close(step.results[index], record.result, tolerance)
        close(step.arriving[index] * step.to_sum, record.arriving, tolerance)
        to_sum = 1.0 if trainer != "standard" else step.to_sum
        close(layer.beta_gradient.double().numpy() * to_sum, record.dbeta, tolerance)
        check_weight_gradient(layer, record, step.to_sum, tolerance)


def check_weight_gradient(layer: Any, expected: Any, to_sum: float, tolerance: float) -> None:
    assert layer.gradient.is_sign == (
        layer.stage.binary and layer.recipe.weight_gradient == "bit"
    )  # full-precision weights keep real gradients under every recipe
    if not layer.gradient.is_sign:
        close(layer.gradient.buffer.double().numpy() * to_sum, expected.dw, tolerance)
        return
    signs = unpack(layer.gradient.buffer, expected.dw.size).double().numpy().reshape(expected.dw.shape)
    decided = np.abs(expected.dw) > tolerance * np.abs(expected.dw).max()
    assert decided.mean() > 0.3
    assert (signs[decided] == np.sign(expected.dw[decided])).all()


def train(training: TorchTraining, steps: int, rate: float = 1e-3) -> list[float]:
    batch = pixels_and_labels(training.job.specification, training.job.batch_size, 0)
    return [training.step(*batch, rate, lambda phase: None) for _ in range(steps)]


RESIDUAL_TRAINERS = ENGINES["torch"].trainers


def ledger_is_modelled(training: TorchTraining) -> None:
    job = training.job
    modelled = model(job.specification, job.recipe, job.optimizer, job.batch_size).by_variable()
    counted = training.ledger()
    assert counted.pop("scratch") > 0
    assert counted == {kind: size for kind, size in modelled.items() if kind != "scratch"}


@pytest.mark.parametrize("method", list(OPTIMIZERS))
@pytest.mark.parametrize("trainer", RESIDUAL_TRAINERS)
def test_the_ledger_is_the_honest_model(trainer: str, method: str, build: Build) -> None:
    """Maps of 8 × 8 to 2 × 2, channels that end within bytes, a batch that does too."""
    network = residual_network(
        "small", "clip", clip_at=1.3, image_shape=(3, 32, 32), widths=(6, 8, 10), convolutions=2, classes=5
    )
    training = build(trainer, network, 4, method=method)
    losses = train(training, 2)
    assert all(np.isfinite(losses))
    ledger_is_modelled(training)


@pytest.mark.parametrize("trainer", ["standard", "lowmem"])
def test_nothing_is_hidden_beside_the_saved_tensors(trainer: str, build: Build) -> None:
    training = build(trainer, NETWORKS["clip"], BATCH)
    x = training._first(pixels_and_labels(NETWORKS["clip"], BATCH, 0)[0])
    for layer in training.layers:
        x = residual.train(layer, x)
        node = (x.branch if layer.stage.side else x.real).grad_fn
        assert list(node.__dict__) == ["layer"]


@pytest.mark.parametrize("trainer", RESIDUAL_TRAINERS)
def test_one_batch_is_learned_by_heart(trainer: str, build: Build) -> None:
    network: Specification = residual_network(
        "small", "polynomial", image_shape=(3, 32, 32), widths=(8, 16), convolutions=2, classes=4
    )
    training = build(trainer, network, 8)
    losses = train(training, 40, rate=5e-3)
    assert losses[-1] < 0.3 * losses[0]
    assert training.saturated == 0
    batch = pixels_and_labels(network, 8, 0)
    training.recalibrate([batch])
    assert training.evaluate(*batch) == 8


@pytest.mark.parametrize("trainer", ["standard", "lowmem"])
def test_a_restored_training_continues_bit_for_bit(trainer: str, build: Build) -> None:
    whole = build(trainer, NETWORKS["clip"], BATCH, seed=1)
    train(whole, 3)
    kept = whole.state()
    expected = train(whole, 3)
    resumed = build(trainer, NETWORKS["clip"], BATCH, seed=99)
    resumed.restore(kept)
    assert train(resumed, 3) == expected


def test_bop_flips_signs_and_leaves_full_precision_weights_to_adam(build: Build) -> None:
    training = build("lowmem", NETWORKS["clip"], BATCH, method="bop")
    bop, adam = training.updates
    assert {slot.name for slot in bop.slots} == {"W.conv2_1", "W.conv2_2", "W.conv3_1", "W.conv3_2"}
    assert {slot.name for slot in adam.slots} == {"W.conv1", "W.down3", "W.fc", "beta"}
    assert not any(slot.latent or slot.clip for slot in adam.slots)
    row = OPTIMIZERS["bop"]
    assert {(slot.rate, slot.threshold) for slot in bop.slots} == {(row.sign_rate, row.sign_threshold)}


def test_every_variable_has_the_rate_of_its_kind(build: Build) -> None:
    row = OPTIMIZERS["sgd"]
    for trainer, binary in (("standard", row.rate), ("lowmem", row.sign_rate)):
        (update,) = build(trainer, NETWORKS["clip"], BATCH, method="sgd").updates
        found = {slot.name: slot.rate for slot in update.slots}
        assert found["W.conv2_1"] == binary
        assert found["W.conv1"] == found["W.down3"] == found["W.fc"] == row.real_rate
        assert found["beta"] == row.beta_rate
    (update,) = build("lowmem", NETWORKS["clip"], BATCH, method="sgd", gradient_scale="layer").updates
    assert {slot.rate for slot in update.slots} == {row.rate, row.real_rate, row.beta_rate}


def test_full_precision_weights_are_not_clipped(build: Build) -> None:
    training = build("standard", NETWORKS["clip"], BATCH)
    for layer in training.layers:
        layer.weights.storage.mul_(100)
    train(training, 1)
    largest = {layer.stage.name: float(layer.weights.storage.abs().max()) for layer in training.layers}
    assert largest["conv2_1"] <= 1 < min(largest["conv1"], largest["down3"], largest["fc"])


def test_labels_of_two_bytes_are_taken(build: Build) -> None:
    network = residual_network(
        "wide", "clip", image_shape=(3, 16, 16), widths=(4, 4), convolutions=1, classes=300
    )
    training = build("standard", network, 2)
    images, _ = pixels_and_labels(network._replace(classes=4), 2, 0)
    labels = memoryview(bytearray(np.array([299, 7], dtype="<u2").tobytes())).cast("H")
    for _ in range(60):
        loss = training.step(images, labels, 1e-2, lambda phase: None)
    assert loss < 0.1
    training.recalibrate([(images, labels)])
    assert training.evaluate(images, labels) == 2
