"""Which data sets there are: one row a name, each with the module that knows its files."""

from importlib import import_module
from pathlib import Path
from typing import Final, NamedTuple, Protocol, cast

from workloads.datasets.base import PreparedDataset
from workloads.datasets.cache import Cache
from workloads.datasets.download import Progress, download
from workloads.datasets.files import DataFile, Source, check, locate
from workloads.errors import DataError, DataFetchError, UnknownNameError


class Row(NamedTuple):
    """A data set's name, the module of its loader, and what it is in one line."""

    name: str
    module: str
    summary: str


class Loader(Protocol):
    """What the module of a data set offers."""

    ORIGIN: str  # where the files come from, for those who must bring them

    def files_of(self, name: str) -> tuple[tuple[DataFile, ...], ...]:
        """Return alternatives, best first: each a set of published files that makes the data set."""

    def prepare(self, name: str, data_dir: Path | None, cache: Cache) -> PreparedDataset:
        """Check, unpack and describe the data set."""


class Found(NamedTuple):
    """A published file of a data set: where it lies (None if it does not) and what is wrong with it."""

    file: DataFile
    path: Path | None
    fault: str | None


_HERE = "workloads.datasets."
ROWS: Final[tuple[Row, ...]] = (
    Row("mnist", _HERE + "mnist", "handwritten digits, 1x28x28, 60,000 + 10,000; a sample is packaged"),
    Row("cifar10", _HERE + "cifar10", "photographs, 3x32x32, 50,000 + 10,000; the best archive there is"),
    Row("cifar10-jpeg75", _HERE + "cifar10", "CIFAR-10 with pixels passed once through JPEG, quality 75"),
    Row("cifar10-lossless-subset", _HERE + "cifar10", "CIFAR-10's exact pixels, 8,068 + 1,017 of them"),
    Row("svhn", _HERE + "svhn", "house numbers, 3x32x32, 604,388 (train and extra) + 26,032"),
    Row("imagenet", _HERE + "imagenet", "class folders of photographs, resized to 3x224x224; extra 'images'"),
    Row("synthetic", _HERE + "synthetic", "noise, 3x32x32 or synthetic:CxHxW:CLASSES, for resource runs"),
    Row("synthetic-mnist", _HERE + "synthetic", "noise in MNIST's shape"),
    Row("synthetic-cifar10", _HERE + "synthetic", "noise in CIFAR-10's shape"),
    Row("synthetic-svhn", _HERE + "synthetic", "noise in SVHN's shape"),
    Row("synthetic-imagenet", _HERE + "synthetic", "noise in ImageNet's shape, 3x224x224, 1,000 classes"),
)


def names() -> list[str]:
    """Return every name, in the order of the rows."""
    return [row.name for row in ROWS]


def row_of(name: str) -> Row:
    """Return the row of a name; `synthetic:CxHxW` has that of `synthetic`.

    Raises:
        UnknownNameError: no row has this name.
    """
    known = name.partition(":")[0] if name.startswith("synthetic:") else name
    for row in ROWS:
        if row.name == known:
            return row
    raise UnknownNameError("data set", name, names())


def loader_of(name: str) -> Loader:
    """Return the module that loads the data set, imported now."""
    return cast(Loader, import_module(row_of(name).module))


def origin_of(name: str) -> str:
    """Return where the files of a data set come from, for those who must bring them."""
    return loader_of(name).ORIGIN


def prepare(name: str, data_dir: Path | None, cache_dir: Path | None = None) -> PreparedDataset:
    """Check and unpack a data set; see `workloads.datasets.base.prepare`."""
    return loader_of(name).prepare(name, data_dir, Cache(cache_dir))


def found(name: str, data_dir: Path, verify: bool = False) -> list[list[Found]]:
    """Return, for each alternative that makes the set, which of its files lie in the data folder.

    With `verify` lengths and checksums are checked and `fault` says what is wrong; a set without
    published files (synthetic, class folders) has no alternative.
    """
    return [
        [_look_at(file, data_dir, name, verify) for file in files] for files in loader_of(name).files_of(name)
    ]


def fetch(name: str, data_dir: Path, progress: Progress = lambda file, done_bytes: None) -> list[Path]:
    """Fetch the published files of a data set that are missing or damaged, and return where all lie.

    Args:
        name: a name of `names()`.
        data_dir: folder to fetch into; made if missing. Files appear in it whole and checked, or not at all.
        progress: called with the file and the bytes that have arrived, about once a megabyte.

    Raises:
        UnknownNameError: no row has this name.
        DataFetchError: nobody publishes the files for fetching, no network, or other bytes than published.
        DataCacheError: the folder cannot be written.
    """
    loader = loader_of(name)
    fetchable = [files for files in loader.files_of(name) if all(file.urls for file in files)]
    if not fetchable:
        raise DataFetchError(f"{name} is not there to be fetched; it comes from {loader.ORIGIN}")
    looked_at = [_look_at(file, data_dir, name, verify=True) for file in fetchable[0]]
    return [
        download(file, data_dir, progress) if path is None or fault else path
        for file, path, fault in looked_at
    ]


def _look_at(file: DataFile, data_dir: Path, name: str, verify: bool) -> Found:
    path, fault = locate(file, data_dir), None
    if path is not None and verify:
        try:
            check(Source(file, path), name)
        except DataError as error:
            fault = str(error)
    return Found(file, path, fault)
