"""`convert` tries each product layer beside its counterpart, and refuses what computes something else."""

import copy

import pytest

torch = pytest.importorskip("torch", reason="the torch extra is not installed")

from tests_support import TESTS, module_of  # noqa: E402
from torch import nn  # noqa: E402

from workloads.engines.torch import BinaryLinear, convert  # noqa: E402
from workloads.errors import WorkloadError  # noqa: E402

EXAMPLE = module_of(TESTS.parent / "examples" / "drop_in.py")
StraightThrough, StraightThroughLinear = EXAMPLE.StraightThroughSign, EXAMPLE.StraightThroughLinear
StraightThroughConv2d = EXAMPLE.StraightThroughConv2d


class XnorLinear(nn.Linear):
    """XNOR-Net: the scale mean|W| of each output is computed, not kept."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(
            x, self.weight.abs().mean(1, keepdim=True) * self.weight.sign(), self.bias
        )


class PaddedWithMinusOne(nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        padded = nn.functional.pad(x, (1,) * 4, value=-1.0)
        return nn.functional.conv2d(padded, self.weight.sign(), self.bias)


class WithoutItsBias(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(x, self.weight.sign())


class OfTwo(nn.Linear):
    def forward(self, x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        return scale * nn.functional.linear(x, self.weight.sign(), self.bias)


def with_weights_of_one() -> nn.Linear:
    layer = nn.Linear(4, 3)
    layer.weight.data.sign_()
    return layer


def without_a_bias_yet() -> WithoutItsBias:
    layer = WithoutItsBias(4, 3)
    nn.init.zeros_(layer.bias)
    return layer


@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: nn.Linear(4, 3), "does not compute .* in place of .*full precision"),
        (lambda: nn.Conv2d(4, 3, 3, padding=1), "does not compute .*full precision"),
        (lambda: XnorLinear(4, 3), "does not compute .* scale"),
        (lambda: PaddedWithMinusOne(4, 3, 3, padding=1), "does not compute .* padding"),
        (lambda: PaddedWithMinusOne(4, 3, 3), "does not compute .*its output is .* in place of"),
        (with_weights_of_one, "does not compute .*full precision"),
        (without_a_bias_yet, "does not compute"),
        (lambda: OfTwo(4, 3), "cannot be tried by itself .*'scale'"),
    ],
    ids=["linear", "conv", "xnor", "padding", "unsaid padding", "weights of ±1", "bias of 0", "two inputs"],
)
def test_a_layer_that_computes_something_else_is_refused(make, match, last) -> None:
    torch.manual_seed(1)
    layer = make()
    before = [parameter.detach().clone() for parameter in layer.parameters()]
    others = [StraightThroughLinear(6, 4), nn.BatchNorm1d(4), StraightThrough()]
    model = nn.Sequential(*others, layer) if last else nn.Sequential(layer, *others)
    name = "3" if last else "0"
    with pytest.raises(WorkloadError, match=f"'{name}' {match}.*: name it in `keep`"):
        convert(model, sign=StraightThrough)
    assert all(torch.equal(*pair) for pair in zip(layer.parameters(), before, strict=True))
    convert(model, sign=StraightThrough, keep=(name,))
    assert model[int(name)] is layer


def test_layers_of_full_precision_are_named_on_the_meta_device_too() -> None:
    model = nn.Sequential(nn.Linear(4, 3), StraightThrough()).to("meta")
    with pytest.raises(WorkloadError, match="'0' does not compute"):
        convert(model, sign=StraightThrough)


class Binarised(nn.Linear):
    """As in Courbariaux's and Hubara's code: forward writes the signs into the weights, and into its input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x.data = x.data.sign()
        self.weight.data = self.weight.data.sign()
        return nn.functional.linear(x, self.weight, self.bias)


def test_a_layer_is_tried_by_a_copy() -> None:
    layer = Binarised(5, 4)
    before = layer.weight.detach().clone()
    model = convert(
        nn.Sequential(StraightThroughLinear(6, 5), StraightThrough(), layer), sign=StraightThrough
    )
    assert isinstance(model[2], BinaryLinear) and torch.equal(model[2].weight, before)


@pytest.mark.parametrize(
    "layer",
    [
        StraightThroughConv2d(3, 4, 3, stride=2, padding=1),
        StraightThroughConv2d(3, 4, (3, 1), stride=(1, 2), padding=(1, 0), bias=False),
        StraightThroughConv2d(3, 4, 5, padding=7).double(),
        StraightThroughConv2d(3, 4, 1, stride=3).to(torch.bfloat16),
    ],
    ids=lambda layer: str(layer.kernel_size),
)
def test_binary_convolutions_of_any_shape_convert(layer) -> None:
    x = torch.randn(2, 3, 9, 9, dtype=torch.float64)
    expected = copy.deepcopy(layer).double()(x)
    torch.testing.assert_close(convert(layer, sign=StraightThrough).double()(x), expected)
