"""The updates: Adam against the oracle, float16 storage against float64 arithmetic, nothing lost to rounding."""

import math
from types import ModuleType

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the torch extra is not installed")

from workloads.engines.torch.optimizers import CHUNK, Adam, Bop, Momentum, Slot, Update  # noqa: E402
from workloads.engines.torch.rounding import Dither  # noqa: E402
from workloads.engines.torch.scratch import Scratch  # noqa: E402


def optimize(
    kind: type[Update],
    values: torch.Tensor,
    gradients: list[torch.Tensor],
    rate: float,
    *,
    attenuation: float = 1.0,
    latent: bool = False,
    clip: bool = False,
) -> Slot:
    """Take one step a gradient; return the slot."""
    current = gradients[0]

    def read(part: slice, out: torch.Tensor, scratch: Scratch) -> torch.Tensor:
        return out.copy_(current.view(-1)[part])

    slot = Slot("w", values, read, attenuation, latent=latent, clip=clip)
    dither = Dither(torch.Generator().manual_seed(0))
    optimizer = kind([slot], values.dtype, dither, Scratch(torch.device("cpu")))
    for gradient in gradients:
        current = gradient
        optimizer.step(rate)
    return slot


def signs(count: int, steps: int, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [(torch.rand(count, generator=generator) < 0.6).float() * 2 - 1 for _ in range(steps)]


def test_adam_in_float32_is_the_oracles(oracle: ModuleType) -> None:
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(CHUNK + 77, generator=generator) * 0.1  # more than one chunk
    gradients = [torch.randn(values.numel(), generator=generator) * 1e-4 for _ in range(5)]
    expected = values.double().numpy().copy()
    first, second = np.zeros_like(expected), np.zeros_like(expected)
    for index, gradient in enumerate(gradients):
        oracle.adam(expected, first, second, gradient.double().numpy(), 1e-2, index + 1)
    slot = optimize(Adam, values, gradients, 1e-2)
    np.testing.assert_allclose(slot.values.numpy(), expected, rtol=0, atol=1e-7)


def test_adam_in_float16_follows_the_oracle_on_average(oracle: ModuleType) -> None:
    """300 steps of ±1/√N: the mean error over 40,000 weights is far below one float16 ulp, so nothing is lost."""
    count, steps, attenuation = 40_000, 300, 1 / 28
    gradients = signs(count, steps)
    values = torch.full((count,), 0.55).half()
    expected = values.double().numpy().copy()
    first, second = np.zeros(count), np.zeros(count)
    for index, gradient in enumerate(gradients):
        oracle.adam(expected, first, second, gradient.double().numpy() * attenuation, 1e-4, index + 1)
    slot = optimize(Adam, values, gradients, 1e-4, attenuation=attenuation, latent=True)
    error = slot.values.double().numpy() - expected
    ulp = 2.0**-11
    moved = abs(expected.mean() - 0.55)
    assert moved > 10 * ulp
    assert abs(error.mean()) < 0.01 * moved
    assert error.std() < ulp * math.sqrt(steps)  # what independent roundings of under an ulp add up to


def test_adams_root_second_moment_neither_underflows_nor_drifts() -> None:
    slot = optimize(
        Adam, torch.zeros(20_000).half(), signs(20_000, 400), 1e-4, attenuation=1 / 90, latent=True
    )
    root = slot.momenta["second"].double()
    assert float(root.mean()) == pytest.approx(math.sqrt(1 - 0.999**400), rel=1e-3)
    assert float(root.min()) > 0.5


def test_a_one_bit_gradients_first_step_is_the_learning_rate_whatever_the_attenuation() -> None:
    for attenuation in (1.0, 1 / 16, 1 / 90):
        slot = optimize(Adam, torch.zeros(8), [torch.ones(8)], 1e-3, attenuation=attenuation, latent=True)
        assert slot.values.tolist() == pytest.approx([-1e-3] * 8, rel=1e-4)


def test_the_gradient_is_cancelled_where_the_weight_has_reached_one() -> None:
    values = torch.tensor([1.0, -1.0, 0.999, 1.5])
    slot = optimize(Adam, values.clone(), [torch.ones(4)], 1e-2, latent=True)
    assert slot.values.tolist() == pytest.approx([1.0, -1.0, 0.989, 1.5])
    assert slot.momenta["first"].tolist() == pytest.approx([0, 0, 0.1, 0])


def test_a_clipped_weight_at_the_border_may_come_back() -> None:
    slot = optimize(Adam, torch.tensor([1.0, -1.0]), [torch.tensor([1.0, 1.0])], 1e-2, latent=True, clip=True)
    assert slot.values.tolist() == pytest.approx([0.99, -1.0])


def test_momentum_is_the_textbook_one() -> None:
    gradients = [torch.tensor([1.0, -1.0]), torch.tensor([1.0, 1.0])]
    slot = optimize(Momentum, torch.zeros(2), gradients, 0.1, attenuation=0.5)
    # m: ±0.5, then 0.9·(±0.5) + 0.5; w = −0.1·(sum of both)
    assert slot.values.tolist() == pytest.approx([-0.1 * (0.5 + 0.95), -0.1 * (-0.5 + 0.05)])


def bop(signs: list[int], gradients: list[list[float]], dtype: torch.dtype) -> tuple[list, list]:
    """Take steps of γ = 0.5 (a rate of 0.1 at a learning rate of 5) with τ = 0.3; return the signs and m."""
    from workloads.engines.torch.bits import pack, unpack

    current = torch.zeros(len(signs))
    packed = pack(torch.tensor(signs) > 0)

    def read(part: slice, out: torch.Tensor, scratch: Scratch) -> torch.Tensor:
        return out.copy_(current[part])

    slot = Slot(
        "w", packed, read, 1.0, latent=False, clip=False, rate=0.1, threshold=0.3, elements=len(signs)
    )
    dither = Dither(torch.Generator().manual_seed(0))
    optimizer = Bop([slot], dtype, dither, Scratch(torch.device("cpu")))
    for gradient in gradients:
        current = torch.tensor(gradient)
        optimizer.step(5.0)
    return unpack(packed, len(signs)).tolist(), slot.momenta["first"].tolist()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_bop_flips_as_worked_by_hand(dtype: torch.dtype) -> None:
    """γ = 0.5, τ = 0.3. m after one step is g/2, after two m/2 + g/2.

    w0: m = 0.5 > τ with w's sign: flips to −1; then m = 0.75 against w = −1: stays.
    w1: m = −0.5 against w = +1: stays; then m = −0.75: stays.
    w2: m = 0.25 is within τ: stays; then m = 0.375: flips.
    w3: w = −1, m = −0.5: flips to +1; then m = 0.25: stays.
    w4: w = −1, m = 0.5: stays; then m = −0.25 is within τ: stays.
    """
    first = [1.0, -1.0, 0.5, -1.0, 1.0]
    second = [1.0, -1.0, 0.5, 1.0, -1.0]
    start = [1, 1, 1, -1, -1]
    assert bop(start, [first], dtype)[0] == [-1, 1, 1, 1, -1]
    signs, momentum = bop(start, [first, second], dtype)
    assert signs == [-1, 1, -1, 1, -1]
    assert momentum == [0.75, -0.75, 0.375, 0.25, -0.25]
