"""What autograd keeps from forward to backward: shown with saved-tensor hooks, byte by byte."""

import pytest

torch = pytest.importorskip("torch", reason="the torch extra is not installed")

from tests_support import Build, odd_network, pixels_and_labels  # noqa: E402

from workloads.engines.torch import stage  # noqa: E402
from workloads.engines.torch.flow import Activations  # noqa: E402
from workloads.engines.torch.trainer import TorchTraining  # noqa: E402

NETWORK, BATCH = odd_network(13, 7, 5, 3), 6


def forward(training: TorchTraining) -> tuple[list[torch.Tensor], list[Activations]]:
    """Run the forward pass; return every tensor that autograd saved and what flowed between the stages."""
    saved: list[torch.Tensor] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        saved.append(tensor)
        return tensor

    images, _ = pixels_and_labels(NETWORK, BATCH, 0)
    flow = [training._first(images)]
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        for layer in training.layers:
            flow.append(stage.train(layer, flow[-1]))
    return saved, flow


def storages(tensors: list[torch.Tensor]) -> dict[int, int]:
    return {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in tensors}


def test_lowmem_retains_packed_bits_the_pixels_and_three_numbers_a_channel(build: Build) -> None:
    """Of the last stage, whose output no other reads by its signs: the output itself, and two numbers."""
    saved, _ = forward(build("lowmem", NETWORK, BATCH))
    packed = {each.numel() for each in saved if each.dtype == torch.uint8}
    channel = [each for each in saved if each.dtype == torch.float16]
    assert all(each.dtype in (torch.uint8, torch.float16) for each in saved)
    assert packed == {BATCH * 13, -(-BATCH * 7 // 8), -(-BATCH * 5 // 8)}
    logits = (BATCH, 3, 1, 1)
    assert sorted(tuple(each.shape) for each in channel) == [(2, 3), (3, 5), (3, 7), logits]
    signs_and_masks = 2 * (-(-BATCH * 7 // 8)) + 2 * (-(-BATCH * 5 // 8))
    numbers = 3 * 7 + 3 * 5 + 2 * 3 + BATCH * 3
    assert sum(storages(saved).values()) == BATCH * 13 + signs_and_masks + 2 * numbers


def test_both_stages_retain_the_same_storage_once(build: Build) -> None:
    saved, flow = forward(build("lowmem", NETWORK, BATCH))
    kept = [each.data_ptr() for each in saved]
    for x in flow[1:-1]:
        assert x.bits is not None
        assert kept.count(x.bits.data_ptr()) == 2  # by the stage that made it and by the one that reads it


def test_the_real_output_is_not_retained_and_dies_with_its_last_reader(build: Build) -> None:
    saved, flow = forward(build("lowmem", NETWORK, BATCH))
    kept = storages(saved)
    assert all(x.real.untyped_storage().data_ptr() not in kept for x in flow[1:-1])
    assert flow[-1].real.untyped_storage().data_ptr() in kept  # the logits


def test_standard_retains_real_activations_and_two_numbers_a_channel(build: Build) -> None:
    saved, _ = forward(build("standard", NETWORK, BATCH))
    activations = 4 * BATCH * (13 + 7 + 5 + 3)
    assert sum(storages(saved).values()) == BATCH * 13 + activations + 4 * 2 * (7 + 5 + 3)
    assert {each.dtype for each in saved} == {torch.float32, torch.uint8}


@pytest.mark.parametrize("trainer", ["standard", "lowmem"])
def test_nothing_is_hidden_beside_the_saved_tensors(trainer: str, build: Build) -> None:
    """A node may hold its layer, whose tensors are persistent and listed below, and nothing else of a tensor's size."""
    training = build(trainer, NETWORK, BATCH)
    _, flow = forward(training)
    node = flow[-1].real.grad_fn
    for _ in training.layers:
        assert node is not None
        assert list(node.__dict__) == ["layer"]
        assert not any(isinstance(value, torch.Tensor) for value in node.__dict__.values())
        node = next(
            (each for each, _ in node.next_functions if each and "StageFunction" in each.name()), None
        )
    allowed = {"beta", "beta_gradient", "moving"}
    for layer in training.layers:
        assert {name for name, value in vars(layer).items() if isinstance(value, torch.Tensor)} == allowed


def test_backward_frees_what_was_retained(build: Build) -> None:
    training = build("lowmem", NETWORK, BATCH)
    _, flow = forward(training)
    torch.autograd.backward(flow[-1].real, torch.ones_like(flow[-1].real))
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.backward(flow[-1].real, torch.ones_like(flow[-1].real))


@pytest.mark.parametrize(
    ("trainer", "real", "packed_gradient"),
    [("standard", torch.float32, False), ("float16", torch.float16, False), ("lowmem", torch.float16, True)],
)
def test_storage_has_the_recipes_types(
    trainer: str, real: torch.dtype, packed_gradient: bool, build: Build
) -> None:
    training = build(trainer, NETWORK, BATCH)
    _, flow = forward(training)
    assert all(x.real.dtype == real for x in flow[1:])
    for layer in training.layers:
        assert layer.weights.storage.dtype == layer.beta.dtype == layer.beta_gradient.dtype == real
        assert layer.moving.dtype == torch.float32
        if packed_gradient:
            assert layer.gradient.buffer.dtype == torch.uint8
            assert layer.gradient.buffer.numel() == -(-layer.stage.weights // 8)
            assert layer.weights.storage.grad is None
        else:
            assert layer.gradient.buffer.dtype == real
            assert layer.weights.storage.grad is layer.gradient.buffer
    for slot in training.updates[0].slots:
        assert {each.dtype for each in slot.momenta.values()} == {real}
