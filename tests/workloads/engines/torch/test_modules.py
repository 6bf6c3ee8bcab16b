"""The drop-in: bits are all that is retained, gradients are the formulas', and `convert` puts it in."""

import math
from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch", reason="the torch extra is not installed")

from torch import nn  # noqa: E402

from workloads.engines.torch import BinaryConv2d, BinaryLinear, L1BatchNorm, Sign, convert  # noqa: E402
from workloads.errors import WorkloadError  # noqa: E402


class StraightThrough(nn.Module):
    """What a user would have written."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hard = x.clamp(-1, 1)
        return hard + (torch.where(x >= 0, 1.0, -1.0) - hard).detach()


class StraightThroughLinear(nn.Linear):
    """A dense layer of float32 weights used as signs, the ordinary way."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        signs = self.weight + (torch.where(self.weight >= 0, 1.0, -1.0) - self.weight).detach()
        return nn.functional.linear(x, signs)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        StraightThroughLinear(30, 24, bias=False), nn.BatchNorm1d(24), StraightThrough(),
        StraightThroughLinear(24, 16, bias=False), nn.BatchNorm1d(16), StraightThrough(),
        StraightThroughLinear(16, 4, bias=False), nn.BatchNorm1d(4),
    )  # fmt: skip


def retained(model: nn.Module, x: torch.Tensor) -> dict[int, torch.Tensor]:
    """Return the storages that autograd keeps, but for parameters."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(x)
    return {address: tensor for address, tensor in kept.items() if address not in own}


def test_converted_networks_retain_bits() -> None:
    x = torch.randn(32, 30, generator=torch.Generator().manual_seed(1))
    before = sum(t.untyped_storage().nbytes() for t in retained(network(), x).values())
    kept = retained(convert(network(), sign=StraightThrough), x)
    # Norms: signs and two numbers a channel; signs: a mask; products: the real input, then signs.
    bits = 32 * ((24 + 16 + 4) + 2 * (24 + 16)) // 8
    assert (
        sum(t.untyped_storage().nbytes() for t in kept.values()) == bits + 2 * 4 * (24 + 16 + 4) + 4 * 32 * 30
    )
    assert sum(t.nbytes for t in kept.values()) < before / 4


def test_sign_passes_the_gradient_within_one() -> None:
    x = torch.tensor([-2.0, -1.0, -0.0, 0.0, 0.5, 1.0, 1.5], requires_grad=True)
    y = Sign()(x)
    y.backward(torch.full((7,), 3.0))
    assert y.tolist() == [-1, -1, 1, 1, 1, 1, 1]
    assert x.grad is not None and x.grad.tolist() == [0, 3, 3, 3, 3, 3, 0]


@pytest.mark.parametrize("real_input", [False, True])
@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_products_have_the_papers_gradients(kind: str, real_input: bool) -> None:
    generator = torch.Generator().manual_seed(2)
    layer: nn.Module
    if kind == "linear":
        layer, shape = BinaryLinear(7, 5, real_input=real_input), (6, 7)
    else:
        layer, shape = BinaryConv2d(3, 5, 3, stride=2, padding=1, real_input=real_input), (4, 3, 6, 5)
    values = torch.randn(shape, generator=generator)
    x = (values if real_input else torch.where(values >= 0, 1.0, -1.0)).requires_grad_()
    layer.weight.data[0].fill_(1.5)  # beyond the border
    signs = torch.where(layer.weight >= 0, 1.0, -1.0).detach().requires_grad_()
    same = x.detach().clone().requires_grad_()
    if kind == "linear":
        expected = nn.functional.linear(same, signs)
    else:
        expected = nn.functional.conv2d(same, signs, stride=2, padding=1)
    y = layer(x)
    torch.testing.assert_close(y, expected)
    gradient = torch.randn(y.shape, generator=generator)
    expected.backward(gradient)
    y.backward(gradient)
    torch.testing.assert_close(x.grad, same.grad)
    assert signs.grad is not None
    one_bit = torch.where(signs.grad >= 0, 1.0, -1.0) / math.sqrt(signs[0].numel())
    one_bit[0] = 0
    torch.testing.assert_close(layer.weight.grad, one_bit)


@pytest.mark.parametrize(
    ("made", "shape"),
    [
        (lambda: BinaryLinear(6, 4, real_input=True), (3, 6)),
        (lambda: BinaryConv2d(2, 3, 3, padding=1, real_input=True), (2, 2, 5, 4)),
        (lambda: BinaryConv2d(2, 3, 3, stride=2, padding=1, real_input=True), (2, 2, 6, 5)),
        (lambda: BinaryConv2d(2, 3, (1, 2), stride=(2, 1), real_input=True), (2, 2, 5, 4)),
    ],
    ids=["linear", "padded", "strided", "oblong"],
)
def test_the_gradient_of_the_input_is_the_numerical_one(
    made: Callable[[], nn.Module], shape: tuple[int, ...]
) -> None:
    """A product is linear in its input, so ∂X is no approximation; ∂W and the sign's gradient are by design."""
    torch.manual_seed(3)
    layer, x = made().double(), torch.randn(shape, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (x,), nondet_tol=0.0)


def test_evaluation_uses_the_moving_averages() -> None:
    norm = L1BatchNorm(3, momentum=1.0)
    x = torch.randn(50, 3, 4, generator=torch.Generator().manual_seed(3)) * 2 + 5
    trained = norm(x)
    torch.testing.assert_close(norm.eval()(x), trained, rtol=1e-5, atol=1e-5)


def test_a_converted_network_learns() -> None:
    model = convert(network(), sign=StraightThrough)
    generator = torch.Generator().manual_seed(4)
    x, labels = torch.randn(64, 30, generator=generator), torch.randint(0, 4, (64,), generator=generator)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


def test_convert_takes_over_weights_leaves_what_is_kept_and_refuses_groups() -> None:
    model = network()
    first, last = model[0].weight, model[6]
    convert(model, sign=StraightThrough, keep=("6",))
    assert isinstance(model[0], BinaryLinear) and model[0].weight is first and model[0].real_input
    assert isinstance(model[3], BinaryLinear) and not model[3].real_input
    assert isinstance(model[2], Sign) and isinstance(model[1], L1BatchNorm)
    assert model[6] is last
    with pytest.raises(WorkloadError, match="groups"):
        convert(nn.Sequential(nn.Conv2d(4, 4, 3, groups=2)), sign=StraightThrough)
