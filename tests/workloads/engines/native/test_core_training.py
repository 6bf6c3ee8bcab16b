"""Training with the native engine: reproducible, the same on every instruction set, within its plan."""

import ctypes
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

np = pytest.importorskip("numpy")
sys.path.insert(0, str(Path(__file__).parent))

import native_support as support  # noqa: E402

from workloads import memory_model, recipes, registry  # noqa: E402
from workloads.engines import native  # noqa: E402
from workloads.engines.base import Job  # noqa: E402
from workloads.engines.native import library, limits, location  # noqa: E402
from workloads.engines.native.plan import lay_out  # noqa: E402
from workloads.engines.native.scratch import SUPPORTED  # noqa: E402
from workloads.errors import OutOfMemoryError, UnsupportedError  # noqa: E402
from workloads.schedule import average_share  # noqa: E402

pytestmark = pytest.mark.skipif(location.missing() is not None, reason=str(location.missing()))

TRAINERS = SUPPORTED
BATCH = 37


def run(
    trainer: str, name: str, *, threads: int = 1, steps: int = 6, optimizer: str = "adam", seed: int = 3
) -> list[float]:
    network = (support.NETWORKS | support.WIDE)[name]()
    training = support.make(trainer, network, BATCH, threads=threads, seed=seed, optimizer=optimizer)
    losses = []
    for step in range(steps):
        batch = support.views(*support.batch_of(network, BATCH, seed=step % 3))
        losses.append(training.step(*batch, 0.01, lambda phase: None))
    training.close()
    return losses


def elsewhere(script: str, **environment: str) -> Any:
    """Run a script in a fresh process and return what it prints, as JSON."""
    folders = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    settings = {**os.environ, "PYTHONPATH": folders, **environment}
    result = subprocess.run([sys.executable, "-c", script], env=settings, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def instruction_sets() -> list[str]:
    names = [library.load().harness_isa_name(index) for index in range(8)]
    return [name.decode() for name in names if name]


@pytest.mark.parametrize(
    ("trainer", "name"),
    [(trainer, name) for trainer in TRAINERS for name in ("mlp", "padded", "valid")]
    + [("standard", name) for name in support.WIDE],
)
def test_threads_change_nothing(trainer: str, name: str) -> None:
    assert run(trainer, name, threads=1) == run(trainer, name, threads=3)


CURVES = """
import json, sys
import test_core_training as here
print(json.dumps({t + "/" + n: here.run(t, n, steps=2) for t in here.TRAINERS for n in ("mlp", "padded", "valid")}))
"""


@pytest.mark.timeout(600)
def test_instruction_sets_agree() -> None:
    """Bit recipes give the same losses on every set; float32 products may round otherwise, within 1e-3."""
    curves = {isa: elsewhere(CURVES, HARNESS_ISA=isa) for isa in instruction_sets()}
    reference = curves.pop("generic")
    for isa, each in curves.items():
        for case, losses in each.items():
            if case.startswith("standard"):
                assert losses == pytest.approx(reference[case], rel=1e-3), (isa, case)
            else:
                assert losses == reference[case], (isa, case)


@pytest.mark.parametrize("trainer", TRAINERS)
@pytest.mark.parametrize("optimizer", ["adam", "sgd", "bop"])
def test_every_optimizer_learns(trainer: str, optimizer: str) -> None:
    if optimizer == "bop" and trainer == "standard":
        pytest.skip("bop flips bits: there is none with float32 weights")
    losses = run(trainer, "mlp", steps=40, optimizer=optimizer)
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:3])


@pytest.mark.parametrize("trainer", TRAINERS)
@pytest.mark.parametrize("workload", ["mlp-mnist", "cnv-cifar10", "binarynet-cifar10"])
def test_ledger_is_the_model(trainer: str, workload: str) -> None:
    """Class by class; scratch is what the engine adds. Nothing is allocated here."""
    network = registry.workload(workload).specification()
    recipe, optimizer = recipes.recipe(trainer), recipes.optimizer("adam")
    training = native.create(Job(network, recipe, optimizer, 100, 2, 0, {}))
    modelled = memory_model.model(network, recipe, optimizer, 100, "honest").by_variable()
    ledger = training.ledger()
    assert {**ledger, "scratch": 0} == modelled
    assert sum(ledger.values()) == training.plan.arena_bytes  # type: ignore[attr-defined]
    scratch = training.scratch_by_name()
    assert sum(scratch.values()) == ledger["scratch"]
    assert {"threads", "channels", "padding"} <= set(scratch)
    assert all(size > 0 for name, size in scratch.items() if name != "padding") and scratch["padding"] >= 0


def test_a_plan_that_differs_is_refused() -> None:
    training = support.make("lowmem", support.mlp(), BATCH)
    listed = list(training.plan.variables)
    for wrong in (listed[1:], [listed[0]._replace(bytes=listed[0].bytes + 8), *listed[1:]]):
        with pytest.raises(library.CoreError, match=r"the core needs|the plan lacks"):
            library.create(training._config, wrong, training.plan.arena_bytes)
    with pytest.raises(library.CoreError, match="outside the arena"):
        library.create(training._config, listed, 4096)
    training.close()


@pytest.mark.parametrize("trainer", ["standard", "lowmem"])
def test_a_recalibration_weighs_a_short_last_batch_by_its_items(trainer: str) -> None:
    network, short = support.padded_conv(), 2
    training = support.make(trainer, network, BATCH)
    whole, other = (support.views(*support.batch_of(network, BATCH, seed=seed)) for seed in (1, 2))
    last = other[0][: short * len(other[0]) // BATCH], other[1][:short]

    def recalibrated(*batches: tuple[memoryview, memoryview]) -> Any:
        training.recalibrate(batches)
        return support.values(training, "mu_psi.moving", 0, "float32").copy()

    expected = (BATCH * recalibrated(whole) + short * recalibrated(last)) / (BATCH + short)
    np.testing.assert_allclose(recalibrated(whole, last), expected, rtol=1e-5, atol=1e-6)
    training.close()


@pytest.mark.parametrize("trainer", ["lowmem", "lean8"])
def test_a_beta_that_diverges_stays_a_number(trainer: str) -> None:
    training = support.make(trainer, support.mlp(), BATCH, optimizer="sgd", ste_mask="none")
    batch = support.views(*support.batch_of(support.mlp(), BATCH))
    for _ in range(4):
        assert np.isfinite(training.step(*batch, 1e4, lambda phase: None))
    beta = support.values(training, "beta", 1, "float16")
    assert np.isfinite(beta).all() and np.abs(beta).max() == np.finfo(np.float16).max
    training.close()


def test_variables_do_not_overlap() -> None:
    training = support.make("lean", support.padded_conv(), BATCH)
    places = sorted((each.offset, each.bytes) for each in training.plan.variables)
    assert all(a + size <= b for (a, size), (b, _) in itertools.pairwise(places))
    training.close()


def test_refused_memory_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    network = support.mlp()
    job = Job(network, recipes.recipe("lowmem"), recipes.optimizer("adam"), BATCH, 1, 0, {})
    training = native.create(job)
    monkeypatch.setattr(limits, "available_bytes", lambda ceiling_bytes: 1000)
    with pytest.raises(OutOfMemoryError, match=r"needs \d+ bytes and 1000 are left: \d+ are missing"):
        training.set_up()


def test_unsupported_combinations_are_said() -> None:
    for trainer, optimizer in (("float16", "adam"), ("standard", "bop")):
        job = Job(support.mlp(), recipes.recipe(trainer), recipes.optimizer(optimizer), 8, 1, 0, {})
        with pytest.raises(UnsupportedError, match="native engine"):
            native.create(job)


@pytest.mark.parametrize("change", [{"activation": "float32"}, {"norm": "l1"}, {"gradient": "float32"}])
def test_a_recipe_without_kernels_is_refused(change: dict[str, Any]) -> None:
    planted = recipes.recipe("lowmem")._replace(**change)
    with pytest.raises(UnsupportedError, match="native engine has no 'lowmem' with"):
        native.create(Job(support.mlp(), planted, recipes.optimizer("adam"), 8, 1, 0, {}))


GROWTH = """
import json, native_support as s
def rss():
    return int(next(l for l in open("/proc/self/status") if l.startswith("VmRSS")).split()[1])
network = s.padded_conv()
training = s.make("{trainer}", network, 37)  # one thread: two may first touch their scratch late
batch = s.views(*s.batch_of(network, 37))
for _ in range(3): training.step(*batch, 0.01, lambda phase: None)
before = rss()
for _ in range(50): training.step(*batch, 0.01, lambda phase: None)
print(json.dumps(rss() - before))
"""


@pytest.mark.parametrize("trainer", ["standard", "lowmem", "lean8"])
def test_steps_take_no_memory(trainer: str) -> None:
    assert elsewhere(GROWTH.replace("{trainer}", trainer)) <= 64  # KiB: Python's own


def test_labels_and_batches_are_checked() -> None:
    network = support.mlp()
    training = support.make("lowmem", network, 8)
    images, labels = support.views(*support.batch_of(network, 8))
    labels[3] = 200
    with pytest.raises(library.CoreError, match="label 200 of item 3"):
        training.step(images, labels, 0.01, lambda phase: None)
    big = support.views(*support.batch_of(network, 9))
    with pytest.raises(library.CoreError, match="9 items"):
        training.evaluate(*big)
    training.close()


@pytest.mark.parametrize("trainer", TRAINERS)
def test_evaluation_with_moving_averages(trainer: str) -> None:
    """After some steps on few items the network knows them; short batches and recalibration give the same."""
    network = support.padded_conv()
    training = support.make(trainer, network, BATCH)
    pixels, labels = support.batch_of(network, BATCH)
    for _ in range(60):
        training.step(*support.views(pixels, labels), 0.01, lambda phase: None)
    training.recalibrate([support.views(pixels, labels)])
    whole = training.evaluate(*support.views(pixels, labels))
    parts = training.evaluate(*support.views(pixels[:20], labels[:20]))
    parts += training.evaluate(*support.views(pixels[20:], labels[20:]))
    assert whole == parts
    assert whole > 0.8 * BATCH
    training.close()


@pytest.mark.parametrize("trainer", ["standard", "lowmem"])
def test_the_moving_averages_follow_the_schedule(trainer: str) -> None:
    """Two batches in turn at rates that move no weight: their statistics are known, and so is the weighted average."""
    network = support.mlp()
    batches = [support.views(*support.batch_of(network, 8, seed)) for seed in (0, 1)]
    training = support.make(trainer, network, 8)

    def moving() -> np.ndarray:
        return np.array(support.values(training, "mu_psi.moving", 0, "float32"), np.float64)

    known = []
    for batch in batches:
        training.recalibrate([batch])
        known.append(moving())
    training.close()
    training = support.make(trainer, network, 8)
    expected, cooled = np.zeros_like(known[0]), 1.0
    for number in range(1, 251):
        expected += average_share(number, cooled, 8) * (known[number % 2] - expected)
        cooled = 1.0 if number < 100 else 0.3
        training.step(*batches[number % 2], 1e-30 * cooled, lambda phase: None)
        if number in (1, 9, 60, 250):
            np.testing.assert_allclose(moving(), expected, rtol=1e-4, atol=1e-4)
    training.close()


def test_marks_follow_the_phases() -> None:
    for trainer, phases in (("lowmem", ["forward", "backward", "update"]), ("lean", ["forward", "backward"])):
        training = support.make(trainer, support.mlp(), 8)
        marks: list[str] = []
        training.step(*support.views(*support.batch_of(support.mlp(), 8)), 0.01, marks.append)
        assert marks == phases
        training.close()


def test_lay_out_names_padding_as_scratch() -> None:
    network = support.mlp()
    model = memory_model.model(network, recipes.recipe("lowmem"), recipes.optimizer("adam"), 5, "honest")
    plan = lay_out(network, model, {})
    assert plan.ledger["scratch"] == plan.arena_bytes - model.total_bytes
    assert ctypes.sizeof(library.CVariable) == 24


def test_a_network_with_shortcuts_is_sent_to_the_torch_engine() -> None:
    network = registry.workload("resnete18-imagenet").specification()
    job = Job(network, recipes.recipe("lowmem"), recipes.optimizer("adam"), 2, 1, 0, {})
    with pytest.raises(UnsupportedError, match=r"does not support shortcuts.*try: --engine torch"):
        native.create(job)
