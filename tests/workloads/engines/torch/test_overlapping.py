"""3×3 max-pooling against torch's own in float64, forward and backward, with the places in bits and as numbers."""

import pytest

torch = pytest.importorskip("torch", reason="the torch extra is not installed")

from torch.nn import functional  # noqa: E402

from workloads.engines.torch.overlapping import max_pool, max_unpool  # noqa: E402
from workloads.engines.torch.scratch import Scratch  # noqa: E402

SHAPES = [(2, 3, 8, 8), (5, 1, 7, 5), (3, 2, 6, 9), (9, 3, 2, 2), (1, 1, 1, 1)]


def maps(shape: tuple[int, ...], levels: int) -> torch.Tensor:
    """Return whole numbers, exact in every type; few levels make equal maxima."""
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randint(-levels, levels + 1, shape, generator=generator).float()


@pytest.mark.parametrize("dtype", [None, torch.float32, torch.float16])
@pytest.mark.parametrize("levels", [1, 500])
@pytest.mark.parametrize("shape", SHAPES)
def test_both_ways_agree_with_the_library(
    shape: tuple[int, ...], levels: int, dtype: torch.dtype | None, tiny_scratch: Scratch
) -> None:
    y = maps(shape, levels)
    reference = y.double().requires_grad_()
    expected = functional.max_pool2d(reference, 3, 2, 1)
    pooled, places = max_pool(y, dtype, tiny_scratch)
    assert torch.equal(pooled.double(), expected)
    gradient = maps(tuple(expected.shape), 100)
    expected.backward(gradient.double())
    back = torch.full_like(y, torch.nan)
    max_unpool(gradient, places, back, tiny_scratch)
    assert torch.equal(back.double(), reference.grad)


def test_places_in_bits_take_half_a_byte_a_window(scratch: Scratch) -> None:
    _, places = max_pool(maps((3, 1, 5, 5), 9), None, scratch)
    assert places.dtype == torch.uint8
    assert places.nbytes == 14  # 3 × 9 windows, the last byte half used


def test_a_window_of_equals_takes_its_first_place_inside_the_map(scratch: Scratch) -> None:
    _, places = max_pool(torch.zeros(1, 1, 4, 4), torch.float32, scratch)
    assert places.flatten().tolist() == [4, 3, 1, 0]


def test_an_element_of_four_windows_gathers_their_gradients(scratch: Scratch) -> None:
    y = torch.zeros(1, 1, 4, 4)
    y[0, 0, 1, 1] = 5
    pooled, places = max_pool(y, None, scratch)
    assert pooled.flatten().tolist() == [5, 5, 5, 5]
    back = torch.empty_like(y)
    max_unpool(torch.tensor([[[[1.0, 2.0], [4.0, 8.0]]]]), places, back, scratch)
    assert back[0, 0, 1, 1] == 15
    assert back.sum() == 15
