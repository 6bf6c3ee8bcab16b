"""Cross-entropy and its loss scale."""

import math

import pytest

torch = pytest.importorskip("torch", reason="the torch extra is not installed")

from workloads.engines.torch.loss import cross_entropy  # noqa: E402


def logits(scale: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    return torch.randn(7, 5, generator=generator) * scale, torch.randint(0, 5, (7,), generator=generator)


@pytest.mark.parametrize("sharpness", [1.0, 2.5])
def test_the_mean_loss_and_its_gradient_are_autograds(sharpness: float) -> None:
    values, labels = logits()
    leaf = values.clone().requires_grad_()
    expected = torch.nn.functional.cross_entropy(leaf * sharpness, labels)
    expected.backward()
    loss = cross_entropy(values, labels, sharpness)
    summed = cross_entropy(values.half(), labels, sharpness)
    torch.testing.assert_close(summed.gradient.float() * summed.unscale / 7, leaf.grad, rtol=2e-3, atol=1e-4)
    assert loss.mean == pytest.approx(float(expected.detach()), rel=1e-6)
    assert loss.unscale == 1.0
    torch.testing.assert_close(loss.gradient, leaf.grad)


@pytest.mark.parametrize("scale", [0.01, 1.0, 12.0])
def test_the_float16_scale_is_a_power_of_two_that_puts_the_peak_high(scale: float) -> None:
    values, labels = logits(scale)
    loss = cross_entropy(values.half(), labels)
    assert loss.gradient.dtype == torch.float16
    assert math.log2(loss.unscale) == int(math.log2(loss.unscale))
    assert 15.9 <= float(loss.gradient.abs().max()) <= 32
    expected = cross_entropy(values.half().float(), labels).gradient * 7
    torch.testing.assert_close(loss.gradient.float() * loss.unscale, expected, rtol=1e-3, atol=1e-6)


def test_a_nearly_perfect_batch_keeps_its_gradient_out_of_the_subnormals() -> None:
    values = torch.full((4, 3), -8.0)
    values[:, 0] = 8.0
    loss = cross_entropy(values.half(), torch.zeros(4, dtype=torch.int64))
    assert float(loss.gradient.abs().min()) > 2.0**-14
    assert float(loss.gradient.abs().max()) * loss.unscale < 1e-6


def test_a_perfect_batch_has_no_scale() -> None:
    values = torch.full((2, 2), -200.0)
    values[:, 1] = 200.0
    loss = cross_entropy(values.half(), torch.ones(2, dtype=torch.int64))
    assert loss.unscale == 1.0 and float(loss.gradient.abs().max()) == 0.0
