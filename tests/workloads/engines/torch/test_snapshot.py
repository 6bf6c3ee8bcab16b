"""A training through a checkpoint file and back, on a small network."""

import pytest

torch = pytest.importorskip("torch", reason="the torch extra is not installed")

from tests_support import Build, odd_network, pixels_and_labels  # noqa: E402

from workloads import checkpoint  # noqa: E402
from workloads.engines.torch.trainer import TorchTraining  # noqa: E402
from workloads.errors import CheckpointError  # noqa: E402
from workloads.registry import ENGINES  # noqa: E402

NETWORK, BATCH = odd_network(20, 9, 7, 4), 10


def train(training: TorchTraining, steps: range) -> list[float]:
    return [
        training.step(*pixels_and_labels(NETWORK, BATCH, seed), 1e-2 / (1 + seed), lambda phase: None)
        for seed in steps  # a falling rate: the moving averages remember how far it fell
    ]


@pytest.mark.parametrize("method", ["adam", "sgd", "bop"])
@pytest.mark.parametrize("trainer", ENGINES["torch"].trainers)
def test_a_training_continues_bit_for_bit_from_its_file(trainer, method, build: Build, tmp_path) -> None:
    whole = build(trainer, NETWORK, BATCH, method=method, seed=1)
    train(whole, range(5))
    checkpoint.write(tmp_path / "a", {}, whole.snapshot().blocks)
    expected = train(whole, range(5, 10))
    resumed = build(trainer, NETWORK, BATCH, method=method, seed=99)
    train(resumed, range(50, 52))  # what it held before must not matter
    snapshot = resumed.snapshot()
    checkpoint.read_into(tmp_path / "a", snapshot.blocks)
    snapshot.adopt()
    assert train(resumed, range(5, 10)) == expected
    for one, other in zip(whole.snapshot().blocks, resumed.snapshot().blocks, strict=True):
        assert one.data == other.data, one.name


def test_blocks_are_in_the_storage_types_and_no_copies(build: Build) -> None:
    training = build("lowmem", NETWORK, BATCH)
    blocks = {block.name: block for block in training.snapshot().blocks}
    weights = training.layers[0].weights.storage
    assert blocks["W.fc1"].dtype == "float16"
    assert blocks["W.fc1"].shape == tuple(weights.shape)
    blocks["W.fc1"].data[:] = bytes(weights.nbytes)
    assert not weights.any()
    bop = build("lowmem", NETWORK, BATCH, method="bop")
    packed = {block.name: block for block in bop.snapshot().blocks}["W.fc1"]
    assert (packed.dtype, packed.data.nbytes) == ("uint8", -(-20 * 9 // 8))


def test_a_file_of_another_recipe_is_refused(build: Build, tmp_path) -> None:
    checkpoint.write(tmp_path / "a", {}, build("lowmem", NETWORK, BATCH).snapshot().blocks)
    with pytest.raises(CheckpointError, match="another training"):
        checkpoint.read_into(tmp_path / "a", build("standard", NETWORK, BATCH).snapshot().blocks)
