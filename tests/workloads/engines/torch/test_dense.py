"""The products of a dense stage against float64 matrix products: odd sizes, tiles, every kind of source and weight."""

import itertools

import pytest

torch = pytest.importorskip("torch", reason="the torch extra is not installed")

from workloads.engines.torch import dense  # noqa: E402
from workloads.engines.torch.bits import pack, unpack  # noqa: E402
from workloads.engines.torch.gradients import RealGradient, WeightGradient  # noqa: E402
from workloads.engines.torch.scratch import Scratch  # noqa: E402
from workloads.engines.torch.sources import ImageSource, PackedSource, RealSource, signs_into  # noqa: E402
from workloads.engines.torch.weights import LatentWeights, PackedWeights  # noqa: E402

SIZES = [(3, 5, 7), (9, 13, 6), (20, 64, 11), (17, 40, 24), (8, 8, 8)]  # batch, inputs, outputs
CASES = list(itertools.product(SIZES, [1 << 18, 256]))


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def sgn(x: torch.Tensor) -> torch.Tensor:
    return torch.where(x >= 0, 1.0, -1.0).double()


@pytest.mark.parametrize(("size", "block"), CASES)
def test_binary_outputs_are_exact_whole_numbers(size: tuple[int, int, int], block: int) -> None:
    batch, inputs, outputs = size
    scratch = Scratch(torch.device("cpu"), block)
    x, w = normal(batch, inputs, seed=1), normal(outputs, inputs, seed=2)
    x[0, 0], w[0, 0] = 0.0, -0.0
    expected = sgn(x) @ sgn(w).T
    sources = (RealSource(x), RealSource(x.half()), PackedSource(pack(x >= 0), None, inputs))
    weights = (LatentWeights(w), LatentWeights(w.half()), PackedWeights(w, scratch))
    for source, weight in itertools.product(sources, weights):
        y = torch.empty(batch, outputs, dtype=torch.float16)
        dense.forward(source, weight, y, scratch)
        assert torch.equal(y.double(), expected)


@pytest.mark.parametrize(("size", "block"), CASES)
def test_image_outputs_are_those_of_the_real_pixels(size: tuple[int, int, int], block: int) -> None:
    batch, inputs, outputs = size
    pixels = torch.randint(
        0, 256, (batch, inputs), dtype=torch.uint8, generator=torch.Generator().manual_seed(3)
    )
    w, y = normal(outputs, inputs, seed=4), torch.empty(batch, outputs)
    dense.forward(ImageSource(pixels), LatentWeights(w), y, Scratch(torch.device("cpu"), block))
    expected = (2 * pixels.double() - 255) / 255 @ sgn(w).T
    torch.testing.assert_close(y.double(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("size", "block"), CASES)
def test_input_gradients_are_clipped_where_the_input_is_beyond_one(
    size: tuple[int, int, int], block: int
) -> None:
    batch, inputs, outputs = size
    scratch = Scratch(torch.device("cpu"), block)
    x, w, dy = normal(batch, inputs, seed=5), normal(outputs, inputs, seed=6), normal(batch, outputs, seed=7)
    passed = x.abs() <= 1
    clipped = dy.double() @ sgn(w) * passed
    masked = PackedSource(pack(x >= 0), pack(passed), inputs)
    unmasked = PackedSource(pack(x >= 0), None, inputs)
    for source, expected in ((RealSource(x), clipped), (masked, clipped), (unmasked, dy.double() @ sgn(w))):
        dx = torch.empty(batch, inputs)
        assert dense.input_gradient(RealGradient(dy), LatentWeights(w), source, dx, scratch) == 0
        torch.testing.assert_close(dx.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("size", "block"), CASES)
def test_weight_gradients_real_and_one_bit(size: tuple[int, int, int], block: int) -> None:
    batch, inputs, outputs = size
    scratch = Scratch(torch.device("cpu"), block)
    x, dy = normal(batch, inputs, seed=8), normal(batch, outputs, seed=9)
    expected = dy.double().T @ sgn(x)
    for source in (RealSource(x), PackedSource(pack(x >= 0), None, inputs)):
        real = WeightGradient((outputs, inputs), torch.float32, torch.device("cpu"))
        signs = WeightGradient((outputs, inputs), None, torch.device("cpu"))
        for sink in (real, signs):
            assert dense.weight_gradient(RealGradient(dy), batch, source, sink, scratch) == 0
        torch.testing.assert_close(real.buffer.double(), expected, rtol=1e-5, atol=1e-5)
        assert torch.equal(unpack(signs.buffer, outputs * inputs).double(), sgn(expected).flatten())


def test_an_overflowing_input_gradient_is_counted() -> None:
    dy, w = torch.full((1, 2), 60000.0), torch.ones(2, 3)
    dx = torch.empty(1, 3, dtype=torch.float16)
    source = RealSource(torch.zeros(1, 3))
    assert (
        dense.input_gradient(RealGradient(dy), LatentWeights(w), source, dx, Scratch(torch.device("cpu")))
        == 3
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_sign_of_both_zeros_is_plus_one(dtype: torch.dtype) -> None:
    least = 2.0**-24 if dtype == torch.float16 else 1e-30
    values = torch.tensor([0.0, -0.0, least, -least, 3.0, -3.0], dtype=dtype)
    assert signs_into(values, torch.empty(6)).tolist() == [1, 1, 1, -1, 1, -1]
