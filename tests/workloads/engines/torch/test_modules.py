"""The drop-in modules: gradients are the formulas'."""

import copy
import io
import math
import pickle
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

torch = pytest.importorskip("torch", reason="the torch extra is not installed")

from torch import nn  # noqa: E402

from workloads.engines.torch import BinaryConv2d, BinaryLinear, L1BatchNorm, Sign  # noqa: E402
from workloads.errors import WorkloadError  # noqa: E402


def test_sign_passes_the_gradient_within_one() -> None:
    x = torch.tensor([-2.0, -1.0, -0.0, 0.0, 0.5, 1.0, 1.5], requires_grad=True)
    y = Sign()(x)
    y.backward(torch.full((7,), 3.0))
    assert y.tolist() == [-1, -1, 1, 1, 1, 1, 1]
    assert x.grad is not None and x.grad.tolist() == [0, 3, 3, 3, 3, 3, 0]


def small_network() -> nn.Sequential:
    torch.manual_seed(5)
    return nn.Sequential(
        BinaryConv2d(3, 8, 3, padding=1, real_input=True), L1BatchNorm(8), Sign(),
        BinaryConv2d(8, 8, 3, stride=2, padding=1), L1BatchNorm(8), Sign(), nn.Flatten(),
        BinaryLinear(72, 5), L1BatchNorm(5),
    )  # fmt: skip


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


@pytest.mark.parametrize(
    ("shape", "step"),
    [((6, 3), slice(None)), ((6, 3, 4, 5), slice(None)), ((6, 3, 4, 5), slice(1, None, 2))],
    ids=["rows", "maps", "not contiguous"],
)
def test_what_a_norm_gives_may_be_written_into(shape: tuple[int, ...], step: slice) -> None:
    norm, x = L1BatchNorm(3), torch.randn(shape)[step].requires_grad_()
    plain = norm(x) * 2 + 1
    (expected,) = torch.autograd.grad(plain.square().sum(), x)
    written = norm(x)
    written *= 2
    written += 1
    torch.testing.assert_close(written, plain)
    torch.testing.assert_close(torch.autograd.grad(written.square().sum(), x)[0], expected)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("real_input", [False, True])
@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_one_item_without_a_batch_is_a_batch_of_one(kind: str, real_input: bool, bias: bool) -> None:
    torch.manual_seed(3)
    layer: nn.Module
    if kind == "linear":
        layer, shape = BinaryLinear(7, 5, bias=bias, real_input=real_input), (7,)
    else:
        layer, shape = BinaryConv2d(3, 5, 3, stride=2, bias=bias, real_input=real_input), (3, 6, 5)
    x = torch.randn(shape) if real_input else Sign()(torch.randn(shape))
    alone, batch = x.clone().requires_grad_(), x[None].clone().requires_grad_()
    gradients = []
    for each in (alone, batch):
        y = layer(each)
        y.square().sum().backward()
        gradients.append([parameter.grad for parameter in layer.parameters()])
        layer.zero_grad()
    assert y.shape == (1, *layer(alone).shape)
    torch.testing.assert_close(layer(alone), y[0])
    torch.testing.assert_close(alone.grad[None], batch.grad)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("scale", [None, [2.0, -0.5, 1.0]], ids=["plain", "scaled"])
def test_omega_is_of_what_the_sign_lets_through(scale: list[float] | None) -> None:
    """∂Y by signs is then near that by the output itself; by the mean of all it is far off."""
    torch.manual_seed(5)
    x, weight = torch.randn(4000, 3), torch.randn(4000, 3)
    found = {}
    for kind in ("exact", "clipped", "all"):
        norm = L1BatchNorm(3, by_sign=kind != "exact", clipped=kind == "clipped")
        norm.scale = None if scale is None else torch.tensor(scale)
        given = x.clone().requires_grad_()
        out = norm(given)
        # A gradient that goes with the output, so that the factor is not just noise.
        ((Sign()(out) * (weight + out.detach().sign())).sum()).backward()
        assert given.grad is not None
        found[kind] = given.grad
    off = {kind: (found[kind] - found["exact"]).square().mean().item() for kind in ("clipped", "all")}
    assert off["clipped"] < 0.3 * off["all"]


def test_a_channel_of_which_nothing_passes_has_no_infinity() -> None:
    norm = L1BatchNorm(2)
    torch.nn.init.constant_(norm.bias, 1e4)
    x = torch.randn(8, 2, requires_grad=True)
    Sign()(norm(x)).sum().backward()
    assert x.grad is not None and bool((x.grad == 0).all())


@pytest.mark.parametrize("shape", [(9, 3), (6, 3, 4, 5)], ids=["rows", "maps"])
def test_a_norm_that_keeps_its_output_has_the_l1_norms_own_gradient(shape: tuple[int, ...]) -> None:
    torch.manual_seed(4)
    norm, x = L1BatchNorm(3, by_sign=False), (torch.randn(shape) + 0.3).requires_grad_()
    torch.nn.init.normal_(norm.bias)
    norm.scale = torch.tensor([2.0, -0.5, 1.0])
    centred = (x - x.transpose(0, 1).flatten(1).mean(1).view(3, *(1,) * (x.dim() - 2))).transpose(0, 1)
    deviation = centred.flatten(1).abs().mean(1)
    along = (3,) + (1,) * (x.dim() - 1)
    bias = norm.bias.detach().clone().requires_grad_()
    expected = (centred / deviation.view(along) + bias.view(along)) * norm.scale.view(along)
    weight = torch.randn(shape)
    (expected.transpose(0, 1) * weight).sum().backward()
    gradients, x.grad = (x.grad, bias.grad), None
    out = norm(x)
    out *= 1  # what follows may write into it
    (out * weight).sum().backward()
    torch.testing.assert_close((x.grad, norm.bias.grad), gradients, rtol=1e-4, atol=1e-5)


def test_evaluation_uses_the_moving_averages() -> None:
    norm = L1BatchNorm(3, momentum=1.0)
    x = torch.randn(50, 3, 4, generator=torch.Generator().manual_seed(3)) * 2 + 5
    trained = norm(x)
    torch.testing.assert_close(norm.eval()(x), trained, rtol=1e-5, atol=1e-5)


def test_a_convolution_can_be_pickled_and_copied() -> None:
    layer = BinaryConv2d(2, 3, 3, stride=2, padding=1)
    x = Sign()(torch.randn(2, 2, 5, 4))
    for other in (pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer)):
        assert torch.equal(other(x), layer(x))
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    loaded(x).sum().backward()
    assert torch.equal(loaded(x), layer(x)) and loaded.weight.grad is not None


@pytest.mark.parametrize("between", [nn.Dropout(0.5), nn.AvgPool1d(3, 1, 1)], ids=["dropout", "average"])
def test_a_product_refuses_real_input_that_it_was_not_told_of(between: nn.Module) -> None:
    """Its output would be that of the real numbers, the gradient of its weights that of their signs."""
    layer, x = BinaryLinear(8, 4), Sign()(torch.randn(6, 8))
    with pytest.raises(WorkloadError, match=r"BinaryLinear\(\(4, 8\).*`real_input` to True, or .*`keep`"):
        layer(between(x))
    layer.real_input = True
    layer(between(x)).sum().backward()


def test_real_input_that_comes_in_training_only_is_refused_there() -> None:
    model = nn.Sequential(Sign(), nn.Dropout(0.5), BinaryLinear(8, 4))
    x = torch.randn(6, 8)
    model.eval()(x)
    with pytest.raises(WorkloadError, match="other numbers than ±1"):
        model.train()(x)


def test_the_input_is_looked_at_once() -> None:
    layer = BinaryLinear(8, 4)
    layer(Sign()(torch.randn(6, 8)))
    assert layer(torch.randn(6, 8)).shape == (6, 4)  # a look each time would cost what packing does


def test_without_gradients_any_input_will_do() -> None:
    with torch.no_grad():
        assert BinaryLinear(8, 4)(torch.randn(6, 8)).shape == (6, 4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_network_of_any_type_trains_and_evaluates_in_it(dtype: torch.dtype) -> None:
    model, x = small_network().to(dtype), torch.randn(4, 3, 6, 6, dtype=dtype, requires_grad=True)
    y = model(x)
    y.square().sum().backward()
    assert y.dtype == dtype and x.grad is not None and x.grad.dtype == dtype
    for parameter in model.parameters():
        assert (
            parameter.grad is not None and parameter.grad.dtype == dtype and parameter.grad.isfinite().all()
        )
    assert model[1].running_mean.dtype == dtype and model[1].running_mean.any()
    assert model.eval()(x).dtype == dtype


def test_a_network_trains_and_evaluates_under_autocast() -> None:
    model, x = small_network(), torch.randn(4, 3, 6, 6, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        y = model(x)
        loss = y.float().square().sum()
    loss.backward()
    assert y.dtype == torch.bfloat16 and x.grad is not None and x.grad.dtype == torch.float32
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in model.parameters())
    with torch.autocast("cpu", torch.bfloat16):
        assert model.eval()(x).dtype == torch.bfloat16


def test_threads_that_normalise_at_once_do_not_meet() -> None:
    def outputs(seed: int) -> list[torch.Tensor]:
        norm, generator = L1BatchNorm(16), torch.Generator().manual_seed(seed)
        return [norm(torch.randn(size, 16, 9, generator=generator)).detach() for size in range(20, 60)]

    expected = [outputs(seed) for seed in (1, 2, 3)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(3) as pool:
            at_once = list(pool.map(outputs, (1, 2, 3)))
    finally:
        sys.setswitchinterval(interval)
    for alone, beside in zip(expected, at_once, strict=True):
        torch.testing.assert_close(beside, alone, rtol=0, atol=0)
