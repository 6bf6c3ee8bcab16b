"""Averages over windows are torch's, forward and back, in one block and in many."""

import pytest

torch = pytest.importorskip("torch", reason="the torch extra is not installed")

from tests_support import Build, small_residual  # noqa: E402

from workloads.engines.torch import averaging  # noqa: E402
from workloads.engines.torch.layer import Layer  # noqa: E402

BATCH = 3


@pytest.fixture(params=["side", "head"])
def layer(request: pytest.FixtureRequest, block_bytes: int | None, build: Build) -> Layer:
    """A projection, which averages windows of 2 × 2, or the head, which averages whole maps."""
    training = build("standard", small_residual("clip"), BATCH)
    if block_bytes:
        training.scratch.block_bytes = block_bytes
    averaged = [each for each in training.layers if each.stage.average > 1]
    return averaged[0] if request.param == "side" else averaged[-1]


def maps(layer: Layer) -> torch.Tensor:
    """Return what arrives at the stage: batch × channels × height × width."""
    k, stage = layer.stage.average, layer.stage
    shape = BATCH, stage.in_channels, stage.in_height * k, stage.in_width * k
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def test_averages_and_their_gradient_are_torch_s(layer: Layer) -> None:
    x = maps(layer).requires_grad_()
    expected = torch.nn.functional.avg_pool2d(x, layer.stage.average)
    averages = averaging.average(layer, x.detach().flatten(1))
    torch.testing.assert_close(averages, expected.detach().flatten(1))
    gradient = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2))
    expected.backward(gradient)
    out = torch.full((BATCH, layer.stage.arriving), 5.0)
    averaging.add_spread(layer, gradient.flatten(1), out, onto=False)
    torch.testing.assert_close(out, x.grad.flatten(1))
    averaging.add_spread(layer, gradient.flatten(1), out, onto=True)
    torch.testing.assert_close(out, 2 * x.grad.flatten(1))
    assert layer.saturated == 0


def test_a_gradient_beyond_float16_is_counted(layer: Layer) -> None:
    out = torch.empty(BATCH, layer.stage.arriving, dtype=torch.float16)
    gradient = torch.full((BATCH, layer.stage.inputs), 1e7)
    averaging.add_spread(layer, gradient, out, onto=False)
    assert layer.saturated == out.numel() and bool((out == torch.finfo(torch.float16).max).all())
