"""The drop-in max-pooling is torch's, ties and all, and retains two bits a maximum."""

import pytest

torch = pytest.importorskip("torch", reason="the torch extra is not installed")

from tests_support import TESTS, module_of  # noqa: E402
from torch import nn  # noqa: E402

from workloads.engines.torch import MaxPool2d, convert  # noqa: E402
from workloads.errors import UnconvertedWarning, WorkloadError  # noqa: E402

EXAMPLE = module_of(TESTS.parent / "examples" / "drop_in.py")
Sign, Conv2d, Linear = (
    EXAMPLE.StraightThroughSign,
    EXAMPLE.StraightThroughConv2d,
    EXAMPLE.StraightThroughLinear,
)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [(3, 2, 4, 6), (2, 3, 5, 7), (1, 1, 2, 2)])
def test_maxima_and_gradients_are_torch_s(shape, layout, dtype) -> None:
    generator = torch.Generator().manual_seed(1)
    # Of three values, so that most windows have several maxima.
    x = torch.randint(-1, 2, shape, generator=generator).to(dtype).to(memory_format=layout)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    y, expected = MaxPool2d()(ours), nn.MaxPool2d(2)(theirs)
    gradient = torch.randn(expected.shape, generator=generator).to(dtype)
    y.backward(gradient)
    expected.backward(gradient)
    assert y.dtype == dtype and torch.equal(y, expected)
    assert torch.equal(ours.grad, theirs.grad)


@pytest.mark.parametrize("code", range(3**4))
def test_every_window_of_three_values_has_torch_s_place(code: int) -> None:
    window = torch.tensor([code // 3**k % 3 for k in range(4)], dtype=torch.float32).view(1, 1, 2, 2)
    ours, theirs = window.clone().requires_grad_(), window.clone().requires_grad_()
    MaxPool2d()(ours).backward(torch.ones(1, 1, 1, 1))
    nn.MaxPool2d(2)(theirs).backward(torch.ones(1, 1, 1, 1))
    assert torch.equal(ours.grad, theirs.grad)


def test_one_item_without_a_batch_is_pooled_and_a_map_without_a_window_refused() -> None:
    x = torch.randn(3, 4, 4, requires_grad=True)
    y = MaxPool2d()(x)
    y.sum().backward()
    assert torch.equal(y, nn.MaxPool2d(2)(x))
    with pytest.raises(WorkloadError, match="maps of 1 × 4"):
        MaxPool2d()(torch.randn(2, 3, 1, 4))


def test_two_bits_a_maximum_are_retained() -> None:
    kept: list[torch.Tensor] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        MaxPool2d()(torch.randn(8, 4, 6, 6, requires_grad=True))
    assert sum(tensor.untyped_storage().nbytes() for tensor in kept) == 8 * 4 * 9 * 2 // 8


def test_convert_replaces_windows_of_two_side_by_side_only() -> None:
    hooked = nn.MaxPool2d(2)
    hooked.register_forward_hook(lambda *_: None)
    ours = [nn.MaxPool2d(2), nn.MaxPool2d((2, 2), stride=2, padding=(0, 0))]
    others = [
        nn.MaxPool2d(3, 2), nn.MaxPool2d(2, 1), nn.MaxPool2d(2, padding=1),
        nn.MaxPool2d(2, dilation=2), nn.AvgPool2d(2), nn.MaxPool2d(2, ceil_mode=True),
        nn.MaxPool2d(2, return_indices=True), nn.MaxPool2d((2, 1)), hooked,
    ]  # fmt: skip
    with pytest.warns(UnconvertedWarning) as told:
        model = convert(nn.Sequential(Sign(), *ours, *others), sign=Sign)
    assert [str(each.message).split("'")[1] for each in told] == ["3", "4", "5", "6", "8", "9", "10", "11"]
    assert [type(each) for each in model[1:3]] == [MaxPool2d, MaxPool2d]
    assert list(model[3:]) == others


def test_a_converted_network_with_pools_evaluates_and_learns_as_it_did() -> None:
    torch.manual_seed(4)
    model = nn.Sequential(
        Conv2d(3, 8, 3, padding=1), nn.MaxPool2d(2), nn.BatchNorm2d(8), Sign(),
        Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), Sign(), nn.MaxPool2d(2), nn.Flatten(), Linear(32, 5),
    )  # fmt: skip
    x = torch.randn(6, 3, 8, 8)
    expected = model.eval()(x)
    converted = convert(model, sign=Sign)
    torch.testing.assert_close(converted(x), expected)
    converted.train()(x).sum().backward()
    assert all(parameter.grad is not None for parameter in converted.parameters())
