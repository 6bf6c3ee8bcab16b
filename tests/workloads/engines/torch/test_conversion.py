"""`convert` puts the drop-in into a network: bits are all that is retained, and nothing else is lost unsaid."""

import pytest

torch = pytest.importorskip("torch", reason="the torch extra is not installed")

from tests_support import TESTS, module_of  # noqa: E402
from torch import nn  # noqa: E402

from workloads.engines.torch import BinaryLinear, L1BatchNorm, Sign, convert  # noqa: E402
from workloads.errors import WorkloadError  # noqa: E402

# What a user would have written, as the documented example has it.
EXAMPLE = module_of(TESTS.parent / "examples" / "drop_in.py")
StraightThrough, StraightThroughLinear = EXAMPLE.StraightThroughSign, EXAMPLE.StraightThroughLinear
StraightThroughConv2d = EXAMPLE.StraightThroughConv2d


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
    # Norms: signs and two numbers a channel (the last: its output, scale and bias); signs: a mask; products: the real
    # input, then signs.
    bits = 32 * ((24 + 16) + 2 * (24 + 16)) // 8
    reals = 2 * (24 + 16 + 4) + 32 * 4 + 32 * 30
    assert sum(t.untyped_storage().nbytes() for t in kept.values()) == bits + 4 * reals
    assert sum(t.nbytes for t in kept.values()) < before / 4


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
        convert(nn.Sequential(nn.Conv2d(4, 4, 3, groups=2), StraightThrough()), sign=StraightThrough)


def test_the_norm_behind_all_signs_keeps_its_output() -> None:
    """Signs of what a loss reads are not enough to go back by; between signs they are all that is kept."""
    model = convert(trained(), sign=StraightThrough)
    assert model[1].by_sign and not model[4].by_sign
    kept: list[torch.Tensor] = []

    def see(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(see, lambda tensor: tensor):
        model.train()(torch.randn(20, 30))
    assert (20, 5, 1) in [tuple(each.shape) for each in kept]
    assert (20, 24, 1) not in [tuple(each.shape) for each in kept]


def test_only_norms_right_before_a_sign_count_on_its_clip() -> None:
    model = nn.Sequential(
        StraightThroughConv2d(3, 8, 3), nn.BatchNorm2d(8), nn.MaxPool2d(2), StraightThrough(),
        StraightThroughConv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), StraightThrough(),
        Block(8), nn.BatchNorm2d(8), StraightThrough(),
    )  # fmt: skip
    converted = convert(model, sign=StraightThrough, keep=("10",))
    assert [converted[i].clipped for i in (1, 5, 9)] == [True, False, False]
    assert not converted[8].norm.clipped  # the shortcut is added to it first


def test_what_is_in_a_kept_module_is_kept() -> None:
    kept = nn.Sequential(nn.Linear(24, 24, bias=False), nn.Sequential(nn.BatchNorm1d(24), StraightThrough()))
    inside = list(kept.modules())
    model = convert(nn.Sequential(network()[:3], kept, network()[3:]), sign=StraightThrough, keep=("1",))
    assert list(model[1].modules()) == inside
    assert isinstance(model[0][2], Sign) and isinstance(model[2][0], BinaryLinear)


def test_a_name_that_fits_nothing_is_refused_and_the_model_untouched() -> None:
    model = trained()
    before, bias = list(model), model[1].bias.detach().clone()
    with pytest.raises(WorkloadError, match=r"`keep` has '7\.fc', which no module is called"):
        convert(model, sign=StraightThrough, keep=("4", "7.fc"))
    with pytest.raises(WorkloadError, match="no module of class Hardtanh"):
        convert(model, sign=nn.Hardtanh)
    with pytest.raises(WorkloadError, match="'5' has groups"):
        convert(model.append(nn.Conv2d(4, 4, 1, groups=2)), sign=StraightThrough)
    assert list(model)[:5] == before and torch.equal(model[1].bias, bias)


def test_a_module_in_two_places_is_replaced_by_one() -> None:
    linear, sign, block = StraightThroughLinear(8, 8, bias=False), StraightThrough(), network()[1:3]
    model = nn.Sequential(linear, sign, nn.Sequential(linear, sign), block, block)
    converted = convert(model, sign=StraightThrough)
    assert (
        isinstance(model[0], BinaryLinear)
        and isinstance(model[1], Sign)
        and isinstance(block[0], L1BatchNorm)
    )
    assert list(model[2]) == [model[0], model[1]] and model[3] is model[4] is block
    assert not any(
        isinstance(each, nn.Linear | nn.BatchNorm1d | StraightThrough) for each in converted.modules()
    )


def test_a_model_that_is_a_layer_is_replaced_by_what_is_returned() -> None:
    layer = StraightThroughLinear(8, 4, bias=False).eval()
    converted = convert(layer, sign=StraightThrough)
    assert isinstance(converted, BinaryLinear) and converted.weight is layer.weight and not converted.training
    assert isinstance(convert(StraightThrough(), sign=StraightThrough), Sign)
    assert convert(layer, sign=StraightThrough, keep=("",)) is layer


def trained(affine: bool = True) -> nn.Sequential:
    """Return a network whose norms have seen batches, and have scales and biases, some of them negative."""
    torch.manual_seed(6)
    model = nn.Sequential(
        StraightThroughLinear(30, 24, bias=False), nn.BatchNorm1d(24, momentum=0.3, affine=affine), StraightThrough(),
        StraightThroughLinear(24, 5, bias=False), nn.BatchNorm1d(5, affine=affine),
    )  # fmt: skip
    for norm in (model[1], model[4]):
        if affine:
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias)
    for _ in range(5):
        model(3 * torch.randn(50, 30) + 1)
    return model


@pytest.mark.parametrize("affine", [True, False])
def test_a_trained_network_evaluates_to_what_it_did(affine: bool) -> None:
    model, x = trained(affine).eval(), 3 * torch.randn(200, 30) + 1
    expected, parameters = model(x), [id(p) for p in model.parameters()]
    converted = convert(model, sign=StraightThrough)
    torch.testing.assert_close(converted(x), expected, rtol=1e-4, atol=1e-4)
    assert converted[1].momentum == 0.3
    assert {id(p) for p in converted.parameters()} <= set(parameters)  # an optimizer made before goes on


def test_a_trained_network_is_normalised_alike_in_training() -> None:
    """Up to the difference between the two deviations, which is a few percent of 2,000 items."""
    model, x = trained(), 3 * torch.randn(2000, 30) + 1
    with torch.no_grad():
        expected = model[:2](x)
        actual = convert(model, sign=StraightThrough)[:2](x)
    assert float((actual - expected).abs().max()) < 0.1 * float(expected.abs().max())
    assert float(((actual >= 0) != (expected >= 0)).float().mean()) < 0.02


def test_the_constant_scale_is_in_the_gradient() -> None:
    plain, scaled = L1BatchNorm(3, clipped=False), L1BatchNorm(3, clipped=False)
    scaled.scale = torch.tensor([0.5, -2.0, 3.0])
    x = torch.randn(20, 3, 4)
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    gradient = torch.randn(20, 3, 4)
    factor = scaled.scale.view(1, 3, 1)
    (plain(a) * factor).backward(gradient)
    y = scaled(b)
    y.backward(gradient)
    torch.testing.assert_close(y, plain(x) * factor)
    torch.testing.assert_close(b.grad, a.grad)
    assert plain.bias is not None and scaled.bias is not None
    torch.testing.assert_close(scaled.bias.grad, plain.bias.grad)


def test_convert_makes_everything_where_the_model_is_and_draws_no_numbers() -> None:
    model = network().to("meta")
    state = torch.get_rng_state()
    convert(model, sign=StraightThrough)
    assert {each.device.type for each in model.state_dict().values()} == {"meta"}
    convert(network(), sign=StraightThrough)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_norm_whose_parts_would_be_lost_is_refused() -> None:
    without_scale = nn.BatchNorm1d(4)
    nn.init.zeros_(without_scale.weight)
    for norm, match in (
        (nn.BatchNorm1d(4, momentum=None), "moving averages"),
        (nn.BatchNorm1d(4, track_running_stats=False), "moving averages"),
        (without_scale, "γ of 0"),
    ):
        with pytest.raises(WorkloadError, match=f"'0' has .*{match}"):
            convert(nn.Sequential(norm, StraightThrough()), sign=StraightThrough)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_biases_are_kept(dtype: torch.dtype) -> None:
    torch.manual_seed(7)
    model = nn.Sequential(
        StraightThroughConv2d(2, 3, 3), StraightThrough(), nn.Flatten(), StraightThroughLinear(12, 5)
    ).to(dtype)
    biases, signs = (
        (model[0].bias, model[3].bias),
        [torch.sign(m.weight.detach()) for m in (model[0], model[3])],
    )
    x = torch.randn(4, 2, 4, 4).to(dtype)
    y = convert(model, sign=StraightThrough)(x)
    assert (model[0].bias, model[3].bias) == biases
    hidden = Sign()(nn.functional.conv2d(x, signs[0], biases[0]))
    torch.testing.assert_close(y, nn.functional.linear(hidden.flatten(1), signs[1], biases[1]))
    y.sum().backward()
    assert biases[1].grad is not None and biases[1].grad.tolist() == [4] * 5
    assert biases[0].grad is not None and biases[0].grad.dtype == dtype


def test_a_layer_whose_parts_would_be_lost_is_refused() -> None:
    hooked, parametrized = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    hooked.register_forward_hook(lambda *_: None)
    scaled = StraightThroughLinear(4, 4)
    scaled.alpha = nn.Parameter(torch.ones(4))
    for layer, match in (
        (hooked, "has hooks"),
        (
            nn.utils.parametrizations.orthogonal(parametrized),
            "of its own, 'parametrizations",
        ),
        (scaled, "of its own, 'alpha'"),
        (nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"), "padding_mode='circular'"),
    ):
        with pytest.raises(WorkloadError, match=f"'0' .*{match}.*`keep`"):
            convert(nn.Sequential(layer, StraightThrough()), sign=StraightThrough)


def test_a_norm_with_a_forward_pass_of_its_own_is_refused() -> None:
    class Halved(nn.BatchNorm1d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) / 2

    with pytest.raises(WorkloadError, match="'0' has a forward pass of its own: name it in `keep`"):
        convert(nn.Sequential(Halved(4), StraightThrough()), sign=StraightThrough)


def test_a_norm_of_small_numbers_evaluates_to_what_it_did() -> None:
    """Their deviation is below the least that the l1 norm divides by."""
    model = nn.Sequential(nn.BatchNorm1d(6, momentum=1.0), StraightThrough())
    nn.init.normal_(model[0].bias)
    x = 1e-3 * torch.randn(50, 6)
    model(x)
    expected = model.eval()[0](x)
    torch.testing.assert_close(convert(model, sign=StraightThrough)[0](x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("from_trained", [True, False])
@pytest.mark.parametrize("into_trained", [True, False])
def test_a_converted_network_s_state_loads_into_another(from_trained: bool, into_trained: bool) -> None:
    def made(is_trained: bool, seed: int) -> nn.Module:
        torch.manual_seed(seed)
        model = trained() if is_trained else trained_not_yet()
        return convert(model, sign=StraightThrough).eval()

    source, target, x = made(from_trained, 8), made(into_trained, 9), torch.randn(20, 30)
    target.load_state_dict(source.state_dict())
    assert torch.equal(target(x), source(x))
    assert target.state_dict().keys() == source.state_dict().keys()


def trained_not_yet() -> nn.Sequential:
    return nn.Sequential(
        StraightThroughLinear(30, 24, bias=False), nn.BatchNorm1d(24), StraightThrough(),
        StraightThroughLinear(24, 5, bias=False), nn.BatchNorm1d(5),
    )  # fmt: skip


class Block(nn.Module):
    """A residual block as torchvision writes it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.sign, self.norm = StraightThrough(), nn.BatchNorm2d(channels)
        self.conv = StraightThroughConv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.norm(self.conv(self.sign(x)))
        out += x
        return out


def test_a_converted_network_may_write_into_what_a_norm_gives() -> None:
    torch.manual_seed(2)
    model = convert(
        nn.Sequential(
            StraightThroughConv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True), Block(8), Block(8)
        ),
        sign=StraightThrough,
    )
    model(torch.randn(2, 3, 8, 8)).sum().backward()
    assert all(each.grad is not None for each in model.parameters())
