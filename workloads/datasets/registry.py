"""Which data sets there are: one row a name, each with the module that knows its files."""

from importlib import import_module
from pathlib import Path
from typing import Final, NamedTuple, Protocol, cast

from workloads.datasets.base import PreparedDataset
from workloads.datasets.cache import Cache
from workloads.datasets.files import DataFile
from workloads.errors import UnknownNameError


class Row(NamedTuple):
    """A data set's name, the module of its loader, and what it is in one line."""

    name: str
    module: str
    summary: str


class Loader(Protocol):
    """What the module of a data set offers."""

    def files_of(self, name: str) -> tuple[tuple[DataFile, ...], ...]:
        """Return alternatives, best first: each a set of published files that makes the data set."""

    def prepare(self, name: str, data_dir: Path | None, cache: Cache) -> PreparedDataset:
        """Check, unpack and describe the data set."""


_HERE = "workloads.datasets."
ROWS: Final[tuple[Row, ...]] = (
    Row("mnist", _HERE + "mnist", "handwritten digits, 1x28x28, 60,000 + 10,000; a sample is packaged"),
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


def prepare(name: str, data_dir: Path | None, cache_dir: Path | None = None) -> PreparedDataset:
    """Check and unpack a data set; see `workloads.datasets.base.prepare`."""
    return loader_of(name).prepare(name, data_dir, Cache(cache_dir))
