"""Batch normalisation: with real values kept its gradient is autograd's, blocks change nothing, no infinities."""

import pytest

torch = pytest.importorskip("torch", reason="the torch extra is not installed")

from workloads.engines.torch.norm import (  # noqa: E402
    EPSILON,
    PSI_FLOOR,
    WITHIN_CLIP,
    FromOutput,
    FromSigns,
    Keep,
    backward_,
    moments,
    normalise_,
    scale_of,
)
from workloads.engines.torch.scratch import Scratch  # noqa: E402


def tensors(*shape: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return Y, β and ∂X⁺."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randn(shape, generator=generator) * 3 + 1
    return y, torch.randn(shape[1], generator=generator), torch.randn(shape, generator=generator)


def both_ways(
    norm: str, y: torch.Tensor, beta: torch.Tensor, gradient: torch.Tensor, scratch: Scratch
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return X⁺, ∂Y and ∂β."""
    mean, spread = moments(y, norm, scratch)
    scale, x_plus = scale_of(spread, norm), y.clone()
    bits = torch.zeros((y.numel() + 7) // 8, dtype=torch.uint8)
    keep = Keep(bits, None, y.shape[1])
    normalise_(x_plus, mean, scale, beta, scratch, keep)
    omega = keep.omega(y.numel()) if norm.startswith("l1_sign") else None
    known = FromSigns(bits) if norm.startswith("l1_sign") else FromOutput(x_plus, beta)
    dy = gradient.clone()
    dbeta, saturated = backward_(dy, norm, scale, omega, known, scratch, beta)
    assert saturated == 0
    return x_plus, dy, dbeta


@pytest.mark.parametrize("norm", ["l2", "l1"])
@pytest.mark.parametrize("shape", [(9, 5, 1), (4, 3, 7)])
def test_a_norm_with_real_values_kept_is_what_autograd_differentiates(
    norm: str, shape: tuple[int, int, int], scratch: Scratch
) -> None:
    y, beta, gradient = tensors(*shape)
    leaf, offset = y.double().requires_grad_(), beta.double().requires_grad_()
    centred = leaf - leaf.mean((0, 2), keepdim=True)
    spread = centred.square() if norm == "l2" else centred.abs()
    spread = spread.mean((0, 2), keepdim=True)
    expected = centred / ((spread + EPSILON).sqrt() if norm == "l2" else spread) + offset[:, None]
    expected.backward(gradient.double())
    x_plus, dy, dbeta = both_ways(norm, y, beta, gradient, scratch)
    torch.testing.assert_close(x_plus.double(), expected.detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(dy.double(), leaf.grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(dbeta.double(), offset.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", ["l2", "l1", "l1_sign_centred"])
def test_a_gradient_that_a_shift_cannot_change_has_no_mean(norm: str, scratch: Scratch) -> None:
    """A norm takes the mean off, so the sum of ∂Y over a channel is 0; that of the paper's `l1_sign` is not."""
    given = tensors(50, 4, 3)
    _, dy, _ = both_ways(norm, *given, scratch)
    _, uncentred, _ = both_ways("l1_sign", *given, scratch)
    assert dy.mean((0, 2)).abs().max() < 1e-7
    assert uncentred.mean((0, 2)).abs().max() > 1e-3


@pytest.mark.parametrize("offset", [0.0, 0.5, -1.0])
def test_behind_the_clip_omega_is_the_mean_of_what_passes(offset: float) -> None:
    """The exact factor is mean(v ∘ X⁺); with v = 0 where |X⁺| > 1, WITHIN_CLIP · mean(v ∘ X̂⁺) is within 5 % of it."""
    generator = torch.Generator().manual_seed(1)
    y = torch.randn(20_000, 1, 1, generator=generator)
    x_plus = y / y.abs().mean() + offset
    passes = x_plus.abs() <= 1
    v = (x_plus.sign() + 0.5 * torch.randn(y.shape, generator=generator)) * passes
    exact, by_sign = (v * x_plus).mean(), (v * x_plus.sign()).mean()
    assert abs(WITHIN_CLIP * by_sign / exact - 1) < 0.05
    assert x_plus.abs().mean() * by_sign / exact > 1.8


@pytest.mark.parametrize("norm", ["l2", "l1", "l1_sign", "l1_sign_centred"])
@pytest.mark.parametrize("shape", [(37, 5, 1), (19, 3, 7), (24, 8, 2)])
def test_blocks_change_nothing(
    norm: str, shape: tuple[int, int, int], scratch: Scratch, tiny_scratch: Scratch
) -> None:
    given = tensors(*shape)
    for whole, cut in zip(
        both_ways(norm, *given, scratch), both_ways(norm, *given, tiny_scratch), strict=True
    ):
        torch.testing.assert_close(whole, cut, rtol=1e-5, atol=1e-6)


def test_a_channel_constant_over_the_batch_becomes_beta(scratch: Scratch) -> None:
    y, beta, gradient = torch.full((4, 2, 1), 7.0), torch.tensor([0.5, -0.25]), torch.ones(4, 2, 1)
    for norm in ("l2", "l1", "l1_sign", "l1_sign_centred"):
        x_plus, dy, _ = both_ways(norm, y, beta, gradient, scratch)
        assert torch.equal(x_plus[:, :, 0], beta.expand(4, 2))
        assert bool(torch.isfinite(dy).all())


def test_the_floor_of_psi_is_exact_in_float16_and_about_that_of_sigma() -> None:
    assert torch.tensor(PSI_FLOOR).half().item() == PSI_FLOOR
    assert float(scale_of(torch.zeros(1), "l1")) == pytest.approx(
        float(scale_of(torch.zeros(1), "l2")), rel=0.3
    )


def test_zero_counts_as_plus_one_in_the_retained_sign(scratch: Scratch) -> None:
    bits, mask = torch.zeros(1, dtype=torch.uint8), torch.zeros(1, dtype=torch.uint8)
    values = torch.tensor([0.0, -0.0, -1e-30, 1.0, -1.0, 1.0000001, -2.0])
    Keep(bits, mask, 7).see_(slice(0, 1), values.view(1, 7, 1).clone(), scratch)
    assert int(bits) == 0b0101011
    assert int(mask) == 0b0011111
