"""Micro-batches: what is summed, in which type, when the update comes, and what it takes in memory."""

import pytest

torch = pytest.importorskip("torch", reason="the torch extra is not installed")

from tests_support import CONVOLUTIONS, Build, odd_network, pixels_and_labels, small_residual  # noqa: E402
from torch import Tensor  # noqa: E402

from workloads.engines.torch.gradients import WeightGradient  # noqa: E402
from workloads.engines.torch.trainer import TorchTraining  # noqa: E402
from workloads.memory_model import model  # noqa: E402
from workloads.registry import ENGINES  # noqa: E402

NETWORK, BATCH = odd_network(20, 9, 7, 4), 16
RESIDUAL = small_residual("clip", clip_at=1.3)
NETWORKS = {"dense": NETWORK, "conv": CONVOLUTIONS, "residual": RESIDUAL}
TRAINERS = ENGINES["torch"].trainers


def gradients(training: TorchTraining, seed: int) -> tuple[list[Tensor], Tensor, float]:
    """Return the unrounded ∂W of every stage, ∂β and what takes the loss scale off, without an update."""
    training.updates = []
    for layer in training.layers:
        layer.gradient = WeightGradient(layer.weights.shape, torch.float32, training.device)
    training.step(*pixels_and_labels(training.job.specification, BATCH, seed), 0.0, lambda phase: None)
    found = [layer.gradient.buffer.clone() for layer in training.layers]
    return found, training.beta[1].clone(), training.layers[0].unscale


def read(training: TorchTraining) -> list[Tensor]:
    """Return ∂W as the update reads it."""
    flat = []
    for layer in training.layers:
        out = torch.empty(layer.stage.weights)
        flat.append(layer.gradient.chunk(slice(0, len(out)), out, training.scratch).view(layer.weights.shape))
    return flat


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("trainer", TRAINERS)
def test_the_sum_is_exact_in_its_type_and_its_sign_is_taken_last(trainer, network, build: Build) -> None:
    """Three different micro-batches against the gradients of three trainings that see one each."""
    seeds = (1, 2, 3)
    single = [gradients(build(trainer, network, BATCH), seed) for seed in seeds]
    training = build(trainer, network, BATCH, accumulate=3)
    dtype = torch.float32 if training.job.recipe.gradient == "float32" else torch.float16
    training.updates = []
    for seed in seeds:
        training.step(*pixels_and_labels(network, BATCH, seed), 0.0, lambda phase: None)
    bits = training.job.recipe.weight_gradient == "bit"
    first = single[0][2]
    for index, found in enumerate(read(training)):
        total = single[0][0][index].to(dtype)
        for parts, _, unscale in single[1:]:
            total = (parts[index] * (unscale / first) + total).to(dtype)
        signs = bits and network.stages[index].binary  # a full-precision stage keeps a real ∂W
        expected = torch.where(total >= 0, 1.0, -1.0) if signs else total.float()
        assert torch.equal(found, expected)
    beta = single[0][1] + single[1][1]
    assert torch.equal(training.beta[1], beta + single[2][1])
    assert training.layers[0].unscale == first


def test_a_sum_of_signs_would_be_another_gradient(build: Build) -> None:
    """The case for summing before the sign: the vote of three micro-batches differs from the sign of their sum."""
    votes, total = 0.0, 0.0
    for seed in (1, 2, 3):
        (found, *_), _, unscale = gradients(build("lowmem", NETWORK, BATCH), seed)
        votes, total = votes + found.sign(), total + found * unscale
    assert (torch.sign(votes) != torch.sign(total)).float().mean() > 0.02


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("method", ["adam", "sgd", "bop"])
def test_the_same_micro_batch_twice_updates_as_once_bit_for_bit(method, network, build: Build) -> None:
    one = build("standard", network, BATCH, method=method)
    two = build("standard", network, BATCH, method=method, accumulate=2)
    for seed in range(4):
        batch = pixels_and_labels(network, BATCH, seed)
        loss = one.step(*batch, 1e-2, lambda phase: None)
        assert [two.step(*batch, 1e-2, lambda phase: None) for _ in range(2)] == [loss, loss]
    for layer, other in zip(one.layers, two.layers, strict=True):
        assert torch.equal(layer.weights.storage, other.weights.storage)
        assert torch.equal(layer.beta, other.beta)
    assert two.updates[0].steps_taken == 4
    assert two.layers[0].batches_seen == 8  # each micro-batch is one for the moving averages
    assert (one.layers[0].cooled, two.layers[0].cooled) == (1.0, 0.5)  # between two, weights move half as far


def test_only_the_last_micro_batch_updates(build: Build) -> None:
    training, seen = build("lowmem", NETWORK, BATCH, accumulate=2), []
    before = training.layers[0].weights.storage.clone()
    training.step(*pixels_and_labels(NETWORK, BATCH, 0), 1e-2, seen.append)
    assert torch.equal(training.layers[0].weights.storage, before)
    training.step(*pixels_and_labels(NETWORK, BATCH, 1), 1e-2, seen.append)
    assert not torch.equal(training.layers[0].weights.storage, before)
    assert seen == ["forward", "backward", "forward", "backward", "update"]


def test_signs_are_scaled_by_the_mean_of_the_sum(build: Build) -> None:
    training = build("lowmem", NETWORK, BATCH, accumulate=2, gradient_scale="layer")
    for seed in (0, 1):
        training.step(*pixels_and_labels(NETWORK, BATCH, seed), 1e-3, lambda phase: None)
    for layer in training.layers:
        assert layer.gradient.magnitude == pytest.approx(float(layer.gradient.buffer.float().abs().mean()))
        assert layer.gradient.magnitude > 0


@pytest.mark.parametrize("method", ["adam", "bop"])
@pytest.mark.parametrize("trainer", TRAINERS)
def test_the_ledger_is_the_memory_model(trainer: str, method: str, build: Build) -> None:
    for network in NETWORKS.values():
        training = build(trainer, network, BATCH, method=method, accumulate=2)
        for seed in (0, 1):
            training.step(*pixels_and_labels(network, BATCH, seed), 1e-3, lambda phase: None)
        job = training.job
        expected = model(network, job.recipe, job.optimizer, BATCH, accumulate=2).by_variable()
        ledger = training.ledger()
        assert ledger.pop("scratch") > expected.pop("scratch") == 0
        assert ledger == expected


def test_what_is_learned_by_heart_is_learned_in_micro_batches(build: Build) -> None:
    for trainer in ("standard", "lowmem"):
        training = build(trainer, odd_network(64, 64, 4), BATCH, accumulate=2)
        batches = [pixels_and_labels(training.job.specification, BATCH, seed) for seed in (0, 1)]
        for _ in range(60):
            for batch in batches:
                training.step(*batch, 1e-2, lambda phase: None)
        assert sum(training.evaluate(*batch) for batch in batches) >= 31
