"""CIFAR-10: 50,000 + 10,000 photographs, 3x32x32 uint8 (Krizhevsky, Nair, Hinton 2009).

Four archives make it, looked for in this order under the name `cifar10`: the official binary version and
the official Python version (`full`), every image passed once through JPEG (`jpeg75`, not the official
pixels: accuracy is not to be put beside published figures without saying so), and a subset with the
exact pixels (`lossless-subset`). `cifar10-jpeg75` and `cifar10-lossless-subset` name the last two.
"""

from pathlib import Path
from typing import Final, NamedTuple

from workloads.datasets import archive
from workloads.datasets.archive import RECORD_BYTES, Member
from workloads.datasets.base import PreparedDataset
from workloads.datasets.cache import Cache, Facts
from workloads.datasets.files import DataFile, Source, locate
from workloads.datasets.packing import recipe_for, record_split
from workloads.errors import DataMissingError

ORIGIN: Final = "the archives of https://www.cs.toronto.edu/~kriz/cifar.html, or a copy made from them"
CLASSES: Final = archive.CLASSES
_HOST: Final = "https://www.cs.toronto.edu/~kriz/"


class Form(NamedTuple):
    """One archive that makes the set: how its result is called, and its members in order."""

    variant: str
    description: str
    file: DataFile
    train: tuple[Member, ...]
    test: tuple[Member, ...]


def _batches(pattern: str, records: tuple[int, ...], pickled: bool = False) -> tuple[Member, ...]:
    return tuple(Member(pattern.format(k, n), n, pickled) for k, n in enumerate(records, 1))


FORMS: Final[tuple[Form, ...]] = (
    Form(
        "full",
        "CIFAR-10",
        DataFile(
            "cifar-10-binary.tar.gz",
            170_052_171,
            "c32a1d4ab5d03f1284b67883e8d87530",
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            urls=(_HOST + "cifar-10-binary.tar.gz",),
        ),
        _batches("data_batch_{}.bin", (10_000,) * 5),
        (Member("test_batch.bin", 10_000),),
    ),
    Form(
        "full",
        "CIFAR-10",
        DataFile(
            "cifar-10-python.tar.gz",
            170_498_071,
            "c58f30108f718f92721af3b95e74349a",
            "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
            urls=(_HOST + "cifar-10-python.tar.gz",),
        ),
        _batches("data_batch_{}", (10_000,) * 5, pickled=True),
        (Member("test_batch", 10_000, pickled=True),),
    ),
    Form(
        "jpeg75",
        "CIFAR-10 (JPEG quality 75)",
        DataFile(
            "cifar-10-jpeg75-binary.tar.gz",
            173_794_586,
            "3f19d0299625ab1822a15f1222e8b530",
            "c9c44140b045640aa1dad7914dedbdbb43ee80ca8547923b5eec50f219890ca5",
        ),
        _batches("data_batch_{}.bin", (10_000,) * 5),
        (Member("test_batch.bin", 10_000),),
    ),
    Form(
        "lossless-subset",
        "CIFAR-10 (exact subset: 8,068 + 1,017)",
        DataFile(
            "cifar-10-lossless-subset.tar.gz",
            25_764_939,
            "34b9ed0e887cdd13dd620a0dd2a58766",
            "8a358a0c08b4e2ee64233f1fb9321ae302f0b3078414b2d02cf4024ae2519f94",
        ),
        _batches("data_batch_{}_first{}.bin", (4_000, 1_017, 1_017, 1_017, 1_017)),
        (Member("test_batch_first1017.bin", 1_017),),
    ),
)


def forms_of(name: str) -> tuple[Form, ...]:
    """Return the forms that a name allows, best first."""
    variant = name.removeprefix("cifar10").removeprefix("-")
    return tuple(form for form in FORMS if variant in ("", form.variant))


def files_of(name: str) -> tuple[tuple[DataFile, ...], ...]:
    """Return the alternatives of published files, any one of which makes the set."""
    return tuple((form.file,) for form in forms_of(name))


def prepare(name: str, data_dir: Path | None, cache: Cache) -> PreparedDataset:
    """Unpack the best archive there is into one file of records a split."""
    form, path = _find(name, data_dir)
    recipe = recipe_for(
        f"cifar10-{form.variant}", name, [Source(form.file, path)], lambda into: unpack(form, path, into)
    )
    folder, counts = cache.get(recipe)
    splits = [
        record_split(folder / part, counts[part], RECORD_BYTES - 1, CLASSES) for part in ("train", "test")
    ]
    return PreparedDataset(
        "cifar10", form.variant, form.description, (3, 32, 32), "chw", CLASSES, splits[0], splits[1]
    )


def unpack(form: Form, path: Path, folder: Path) -> Facts:
    """Write the records of an archive into `train` and `test` and return their counts.

    Raises:
        DataCorruptError: see `archive.extract`.
    """
    archive.extract(path, {"train": form.train, "test": form.test}, folder)
    return {
        part: sum(m.records for m in members)
        for part, members in (("train", form.train), ("test", form.test))
    }


def _find(name: str, data_dir: Path | None) -> tuple[Form, Path]:
    forms = forms_of(name)
    wanted = " or ".join(form.file.name for form in forms)
    if data_dir is None:
        raise DataMissingError(
            f"no sample of {name} is packaged: name the folder that has {wanted} with --data-dir or "
            "HARNESS_DATA, get it with 'harness data fetch cifar10 --data-dir DIR', or give --synthetic, which needs "
            "no data"
        )
    for form in forms:
        path = locate(form.file, data_dir)
        if path is not None:
            return form, path
    raise DataMissingError(
        f"{data_dir} has no {wanted}; 'harness data fetch cifar10 --data-dir {data_dir}' gets the official "
        "binary version where there is a network"
    )
