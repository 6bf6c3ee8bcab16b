"""50 steps from given weights: the same on every instruction set, as the float64 oracle, as the torch engine."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

np = pytest.importorskip("numpy")
sys.path.insert(0, str(Path(__file__).parent))

import golden_steps as golden  # noqa: E402

from workloads import recipes  # noqa: E402
from workloads.engines.base import Job  # noqa: E402
from workloads.engines.native import library, location  # noqa: E402

pytestmark = pytest.mark.skipif(location.missing() is not None, reason=str(location.missing()))

DATA = Path(__file__).parents[3] / "data"
RECORD = DATA / "golden-native" / "native.json"
CASES = [(name, trainer) for name in golden.NETWORKS for trainer in golden.TRAINERS]
# (network, trainer, optimizer): the largest difference of a step's loss from the torch engine's, relative, and of the
# mean of the last ten. float32 follows to rounding; on `conv` only without Adam, which makes whole steps of gradients
# that cancel but for rounding. float16 and 6 bits round each in its own noise, and a sign near zero may fall either
# way: over five seeds of torch's, the perceptron's curves were 0.08 (centred: 0.16, 6 bits: 0.13) apart at most with
# Adam.
BESIDE_TORCH = {
    ("mlp", "standard", "adam"): (1e-5, 1e-5),
    ("mlp", "standard", "sgd"): (1e-5, 1e-5),
    ("conv", "standard", "sgd"): (1e-5, 1e-5),
    ("mlp", "lowmem", "adam"): (0.15, 0.02),
    ("mlp", "lowmem", "sgd"): (0.25, 0.06),
    ("mlp", "lowmem-centred", "adam"): (0.22, 0.02),
    ("mlp", "lowmem-centred", "sgd"): (0.25, 0.06),
    ("mlp", "lowmem-q6", "adam"): (0.3, 0.05),
    ("mlp", "lowmem-q6", "sgd"): (0.25, 0.06),
    ("conv", "lowmem", "adam"): (0.8, 0.15),
    ("conv", "lowmem-centred", "adam"): (0.8, 0.15),
    ("conv", "lowmem-q6", "adam"): (1.2, 0.3),
}


def instruction_sets() -> list[str]:
    if location.missing() is not None:
        return []
    names = [library.load().harness_isa_name(index) for index in range(8)]
    return [name.decode() for name in names if name]


@pytest.mark.parametrize("threads", ["1", "3"])
@pytest.mark.parametrize("isa", instruction_sets())
def test_every_set_gives_the_recorded_curves(isa: str, threads: str) -> None:
    """Bit for bit, `standard` as well: its products with signs are exact, and every set sums in one order."""
    done = subprocess.run(
        [sys.executable, golden.__file__, threads],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "HARNESS_ISA": isa},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found, recorded = json.loads(done.stdout), json.loads(RECORD.read_text())
    assert list(recorded) == [f"{name}/{trainer}" for name, trainer in CASES]
    for case, losses in recorded.items():
        assert found[case] == losses, case
        assert len(losses) == golden.STEPS
        assert np.mean(losses[-5:]) < 0.5 * losses[0]  # a curve that does not fall would pin nothing


@pytest.mark.parametrize("trainer", ["standard", "lowmem", "lowmem-centred"])
def test_the_oracle_is_followed(trainer: str) -> None:
    """The same curves as the torch engine's tests follow, within the same bounds."""
    document = json.loads((DATA / "golden" / f"{trainer}.json").read_text())
    task = document["task"]
    assert (task["steps"], task["batch_size"]) == (golden.STEPS, golden.BATCH["mlp"])
    expected = pytest.approx(document["train_loss"], rel=document["relative_tolerance"])
    assert golden.curve(trainer, "mlp") == expected


def torch_curve(trainer: str, name: str, optimizer: str, seed: int = 0) -> list[float]:
    """The torch engine's losses from the same weights on the same batches."""
    torch = pytest.importorskip("torch", reason="the torch extra is not installed")
    from workloads.engines.torch.trainer import TorchTraining

    network = golden.NETWORKS[name]()
    job = Job(network, recipes.recipe(trainer), recipes.optimizer(optimizer), golden.BATCH[name], 1, seed, {})
    training = TorchTraining(job)
    training.set_up()
    before: Any = None
    for index, (stage, layer) in enumerate(zip(network.stages, training.layers, strict=True)):
        shape, weights = layer.weights.shape, weights_of(index, stage, before)
        layer.weights.storage.copy_(torch.from_numpy(weights.reshape(shape)))
        before = stage
    data = golden.batches(name)
    losses = []
    for step in range(golden.STEPS):
        losses.append(training.step(*data[step % 3], golden.RATES[optimizer], lambda phase: None))
    training.close()
    return losses


def weights_of(index: int, stage: Any, before: Any) -> Any:
    """The golden weights in torch's order, channels before places; in the core's, channels come last."""
    fan_in = stage.kernel**2 * stage.in_channels
    units = golden.units_of(index, stage.out_channels * fan_in)
    channels = stage.in_channels if stage.kernel > 1 or before is None else before.out_channels
    values = np.array(units).reshape(stage.out_channels, -1, channels) / 4096
    return np.ascontiguousarray(values.transpose(0, 2, 1))


@pytest.mark.torch
@pytest.mark.parametrize("case", list(BESIDE_TORCH), ids="-".join)
def test_the_torch_engine_gives_the_same_curve(case: tuple[str, str, str]) -> None:
    name, trainer, optimizer = case
    found = np.array(golden.curve(trainer, name, optimizer=optimizer))
    expected = np.array(torch_curve(trainer, name, optimizer))
    at_a_step, at_the_end = BESIDE_TORCH[case]
    assert (abs(found - expected) / expected).max() < at_a_step
    assert found[-10:].mean() == pytest.approx(expected[-10:].mean(), rel=at_the_end)
    assert expected[-10:].mean() < 0.5 * expected[0]
