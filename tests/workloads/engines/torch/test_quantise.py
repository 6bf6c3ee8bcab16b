"""∂Y in 5 and 6 bits against the formulas, written out with NumPy."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the torch extra is not installed")

from workloads.engines.torch.quantise import quantise  # noqa: E402
from workloads.engines.torch.scratch import Scratch  # noqa: E402


def gradient(batch: int, outputs: int, seed: int = 0) -> torch.Tensor:
    """Values over many magnitudes, with exact zeros among them."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(batch, outputs, generator=generator)
    values *= torch.exp2(torch.randint(-12, 4, (batch, outputs), generator=generator))
    values[0, 0] = 0.0
    return values.half()


def decoded(values: torch.Tensor, kind: str, scratch: Scratch) -> np.ndarray:
    codes = quantise(values, kind, scratch)
    with scratch:
        return codes.rows(slice(0, len(values)), scratch).double().numpy().copy()


def po2(values: np.ndarray) -> np.ndarray:
    """q = sgn(∂Y) · 2^(clip(round(log₂|∂Y| + b), −8, 7) − b), b = 8 − round(log₂ max|∂Y|)."""
    bias = 8 - np.round(np.log2(np.abs(values).max()))
    with np.errstate(divide="ignore"):
        exponent = np.clip(np.round(np.log2(np.abs(values)) + bias), -8, 7)
    return np.where(values >= 0, 1.0, -1.0) * 2.0 ** (exponent - bias)


@pytest.mark.parametrize("shape", [(16, 10), (9, 7), (40, 33)])
def test_po2_is_the_published_formula(
    shape: tuple[int, int], scratch: Scratch, tiny_scratch: Scratch
) -> None:
    values = gradient(*shape)
    expected = po2(values.double().numpy())
    np.testing.assert_array_equal(decoded(values, "po2", scratch), expected)
    np.testing.assert_array_equal(decoded(values, "po2", tiny_scratch), expected)
    assert len(np.unique(np.abs(expected))) > 8


@pytest.mark.parametrize("shape", [(16, 10), (9, 7), (40, 33)])
def test_int6_rounds_to_nearest_of_31_levels(shape: tuple[int, int], scratch: Scratch) -> None:
    values = gradient(*shape).double().numpy()
    values = np.clip(values, -3, 3)  # so that none is eight deviations out
    step = np.abs(values).max() / 31
    actual = decoded(torch.from_numpy(values).half(), "int6", scratch)
    assert np.abs(actual - values).max() <= step * (0.5 + 1e-6)
    np.testing.assert_allclose(actual / step, np.round(actual / step), atol=1e-5)
    assert np.abs(actual).max() == pytest.approx(np.abs(values).max(), rel=1e-6)


def test_int6_reaches_to_eight_deviations_of_what_a_pool_selects(scratch: Scratch) -> None:
    """A few values are far larger than all others: they are cut off, so that those are not below a step."""
    values = np.random.default_rng(3).uniform(-1, 1, (40, 33))
    values[3, 4], values[5, 6] = 60.0, -70.0
    values = values.astype(np.float16).astype(np.float64)
    for share in (1, 4):  # a quarter of them, where there is a pool
        elements = values.size // share
        reach = 8 * np.sqrt((values**2).sum() / elements)
        step = min(reach, 70.0) / 31
        codes = quantise(torch.from_numpy(values).half(), "int6", scratch, elements)
        with scratch:
            actual = codes.rows(slice(0, len(values)), scratch).double().numpy().copy()
        np.testing.assert_allclose(actual, np.clip(np.round(values / step), -31, 31) * step, atol=1e-5)
    assert reach < 70.0


@pytest.mark.parametrize(("kind", "bits"), [("po2", 5), ("int6", 8)])
def test_codes_take_their_bits(kind: str, bits: int, scratch: Scratch) -> None:
    assert quantise(gradient(16, 10), kind, scratch).nbytes == 16 * 10 * bits // 8


@pytest.mark.parametrize("kind", ["po2", "int6"])
def test_a_gradient_of_zeros_stays_finite(kind: str, scratch: Scratch) -> None:
    actual = decoded(torch.zeros(8, 3).half(), kind, scratch)
    assert np.isfinite(actual).all()
    assert np.abs(actual).max() <= 2.0**-8
