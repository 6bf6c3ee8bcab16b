"""Does the loss of the ImageNet networks fall on real pictures, at 224 × 224? One record a network, with each curve.

    HARNESS_DATA=... python benchmarks/photographs.py [--workload bireal18-imagenet] [--steps 40] [--batch-size 8]

ImageNet itself is not needed: pictures of a few of CIFAR-10's classes are enlarged to 256 × 256 and saved as JPEG
files in class folders, which `harness run` then takes as it takes ImageNet's: decoded by Pillow, cut to 224 × 224,
shifted and mirrored. They are small photographs made large, smoother than any that a camera takes at that size, so the
record says what they are made of. Each trainer runs in a fresh process with one thread.

A network that only learned which of the 1,000 classes occur would come down to ln(classes), so the record has that
beside the mean losses of the first and the last quarter. Writes benchmarks/results/photographs-WORKLOAD.json; exits
with 1 where a loss did not fall.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import fmean
from typing import Any

from PIL import Image

from results import store
from results.schema import Document, Trial
from workloads.datasets.base import Split, prepare
from workloads.datasets.reader import BatchReader

RESULTS = Path(__file__).parent / "results"
WORKLOADS = ("resnete18-imagenet", "bireal18-imagenet")
SOURCE_PX, ENLARGED_PX, JPEG_QUALITY = 32, 256, 95
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
VALIDATION_PICTURES = 2
"""Of a class: the reader wants the folder, and nothing is made of the accuracy on a handful of pictures."""


def enlarged(pixels: bytes) -> Image.Image:
    """Return a picture of 256 × 256 from 3 × 32 × 32 bytes."""
    size = (SOURCE_PX, SOURCE_PX)
    area = SOURCE_PX * SOURCE_PX
    bands = [Image.frombytes("L", size, pixels[band * area : (band + 1) * area]) for band in range(3)]
    return Image.merge("RGB", bands).resize((ENLARGED_PX, ENLARGED_PX), Image.Resampling.BICUBIC)


def write_folders(split: Split, root: Path, classes: int, pictures: int) -> None:
    """Fill one folder a class with its first pictures in the files' order."""
    missing = dict.fromkeys(range(classes), pictures)
    pixels, label = bytearray(split.image_bytes), bytearray(1)
    with BatchReader(split, 1, shuffle=False) as reader:
        while any(missing.values()):
            reader.read_into(pixels, label)
            if missing.get(label[0], 0):
                missing[label[0]] -= 1
                folder = root / CLASSES[label[0]]
                folder.mkdir(parents=True, exist_ok=True)
                name = f"{pictures - missing[label[0]]:03}.JPEG"
                enlarged(bytes(pixels)).save(folder / name, quality=JPEG_QUALITY)


def train(workload: str, folder: Path, given: argparse.Namespace) -> Document:
    """Run both trainers in fresh processes; return the harness's document."""
    path = folder / f"{workload}.json"
    options = {
        "--workload": workload, "--engine": "torch", "--data-dir": folder, "--batch-size": given.batch_size,
        "--steps": given.steps, "--warmup": 0, "--repeats": 1, "--threads": 1, "--seed": given.seed,
        "--meter": "none", "--json": path,
    }  # fmt: skip
    command = [sys.executable, "-P", "-m", "harness", "run", "--trainer", "standard", "--trainer", "lowmem"]
    command += ["--setting", f"learning_rate={given.learning_rate}"]
    command += [str(part) for option in options.items() for part in option]
    # The decoded pictures go with the folder.
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    return store.read(path)


def figures(trial: Trial, classes: int) -> dict[str, Any]:
    """Return the curve of one trainer and what is to be read from it."""
    losses = [loss for loss in trial.quality.train_loss if loss is not None]
    assert losses and len(losses) == len(trial.quality.train_loss), trial.reason
    quarter = max(1, len(losses) // 4)
    first, last = fmean(losses[:quarter]), fmean(losses[-quarter:])
    return {
        "first_quarter_loss": first, "last_quarter_loss": last, "fell": last < first,
        "below_ln_classes": last < math.log(classes),
        "training_peak_bytes": trial.memory.training_peak_bytes, "train_loss": losses,
    }  # fmt: skip


def pictures_of(description: str, given: argparse.Namespace) -> dict[str, Any]:
    """Return what the pictures are, for the record."""
    return {
        "made_of": description,
        "how": f"enlarged from {SOURCE_PX} to {ENLARGED_PX} pixels a side (bicubic), saved as JPEG {JPEG_QUALITY}",
        "classes": CLASSES[: given.classes],
        "pictures_a_class": given.pictures,
        "ln_classes": math.log(given.classes),
    }


def main() -> int:
    """Make the folders, train, print and record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workload", action="append", choices=WORKLOADS)
    parser.add_argument("--classes", type=int, default=3, choices=range(2, len(CLASSES) + 1))
    parser.add_argument("--pictures", type=int, default=8, help="of a class")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--steps", type=int, default=40, choices=range(4, 101), metavar="4..100")
    parser.add_argument("--learning-rate", type=float, default=3e-4, help="its largest, of a cosine to 0")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    data = prepare("cifar10", Path(os.environ["HARNESS_DATA"]))
    pictures, all_fell = pictures_of(data.description, given), True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_folders(data.train, folder / "imagenet" / "train", given.classes, given.pictures)
        write_folders(data.test, folder / "imagenet" / "val", given.classes, VALIDATION_PICTURES)
        for workload in given.workload or WORKLOADS:
            document = train(workload, folder, given)
            found = {trial.trainer: figures(trial, given.classes) for trial in document.trials}
            write(workload, given, pictures, document, found)
            all_fell &= all(each["fell"] for each in found.values())
    return 0 if all_fell else 1


def write(
    workload: str,
    given: argparse.Namespace,
    pictures: dict[str, Any],
    document: Document,
    found: dict[str, dict[str, Any]],
) -> None:
    """Print one network's losses and write its record."""
    for trainer, each in found.items():
        print(f"{workload} {trainer:9} loss {each['first_quarter_loss']:.3f} → {each['last_quarter_loss']:.3f}"
              f" (ln classes {pictures['ln_classes']:.3f})")  # fmt: skip
    host = document.host
    settings = {key: getattr(given, key) for key in ("batch_size", "steps", "seed")}
    record = {"created": document.created.isoformat(), "workload": workload, "given": settings | {"threads": 1},
              "settings": document.trials[0].settings, "pictures": pictures,
              "cpu": host.cpu, "cores": host.cores, "kernel": host.kernel, "load_before": host.load_before,
              "libraries": host.libraries, "trainers": found}  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"photographs-{workload}.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
