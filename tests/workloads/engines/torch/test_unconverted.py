"""`convert` says which layers it leaves as they are, and why."""

import warnings

import pytest

torch = pytest.importorskip("torch", reason="the torch extra is not installed")

from tests_support import TESTS, module_of  # noqa: E402
from torch import nn  # noqa: E402

from workloads.engines.torch import Sign, convert  # noqa: E402
from workloads.errors import UnconvertedWarning, WorkloadError  # noqa: E402

EXAMPLE = module_of(TESTS.parent / "examples" / "drop_in.py")
StraightThrough, StraightThroughLinear = EXAMPLE.StraightThroughSign, EXAMPLE.StraightThroughLinear


class OwnProduct(nn.Module):
    """A binary layer that is derived from no layer of torch's."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(3, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.w.sign().T


class BinaryConv1d(nn.Conv1d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.conv1d(x, self.weight.sign(), self.bias, self.stride, self.padding)


class Shift(nn.Module):
    """A number a channel, which retains nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(1, 4, 1, 1))


PRODUCTS = [
    BinaryConv1d(2, 2, 3), nn.Conv3d(2, 2, 3), nn.ConvTranspose1d(2, 2, 3), nn.ConvTranspose2d(2, 2, 3),
    nn.ConvTranspose3d(2, 2, 3), nn.Conv1d(4, 4, 3, groups=4), nn.Bilinear(2, 2, 2), nn.LSTM(2, 2), nn.GRUCell(2, 2),
]  # fmt: skip
NORMS = [nn.BatchNorm3d(2), nn.GroupNorm(2, 4), nn.LayerNorm(4), nn.RMSNorm(4), nn.InstanceNorm2d(2)]
NORMS += [nn.SyncBatchNorm(2), nn.LocalResponseNorm(2)]


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        *((each, f"retains its input in full.*no binary counterpart of a {type(each).__name__}") for each in PRODUCTS),
        *((each, f"retains its input in full.*no counterpart of a {type(each).__name__}") for each in NORMS),
        (nn.MaxPool2d(3, 2, 1), "an int64 a maximum: only of an nn.MaxPool2d of 2×2"),
        (nn.MaxPool1d(2), "an int64 a maximum: .* not of this MaxPool1d"),
        (OwnProduct(), "its class OwnProduct has weights of its own"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)  # fmt: skip
def test_a_layer_without_a_counterpart_is_named_with_the_reason(layer, reason) -> None:
    model = nn.Sequential(nn.Sequential(StraightThrough(), layer), StraightThrough())
    with pytest.warns(UnconvertedWarning, match=rf"'0\.1' stays as it is, .*{reason}.*`keep`") as told:
        convert(model, sign=StraightThrough)
    assert len(told) == 1 and told[0].filename == __file__
    assert model[0][1] is layer and isinstance(model[1], Sign)


def test_what_is_kept_is_not_spoken_of() -> None:
    model = nn.Sequential(nn.Sequential(nn.Conv1d(2, 2, 3)), StraightThrough(), nn.LayerNorm(4))
    convert(model, sign=StraightThrough, keep=("0", "2"))
    assert isinstance(model[1], Sign)


def test_layers_that_are_no_matter_are_not_spoken_of() -> None:
    harmless = [
        Shift(),
        nn.ReLU(),
        nn.Dropout(),
        nn.Flatten(),
        nn.AvgPool2d(2),
        nn.Embedding(3, 4),
        nn.PReLU(4),
    ]
    model = nn.Sequential(StraightThrough(), StraightThroughLinear(4, 4), nn.BatchNorm1d(4), nn.MaxPool2d(2))
    convert(model.extend(harmless), sign=StraightThrough)
    convert(model, sign=StraightThrough)  # nor is what was converted before


def test_a_layer_in_two_places_is_named_once_and_each_of_two_layers() -> None:
    twice, other = nn.Conv1d(2, 2, 1), nn.Conv1d(2, 2, 1)
    model = nn.Sequential(twice, StraightThrough(), twice, other)
    with pytest.warns(UnconvertedWarning) as told:
        convert(model, sign=StraightThrough)
    assert [str(each.message).split("'")[1] for each in told] == ["0", "3"]


def test_a_warning_that_is_an_error_leaves_the_model_untouched() -> None:
    model = nn.Sequential(StraightThroughLinear(4, 4), StraightThrough(), nn.Conv1d(2, 2, 1))
    before = list(model)
    with warnings.catch_warnings(), pytest.raises(UnconvertedWarning):
        warnings.simplefilter("error")
        convert(model, sign=StraightThrough)
    assert list(model) == before


def test_grouped_convolutions_are_refused_not_left() -> None:
    with pytest.raises(WorkloadError, match="'0' has groups"):
        convert(nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), StraightThrough()), sign=StraightThrough)
