"""The ImageNet networks at work: photographs from class folders at reduced width, and whole steps at 224 × 224."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the torch extra is not installed")
image_module = pytest.importorskip("PIL.Image", reason="Pillow (extra 'images') decodes the photographs")

from tests_support import Build, pixels_and_labels  # noqa: E402

from workloads.datasets.base import prepare  # noqa: E402
from workloads.datasets.reader import BatchReader  # noqa: E402
from workloads.memory_model import model  # noqa: E402
from workloads.models import bireal18, resnete18  # noqa: E402
from workloads.models.residual import residual_network  # noqa: E402

CLASSES, TRAIN, BATCH = 3, 8, 8
NETWORKS = {"resnete18": resnete18, "bireal18": bireal18}


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """JPEG files of stripes in a class's direction and colour, at random phase, contrast, size and noise."""
    random = np.random.default_rng(0)
    for part, count in (("train", TRAIN), ("val", 2)):
        for label in range(CLASSES):
            folder = tmp_path / "imagenet" / part / f"class{label}"
            folder.mkdir(parents=True)
            for index in range(count):
                picture(label, random).save(folder / f"{index}.JPEG", quality=90)
    return tmp_path


def picture(label: int, random: np.random.Generator) -> "image_module.Image":
    height, width = random.integers(230, 320, 2)
    y, x = np.mgrid[:height, :width]
    angle = np.pi * label / CLASSES
    wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) / 9 + random.uniform(0, 6))
    colour = 0.3 + 0.7 * np.eye(3)[label]
    pixels = (
        128 + random.uniform(40, 90) * wave[..., None] * colour + random.normal(0, 15, (height, width, 3))
    )
    return image_module.fromarray(pixels.clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("trainer", ["standard", "lowmem"])
def test_loss_falls_on_a_folder_of_pictures(
    trainer: str, folders: Path, tmp_path: Path, build: Build
) -> None:
    """The published layout at an eighth of the width, on 224 × 224 pixels that the ImageNet reader decoded."""
    network = residual_network(
        "narrow", "clip", clip_at=1.3, image_shape=(3, 224, 224), widths=(8, 16, 32, 64), convolutions=1
    )
    data = prepare("imagenet", folders, tmp_path / "cache")
    images = memoryview(bytearray(BATCH * 3 * 224 * 224))
    labels = memoryview(bytearray(2 * BATCH)).cast("H")
    training = build(trainer, network, BATCH)
    losses = []
    with BatchReader(data.train, BATCH, seed=0) as reader:
        for _ in range(18):
            assert reader.read_into(images, labels) == BATCH
            losses.append(training.step(images, labels, 5e-3, lambda phase: None))
    assert losses[0] > np.log(1000) - 1  # nothing known of a thousand classes
    assert np.mean(losses[-3:]) < 0.4 * np.mean(losses[:3])
    assert training.saturated == 0


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("trainer", ["standard", "lowmem"])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_whole_network_trains_on_224_pixels(name: str, trainer: str, build: Build) -> None:
    """Two steps on one batch; what autograd keeps is the honest model's, byte by byte."""
    network = NETWORKS[name].specification()
    training = build(trainer, network, 2)
    images, _ = pixels_and_labels(network._replace(classes=2), 2, 0)
    labels = memoryview(bytearray(np.array([999, 3], dtype="<u2").tobytes())).cast("H")
    first, second = (training.step(images, labels, 1e-3, lambda phase: None) for _ in range(2))
    assert second < first
    assert training.saturated == 0
    job = training.job
    modelled = model(network, job.recipe, job.optimizer, 2).by_variable()
    counted = training.ledger()
    assert {kind: counted[kind] for kind in modelled if kind != "scratch"} == {
        kind: size for kind, size in modelled.items() if kind != "scratch"
    }
