"""The module that `benchmarks/steps.py` compares with is the network of the engines, and learns."""

import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the torch extra is not installed")
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import plain_torch  # noqa: E402

from workloads import recipes, registry  # noqa: E402
from workloads.engines.base import Job  # noqa: E402
from workloads.engines.torch.trainer import TorchTraining  # noqa: E402
from workloads.specification import Sequence, Specification  # noqa: E402

pytestmark = pytest.mark.torch


def conv() -> Specification:
    """Both kinds of pools, padded and not."""
    network = Sequence("conv", (3, 8, 9)).conv(9, padding=1).conv(66, padding=1, pool="before_norm")
    return network.conv(33, pool="after_sign").dense(20).dense(5).build()


def mlp() -> Specification:
    return Sequence("mlp", (1, 5, 7)).dense(70).dense(33).dense(7).build()


@pytest.mark.parametrize("network", [mlp(), conv()], ids=lambda network: network.name)
def test_the_first_loss_is_that_of_the_engine(network: Specification) -> None:
    """From the same weights on the same batch, and it falls as the engine's does."""
    torch.manual_seed(0)
    plain = plain_torch.Training(network, 40, "eager")
    job = Job(network, recipes.recipe("standard"), recipes.optimizer("adam"), 40, 1, 0, {})
    engine = TorchTraining(job)
    engine.set_up()
    for weight, layer in zip(plain.latent, engine.layers, strict=True):
        layer.weights.storage.copy_(weight.detach().reshape(layer.weights.shape))
    batch = (
        memoryview(bytearray(plain.images.numpy().tobytes())),
        memoryview(bytearray(plain.labels.to(torch.uint8).numpy().tobytes())),
    )
    theirs = [engine.step(*batch, 1e-3, lambda phase: None) for _ in range(30)]
    ours = [plain.step() for _ in range(30)]
    engine.close()
    assert ours[0] == pytest.approx(theirs[0], rel=1e-3)
    assert ours[-1] == pytest.approx(theirs[-1], rel=0.5)
    assert ours[-1] < 0.7 * ours[0]


@pytest.mark.parametrize("name", ["mlp-mnist", "cnv-cifar10", "binarynet-cifar10"])
def test_every_workload_has_its_module(name: str) -> None:
    network = registry.workload(name).specification()
    module = plain_torch.network_of(network)
    weights = sum(p.numel() for p in module.parameters() if p.dim() > 1)
    assert weights == sum(stage.weights for stage in network.stages)
    assert module.eval()(torch.zeros(1, *network.image_shape)).shape == (1, network.classes)
