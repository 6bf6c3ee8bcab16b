"""MNIST: 60,000 + 10,000 handwritten digits, 28x28 uint8 (LeCun, Cortes, Burges; CC BY-SA 3.0).

The data folder holds the four official files in `mnist/`. Without a data folder the packaged sample
serves: every sixth training and every fifth test image, 10,000 + 2,000 (see `samples/README.md`).
"""

from pathlib import Path
from typing import Final

from workloads.datasets import idx
from workloads.datasets.base import Column, PreparedDataset, Segment, Split, image_split
from workloads.datasets.cache import Cache, Facts
from workloads.datasets.files import DataFile, Source, require
from workloads.datasets.packing import recipe_for

ORIGIN: Final = "https://github.com/cvdfoundation/mnist and mirrors of http://yann.lecun.com/exdb/mnist"
CLASSES: Final = 10
SIDE: Final = 28
IMAGE_BYTES: Final = SIDE * SIDE
PARTS: Final = ("train-images", "train-labels", "test-images", "test-labels")
SAMPLES: Final = Path(__file__).parent / "samples"

_HOSTS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)


def _official(name: str, size_bytes: int, md5: str, sha256: str) -> DataFile:
    return DataFile(name, size_bytes, md5, sha256, "mnist", tuple(host + name for host in _HOSTS))


FILES: Final[tuple[DataFile, ...]] = (
    _official(
        "train-images-idx3-ubyte.gz",
        9_912_422,
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    ),
    _official(
        "train-labels-idx1-ubyte.gz",
        28_881,
        "d53e105ee54ea40749a09fcbcd1e9432",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    ),
    _official(
        "t10k-images-idx3-ubyte.gz",
        1_648_877,
        "9fb629c4189551a2d022fa330f9573f3",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    ),
    _official(
        "t10k-labels-idx1-ubyte.gz",
        4_542,
        "ec29112dd5afa0611ce80d1b7f02629c",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
)

SAMPLE_FILES: Final[tuple[DataFile, ...]] = (
    DataFile(
        "mnist-train-every6-images-idx3-ubyte.gz",
        1_565_731,
        "6ba57135a60e3a55be617176d4a1aee3",
        "0847119ea48d746b5be423e4f53dda06b5fdef7247a8ab4f628b4d0c7c88d427",
    ),
    DataFile(
        "mnist-train-every6-labels-idx1-ubyte.gz",
        5_094,
        "22472dad4e5114aa149be24185cc8b10",
        "251abe65a11385dd9d10a17c2fb40a21f339b89b6955c15bb18297e16b8c5094",
    ),
    DataFile(
        "mnist-t10k-every5-images-idx3-ubyte.gz",
        320_039,
        "1850c63c95b1a3fc4769931a04388099",
        "21975b872a7f02dcad2075e764a44f64c147020929d92cd0fb8da555a730017a",
    ),
    DataFile(
        "mnist-t10k-every5-labels-idx1-ubyte.gz",
        1_015,
        "cccdafe2e47f7c90093806e6240ba6fb",
        "6fb827417518d943611b31c7b601f2180323466786e2fc4cc87d2705a9af3fa7",
    ),
)


def files_of(name: str) -> tuple[tuple[DataFile, ...], ...]:
    """Return the alternatives of published files, any one of which makes the set."""
    return (FILES,)


def prepare(name: str, data_dir: Path | None, cache: Cache) -> PreparedDataset:
    """Unpack the official files, or the packaged sample where there is no data folder."""
    if data_dir is None:
        variant, sources = "sample", [Source(file, SAMPLES / file.name) for file in SAMPLE_FILES]
    else:
        variant, sources = "full", require(FILES, data_dir, name)
    folder, counts = cache.get(
        recipe_for(f"mnist-{variant}", name, sources, lambda into: _unpack(sources, into))
    )
    train, test = (_split(folder, counts, part) for part in ("train", "test"))
    note = "" if variant == "full" else f" (sample: {train.count:,} + {test.count:,})"
    return PreparedDataset("mnist", variant, f"MNIST{note}", (1, SIDE, SIDE), "chw", CLASSES, train, test)


def _unpack(sources: list[Source], folder: Path) -> Facts:
    """Write one plain idx file a source and return its number of items under the same name."""
    counts = {}
    for part, source in zip(PARTS, sources, strict=True):
        shape, limit = ((SIDE, SIDE), 256) if part.endswith("images") else ((), CLASSES)
        counts[part] = idx.unpack(source.path, folder / part, shape, limit)
    for split in ("train", "test"):
        idx.check_counts(
            counts[f"{split}-images"], counts[f"{split}-labels"], f"{sources[0].path.parent}: {split}"
        )
    return counts


def _split(folder: Path, counts: Facts, part: str) -> Split:
    count = counts[f"{part}-images"]
    images, labels = idx.header_bytes((SIDE, SIDE)), idx.header_bytes(())
    return image_split(
        Column((Segment(str(folder / f"{part}-images"), images, count),), IMAGE_BYTES, IMAGE_BYTES),
        Column((Segment(str(folder / f"{part}-labels"), labels, count),), 1, 1),
        count,
        CLASSES,
    )
