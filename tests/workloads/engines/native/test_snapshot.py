"""A native training through a checkpoint file and back."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("numpy")
sys.path.insert(0, str(Path(__file__).parent))

import native_support as support

from workloads import checkpoint
from workloads.engines.native import location
from workloads.engines.native.scratch import SUPPORTED
from workloads.engines.native.training import NativeTraining

pytestmark = pytest.mark.skipif(location.missing() is not None, reason=str(location.missing()))

BATCH = 9
CASES = [(trainer, method) for trainer in SUPPORTED for method in ("adam", "sgd", "bop")]


def train(training: NativeTraining, name: str, steps: range) -> list[float]:
    network = support.NETWORKS[name]()
    batches = [support.views(*support.batch_of(network, BATCH, seed=step)) for step in steps]
    rates = [
        0.01 / (1 + step) for step in steps
    ]  # a falling rate: the moving averages remember how far it fell
    return [
        training.step(*batch, rate, lambda phase: None) for batch, rate in zip(batches, rates, strict=True)
    ]


@pytest.mark.parametrize("name", ["mlp", "padded"])
@pytest.mark.parametrize(("trainer", "method"), [case for case in CASES if case != ("standard", "bop")])
def test_a_training_continues_bit_for_bit_from_its_file(
    trainer: str, method: str, name: str, tmp_path: Path
) -> None:
    network = support.NETWORKS[name]()
    whole = support.make(trainer, network, BATCH, seed=1, optimizer=method)
    train(whole, name, range(4))
    checkpoint.write(tmp_path / "a", {}, whole.snapshot().blocks)
    expected = train(whole, name, range(4, 8))
    # The seed of the noise is the job's, so a resumed training has the same one; the weights come from the file.
    resumed = support.make(trainer, network, BATCH, seed=1, optimizer=method)
    train(resumed, name, range(50, 52))
    snapshot = resumed.snapshot()
    checkpoint.read_into(tmp_path / "a", snapshot.blocks)
    snapshot.adopt()
    assert train(resumed, name, range(4, 8)) == expected
    for one, other in zip(whole.snapshot().blocks, resumed.snapshot().blocks, strict=True):
        assert one.data == other.data, one.name
    assert resumed.counters()[:2] == (8, 8)
    for training in (whole, resumed):
        training.close()


def test_every_lasting_variable_of_the_model_is_kept() -> None:
    network = support.mlp()
    training = support.make("lowmem", network, BATCH)
    kept = sum(block.data.nbytes for block in training.snapshot().blocks if block.name != "counters")
    ledger = training.ledger()
    moving = sum(8 * stage.out_channels for stage in network.stages)
    assert kept == ledger["W"] + ledger["momenta"] + ledger["beta"] + moving
    training.close()
