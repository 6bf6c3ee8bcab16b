"""The first step of SGD and Bop: every variable takes the factor on the learning rate that the row gives it."""

import sys
from pathlib import Path
from typing import Any

import pytest

np = pytest.importorskip("numpy")
sys.path.insert(0, str(Path(__file__).parent))

import native_support as support  # noqa: E402

from workloads import recipes  # noqa: E402
from workloads.engines.native import location  # noqa: E402
from workloads.engines.native.library import CoreError  # noqa: E402
from workloads.engines.native.training import NativeTraining  # noqa: E402

pytestmark = pytest.mark.skipif(location.missing() is not None, reason=str(location.missing()))

NETWORK, BATCH = support.mlp(), 37
SGD, BOP = recipes.optimizer("sgd"), recipes.optimizer("bop")
STAGES = range(len(NETWORK.stages))


def stepped(trainer: str, method: str, rate: float) -> tuple[NativeTraining, list[Any]]:
    """Take one step; return the training and the weights as they were before, a bool an element where they are bits."""
    training = support.make(trainer, NETWORK, BATCH, optimizer=method)
    before = [weights(training, trainer, method, index).copy() for index in STAGES]
    training.step(*support.views(*support.batch_of(NETWORK, BATCH)), rate, lambda phase: None)
    return training, before


def weights(training: NativeTraining, trainer: str, method: str, index: int) -> Any:
    if method == "bop":
        return bits(training, "W", index)
    return support.values(training, "W", index, recipes.recipe(trainer).weight)


def bits(training: NativeTraining, role: str, index: int) -> Any:
    return support.unpack(training, role, index, NETWORK.stages[index].in_channels)


def test_sgd_on_real_gradients() -> None:
    rate = 1e-6
    training, before = stepped("standard", "sgd", rate)
    for index, was in zip(STAGES, before, strict=True):
        gradient = support.values(training, "dW", index, "float32")
        now = weights(training, "standard", "sgd", index)
        np.testing.assert_allclose(now, was - rate * SGD.rate * gradient, rtol=0, atol=1e-6)
        beta, beta_gradient = support.values(training, "beta", index, "float32").reshape(2, -1)
        np.testing.assert_allclose(beta, -rate * SGD.beta_rate * beta_gradient, rtol=1e-4)


def test_sgd_on_gradients_of_one_bit() -> None:
    """float16 weights, rounded to one of the two neighbours: an ulp below 1 is 2^-11."""
    rate = 1e-3
    training, before = stepped("lowmem", "sgd", rate)
    for index, was in zip(STAGES, before, strict=True):
        signs = np.where(bits(training, "dW", index), 1, -1).ravel()
        step = rate * SGD.sign_rate / np.sqrt(NETWORK.stages[index].fan_in)
        moved = weights(training, "lowmem", "sgd", index).astype(np.float64) - was
        assert np.abs(moved + step * signs).max() < 2.0**-11 < 0.5 * step


def test_bop_flips_once_gamma_is_beyond_the_threshold() -> None:
    """After one step m = γ·g: all weights are against their gradients where γ > τ, and none has flipped where γ < τ."""
    border = BOP.sign_threshold / BOP.sign_rate
    training, _ = stepped("lowmem", "bop", 1.01 * border)
    for index in STAGES:
        assert (weights(training, "lowmem", "bop", index) == ~bits(training, "dW", index)).all()
    training, before = stepped("lowmem", "bop", 0.99 * border)
    for index, was in zip(STAGES, before, strict=True):
        assert (weights(training, "lowmem", "bop", index) == was).all()


@pytest.mark.parametrize("method", ["adam", "sgd"])
def test_what_is_at_the_border_of_lowmem_gets_no_gradient(method: str) -> None:
    """∂W is cancelled where |W| ≥ 1 (Wang et al. 2023), whatever the optimizer: nothing moves, no momentum grows."""
    training = support.make("lowmem", NETWORK, BATCH, optimizer=method)
    for index in STAGES:
        latent = support.values(training, "W", index, "float16")
        latent[:] = np.where(np.arange(latent.size) % 2, 1, -1)
    training.step(*support.views(*support.batch_of(NETWORK, BATCH)), 1e-3, lambda phase: None)
    for index in STAGES:
        assert (np.abs(support.values(training, "W", index, "float16")) == 1).all()
        momenta = support.values(training, "momenta", index, "float16")
        assert (momenta[: NETWORK.stages[index].weights] == 0).all()


@pytest.mark.parametrize(("trainer", "changed"), [("lowmem", {"border": "clip"}), ("lowmem-q6", {})])
@pytest.mark.parametrize("method", ["adam", "sgd"])
def test_a_clipped_weight_at_the_border_comes_back(
    method: str, trainer: str, changed: dict[str, str]
) -> None:
    """With `border` clip, half the weights at ±1 move inwards in a step, whichever way ∂W points, and none outwards."""
    training = support.make(trainer, NETWORK, BATCH, optimizer=method, **changed)
    for index in STAGES:
        latent = support.values(training, "W", index, "float16")
        latent[:] = np.where(np.arange(latent.size) % 2, 1, -1)
    training.step(*support.views(*support.batch_of(NETWORK, BATCH)), 1e-2, lambda phase: None)
    for index in STAGES:
        after = np.abs(support.values(training, "W", index, "float16"))
        inwards = bits(training, "dW", index).ravel() == (np.arange(after.size) % 2 == 1)
        assert (after[inwards] < 1).all() and (after[~inwards] == 1).all()
        assert 0.1 < inwards.mean() < 0.9


def test_a_border_that_cancels_wants_the_second_moment() -> None:
    """Without it a gradient of 0 would stand for one of ±1/√N."""
    with pytest.raises(CoreError, match="border cancel needs the second moment"):
        support.make("lean", NETWORK, BATCH, border="cancel")


@pytest.mark.parametrize("value", [127, -127, 0, 64])
def test_eight_bit_weights_stay_where_nothing_moves_them(value: int) -> None:
    """Stochastic rounding leaves a whole number as it is: no weight at +1 may ever come out as −1."""
    training = support.make("lean8", NETWORK, BATCH)
    batch = support.views(*support.batch_of(NETWORK, BATCH))
    for index in STAGES:
        support.values(training, "W", index, "int8")[:] = value
    for _ in range(40):
        training.step(*batch, 0.0, lambda phase: None)
    for index in STAGES:
        assert (support.values(training, "W", index, "int8") == value).all()
