"""The engine's face: set up, step, evaluate, recalibrate, ledger, resume."""

import pytest

torch = pytest.importorskip("torch", reason="the torch extra is not installed")

from tests_support import CONVOLUTIONS, Build, odd_network, pixels_and_labels  # noqa: E402

from workloads.engines.base import Job  # noqa: E402
from workloads.engines.torch import create  # noqa: E402
from workloads.engines.torch.trainer import TorchTraining  # noqa: E402
from workloads.errors import OutOfMemoryError, UnsupportedError, WorkloadError  # noqa: E402
from workloads.memory_model import model  # noqa: E402
from workloads.recipes import optimizer, recipe  # noqa: E402
from workloads.registry import ENGINES, workload  # noqa: E402
from workloads.schedule import average_share  # noqa: E402

NETWORK, BATCH = odd_network(20, 9, 7, 4), 10


def train(training: TorchTraining, steps: int, start: int = 0, rate: float = 1e-2) -> list[float]:
    network, batch = training.job.specification, training.job.batch_size
    return [
        training.step(*pixels_and_labels(network, batch, seed), rate, lambda phase: None)
        for seed in range(start, start + steps)
    ]


def test_phases_are_marked_in_order_once_a_step(build: Build) -> None:
    training, seen = build("lowmem", NETWORK, BATCH), []
    training.step(*pixels_and_labels(NETWORK, BATCH, 0), 1e-3, seen.append)
    assert seen == ["forward", "backward", "update"]


@pytest.mark.parametrize("method", ["adam", "sgd", "bop"])
@pytest.mark.parametrize("trainer", ENGINES["torch"].trainers)
@pytest.mark.parametrize("batch", [16, 104])
def test_the_ledger_is_the_honest_memory_model_and_scratch(
    trainer: str, method: str, batch: int, build: Build
) -> None:
    """Variable by variable, to the byte, on the workload's own network and on an odd one.

    Batches of multiples of 8: else each bit plane of a quantised ∂Y ends in a byte of its own.
    """
    for network in (NETWORK, CONVOLUTIONS, workload("mlp-mnist").specification()):
        training = build(trainer, network, batch, method=method)
        train(training, 2)
        job = training.job
        expected = model(network, job.recipe, job.optimizer, batch).by_variable()
        ledger = training.ledger()
        assert ledger.pop("scratch") > expected.pop("scratch") == 0
        assert ledger == expected


def test_scratch_does_not_grow_after_the_first_step(build: Build) -> None:
    training = build("lowmem", workload("mlp-mnist").specification(), 100)
    train(training, 1)
    size = training.scratch.bytes
    train(training, 2)
    assert training.scratch.bytes == size < 1 << 20


@pytest.mark.parametrize("trainer", ["standard", "lowmem"])
def test_the_same_seed_gives_the_same_training(trainer: str, build: Build) -> None:
    one, other, third = (build(trainer, NETWORK, BATCH, seed=seed) for seed in (5, 5, 6))
    assert train(one, 5) == train(other, 5) != train(third, 5)


@pytest.mark.parametrize(
    ("seed", "same"), [(-1, (1 << 64) - 1), (99999999999999999999999, 200376420520689663)]
)
def test_any_integer_is_a_seed(seed: int, same: int, build: Build) -> None:
    """Modulo 2^64, as in the native engine; those that torch takes draw what torch draws of them."""
    of_torch = torch.Generator().manual_seed(same).initial_seed()
    assert build("standard", NETWORK, BATCH, seed=seed).generator.initial_seed() == of_torch


@pytest.mark.parametrize("trainer", ["standard", "lowmem"])
def test_a_restored_training_continues_bit_for_bit(trainer: str, build: Build) -> None:
    whole = build(trainer, NETWORK, BATCH, seed=1)
    train(whole, 4)
    kept = whole.state()
    expected = train(whole, 4, start=4)
    resumed = build(trainer, NETWORK, BATCH, seed=99)
    resumed.restore(kept)
    assert train(resumed, 4, start=4) == expected
    for name, tensor in whole.state().items():
        assert torch.equal(tensor, resumed.state()[name]), name


def test_a_state_of_another_training_is_refused(build: Build) -> None:
    state = build("lowmem", NETWORK, BATCH).state()
    with pytest.raises(WorkloadError, match="another training"):
        build("standard", NETWORK, BATCH).restore(state)
    with pytest.raises(WorkloadError, match="another training"):
        build("lowmem", odd_network(20, 9, 8, 4), BATCH).restore(state)


def test_what_was_learned_is_recognised(build: Build) -> None:
    """One batch learned by heart is classified rightly with the moving averages, in a part batch too."""
    for trainer in ("standard", "lowmem"):
        training = build(trainer, odd_network(64, 64, 4), 16)
        batch = pixels_and_labels(training.job.specification, 16, 0)
        for _ in range(60):
            training.step(*batch, 1e-2, lambda phase: None)
        assert training.evaluate(*batch) == 16
        assert training.evaluate(batch[0][: 3 * 64], batch[1][:3]) == 3


def test_evaluating_changes_nothing(build: Build) -> None:
    training = build("lowmem", NETWORK, BATCH)
    train(training, 2)
    before = training.state()
    training.evaluate(*pixels_and_labels(NETWORK, BATCH, 7))
    assert all(torch.equal(tensor, before[name]) for name, tensor in training.state().items())


def test_recalibrated_statistics_are_the_plain_average_of_the_batches(build: Build) -> None:
    training, reference = (build("standard", NETWORK, BATCH, seed=2) for _ in range(2))
    train(training, 3)
    reference.restore(training.state())
    batches = [pixels_and_labels(NETWORK, BATCH, seed) for seed in (11, 12, 13)]
    training.recalibrate(batches)
    means = []
    for batch in batches:
        reference.recalibrate([batch])
        means.append(torch.stack([layer.moving[0] for layer in reference.layers[:1]]))
    torch.testing.assert_close(training.layers[0].moving[0], torch.stack(means).mean(0)[0])


def test_a_recalibration_weighs_a_short_last_batch_by_its_items(build: Build) -> None:
    training, short = build("lowmem", NETWORK, BATCH), 2
    images, last = (pixels_and_labels(NETWORK, BATCH, seed)[0] for seed in (11, 12))

    def recalibrated(*batches: memoryview) -> torch.Tensor:
        training.recalibrate([(each, memoryview(b"")) for each in batches])
        return training.layers[0].moving.clone()

    last = last[: short * len(last) // BATCH]
    expected = (BATCH * recalibrated(images) + short * recalibrated(last)) / (BATCH + short)
    torch.testing.assert_close(recalibrated(images, last), expected)


def test_the_moving_averages_follow_the_schedule(build: Build) -> None:
    """Two batches in turn at rates that move no weight: their statistics are known, and so is the weighted average."""
    training = build("lowmem", NETWORK, BATCH)
    batches = [pixels_and_labels(NETWORK, BATCH, seed) for seed in (11, 12)]
    known = []
    for batch in batches:
        training.recalibrate([batch])
        known.append(training.layers[0].moving.double())
    training = build("lowmem", NETWORK, BATCH)
    expected, cooled = torch.zeros_like(known[0]), 1.0
    for number in range(1, 151):
        expected += average_share(number, cooled, BATCH) * (known[number % 2] - expected)
        cooled = 1.0 if number < 50 else 0.3
        training.step(*batches[number % 2], 1e-30 * cooled, lambda phase: None)
    torch.testing.assert_close(training.layers[0].moving.double(), expected, rtol=1e-4, atol=1e-4)


def test_read_only_buffers_are_taken(build: Build) -> None:
    images, labels = pixels_and_labels(NETWORK, BATCH, 0)
    one, other = (build("lowmem", NETWORK, BATCH) for _ in range(2))
    frozen = memoryview(bytes(images)), memoryview(bytes(labels))
    assert one.step(*frozen, 1e-3, lambda phase: None) == other.step(images, labels, 1e-3, lambda phase: None)


def test_a_refused_allocation_is_out_of_memory(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    training = build("lowmem", NETWORK, BATCH)

    def refuse(*args: object, **kwargs: object) -> None:
        raise RuntimeError(
            "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried"
        )

    monkeypatch.setattr(torch, "empty", refuse)
    with pytest.raises(OutOfMemoryError, match="can't allocate memory"):
        train(training, 1)


def test_a_recipe_that_needs_one_buffer_is_sent_to_the_native_engine() -> None:
    job = Job(NETWORK, recipe("lean"), optimizer("adam"), BATCH, 1, 0, {})
    with pytest.raises(UnsupportedError, match="native"):
        create(job)
