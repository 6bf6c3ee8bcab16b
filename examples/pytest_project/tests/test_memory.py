"""What this project promises about memory, as tests."""

import pytest


@pytest.mark.memory_ceiling("340 MiB", workload="mlp-mnist", trainer="lowmem", engine="torch")
def test_learning_digits_fits_beside_torch(harness):
    """Torch alone holds about 220 MiB; the process as a whole must stay below 340."""
    assert harness.trial.quality.train_loss


@pytest.mark.memory_ceiling("60 MiB", workload="mlp-mnist", trainer="lowmem", engine="torch", of="training")
def test_training_itself_is_small():
    """Only what training adds to the loaded engine; `of="training"` survives another version of torch."""


def test_low_memory_training_is_smaller_at_a_large_batch(harness):
    """Two trainings, compared: at 1,000 images a batch the activations decide."""
    peaks = {
        trainer: harness.measure(
            workload="mlp-mnist", trainer=trainer, engine="torch", batch_size=1000, steps=1
        ).memory.training_peak_bytes
        for trainer in ("standard", "lowmem")
    }
    assert peaks["lowmem"] < peaks["standard"]
