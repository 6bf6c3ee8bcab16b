"""`convert` finds the product that runs first by tracing, whatever the order of registration."""

import pytest

torch = pytest.importorskip("torch", reason="the torch extra is not installed")

from tests_support import TESTS, module_of  # noqa: E402
from torch import nn  # noqa: E402

from workloads.engines.torch import Sign, convert, tracing  # noqa: E402
from workloads.errors import WorkloadError  # noqa: E402

EXAMPLE = module_of(TESTS.parent / "examples" / "drop_in.py")
StraightThrough, StraightThroughLinear = EXAMPLE.StraightThroughSign, EXAMPLE.StraightThroughLinear


class Backwards(nn.Module):
    """Registered from the last layer to the first."""

    def __init__(self) -> None:
        super().__init__()
        self.last = StraightThroughLinear(8, 3)
        self.sign = StraightThrough()
        self.norm = nn.BatchNorm1d(8)
        self.first = StraightThroughLinear(6, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.sign(self.norm(self.first(x.flatten(1)))))


class WithOptions(Backwards):
    """What runs depends on arguments that have defaults, and on numbers drawn."""

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None, *, last_only: bool = False):
        if mask is not None or last_only:
            return self.last(x)
        rows, _ = x.shape
        torch.rand(5)
        self.last.weight.data.zero_()
        return super().forward(x.view(rows, -1))


class Unshaped(Backwards):
    """Asks for the shape of its input behind its first product, which the trace does not come to."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.sign(self.norm(self.first(x)))
        return self.last(y if y.dim() == 2 else y.flatten(1))


class Shaped(Backwards):
    """Asks for it before."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x if x.dim() == 2 else x.flatten(1))


class Block(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.linear, self.sign = StraightThroughLinear(size, size), StraightThrough()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(self.sign(x)) + x


def real_inputs(model: nn.Module) -> list[str]:
    return [name for name, each in model.named_modules() if getattr(each, "real_input", False)]


@pytest.mark.parametrize("make", [Backwards, WithOptions, Unshaped])
def test_a_network_registered_backwards_trains(make) -> None:
    torch.manual_seed(0)
    model = make()
    weight, state = model.last.weight.detach().clone(), torch.get_rng_state()
    convert(model, sign=StraightThrough)
    assert torch.equal(model.last.weight, weight) and torch.equal(torch.get_rng_state(), state)
    assert real_inputs(model) == ["first"]
    model(torch.randn(10, 6)).sum().backward()
    assert all(each.grad is not None for each in model.parameters())


def test_where_the_first_product_cannot_be_found_its_name_is_asked_for() -> None:
    model = Shaped()
    with pytest.raises(WorkloadError, match=r"which layer runs first .*TraceError.*`real_input`"):
        convert(model, sign=StraightThrough)
    assert isinstance(model.first, StraightThroughLinear)
    convert(model, sign=StraightThrough, real_input=("first",))
    assert real_inputs(model) == ["first"]
    model(torch.randn(10, 6)).sum().backward()


def test_a_container_that_runs_nothing_asks_for_the_name() -> None:
    def parts() -> nn.ModuleList:
        return nn.ModuleList([StraightThroughLinear(4, 4), StraightThrough(), StraightThroughLinear(4, 4)])

    with pytest.raises(WorkloadError, match=r"NotImplementedError.*`real_input`"):
        convert(parts(), sign=StraightThrough)
    assert real_inputs(convert(parts(), sign=StraightThrough, real_input=("2",))) == ["2"]
    assert real_inputs(convert(parts(), sign=StraightThrough, real_input=())) == []


def test_real_input_that_names_no_replaced_product_is_refused() -> None:
    model = Backwards()
    for name, keep in (("norm", ()), ("nothing", ()), ("first", ("first",))):
        with pytest.raises(WorkloadError, match=f"`real_input` has '{name}', .*last"):
            convert(model, sign=StraightThrough, keep=keep, real_input=(name,))
    assert isinstance(model.last, StraightThroughLinear)


def test_several_products_may_take_real_input() -> None:
    model = nn.Sequential(
        StraightThroughLinear(6, 8), nn.BatchNorm1d(8), StraightThrough(),
        StraightThroughLinear(8, 8), nn.ReLU(), StraightThroughLinear(8, 3),
    )  # fmt: skip
    convert(model, sign=StraightThrough, real_input=("0", "5"))
    assert real_inputs(model) == ["0", "5"]
    model(torch.randn(10, 6)).sum().backward()


@pytest.mark.parametrize(
    "between",
    [[], [nn.MaxPool1d(3, padding=1)], [nn.Identity(), nn.Flatten()]],
    ids=["sign", "pooled", "flattened"],
)
def test_behind_a_kept_first_layer_a_product_that_reads_signs_retains_bits(between) -> None:
    model = nn.Sequential(nn.Linear(6, 9), nn.BatchNorm1d(9), StraightThrough(), *between)
    model.extend([StraightThroughLinear(3 if len(between) == 1 else 9, 8), StraightThrough()])
    model.append(StraightThroughLinear(8, 3))
    keep = ("0", "3") if len(between) == 1 else ("0",)
    convert(model, sign=StraightThrough, keep=keep)
    assert real_inputs(model) == []
    model(torch.randn(10, 6)).sum().backward()


@pytest.mark.parametrize("between", [nn.ReLU(), nn.Dropout(0.5)])
def test_what_is_not_seen_to_be_a_sign_is_real_input(between) -> None:
    model = nn.Sequential(
        nn.Linear(6, 8), StraightThrough(), between, StraightThroughLinear(8, 8), StraightThrough(),
        StraightThroughLinear(8, 3),
    )  # fmt: skip
    convert(model, sign=StraightThrough, keep=("0",))
    assert real_inputs(model) == ["3"]
    model(torch.randn(10, 6)).sum().backward()


def test_a_sign_that_is_kept_may_give_anything() -> None:
    model = nn.Sequential(StraightThrough(), Block(6), Block(6))
    assert real_inputs(convert(model, sign=StraightThrough, keep=("1.sign",))) == ["1.linear"]


def test_blocks_are_looked_into() -> None:
    model = nn.Sequential(nn.Linear(6, 6), Block(6), Block(6))
    layers = [model[2].linear, model[1].linear]
    signs = [model[1].sign, model[2].sign]
    assert tracing.first_to_run(model, layers, signs) == (model[1].linear, True)
    convert(model, sign=StraightThrough, keep=("0",))
    assert isinstance(model[1].sign, Sign) and real_inputs(model) == []


def test_an_only_product_need_not_be_found() -> None:
    model = Shaped()
    convert(model, sign=StraightThrough, keep=("last",))
    assert real_inputs(model) == ["first"]
    model(torch.randn(10, 6)).sum().backward()
    behind = nn.Sequential(nn.Linear(6, 8), StraightThrough(), StraightThroughLinear(8, 3))
    assert real_inputs(convert(behind, sign=StraightThrough, keep=("0",))) == []
