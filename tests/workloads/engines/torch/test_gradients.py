import pytest

torch = pytest.importorskip("torch")

from workloads.engines.torch.gradients import WeightGradient  # noqa: E402
from workloads.engines.torch.scratch import Scratch  # noqa: E402

pytestmark = pytest.mark.torch
CPU = torch.device("cpu")


@pytest.mark.parametrize("by", ["columns", "outputs"])
def test_a_scaled_sign_gradient_keeps_the_mean_magnitude_over_all_tiles(by):
    full = torch.randn(16, 24, generator=torch.Generator().manual_seed(0))
    gradient, scratch = WeightGradient((16, 24), None, CPU), Scratch(CPU)
    gradient.scaled = True
    for _ in range(2):  # the second time must not add to the first
        gradient.begin()
        for tile in (slice(0, 8), slice(8, 16)) if by == "outputs" else (slice(0, 8), slice(8, 24)):
            rows, columns = (tile, slice(0, 24)) if by == "outputs" else (slice(0, 16), tile)
            gradient.store(rows, columns, full[rows, columns].clone(), scratch)  # destroyed
    assert gradient.magnitude == pytest.approx(float(full.abs().mean()), rel=1e-5)
    assert torch.equal(gradient.chunk(slice(0, 384), torch.empty(384), scratch).view(16, 24), full.sign())


def test_an_unscaled_one_keeps_nothing_but_signs():
    gradient, scratch = WeightGradient((8, 8), None, CPU), Scratch(CPU)
    gradient.begin()
    gradient.store(slice(0, 8), slice(0, 8), torch.ones(8, 8), scratch)
    assert gradient.magnitude == 0.0
