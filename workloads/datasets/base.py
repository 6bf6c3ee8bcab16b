"""What a prepared data set is: where each item lies, as plain data that travels to the worker.

The parent prepares (checks, decompresses, converts), the worker only reads. After preparing, every
item lies at a computable position of a plain file, so that a worker, in Python or C++, reads it with
one `pread` and keeps no copy of the set. This module imports nothing that a small worker does not have.
"""

from workloads.errors import DataCorruptError, DataError
from workloads.light_typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

LAYOUTS = ("chw", "hwc")


class Segment(NamedTuple):
    """A run of items in one file: item k of the run begins at byte `offset + k * stride`."""

    path: str
    offset: int
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody calls here


class Column(NamedTuple):
    """Items of `item_bytes` bytes, `stride` bytes apart, over one file or several in order."""

    segments: tuple[Segment, ...]
    stride: int
    item_bytes: int


class Split(NamedTuple):
    """Images and their labels. Pixels are uint8; labels are uint8 or little-endian uint16.

    A split with a `noise_seed` has no files: its reader makes the items (see `synthetic.py`).
    """

    images: Column
    labels: Column
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody calls here
    classes: int
    noise_seed: int | None = None

    @property
    def image_bytes(self) -> int:
        """Bytes of one image."""
        return self.images.item_bytes

    @property
    def label_bytes(self) -> int:
        """Bytes of one label: 1 or 2."""
        return self.labels.item_bytes


class PreparedDataset(NamedTuple):
    """A data set that is ready to be read.

    `variant` says which data was really used ("full", "sample", "jpeg75", "lossless-subset",
    "folder", "synthetic") and goes into every result; `description` is what a table may print.
    `shape` is (channels, height, width) whatever the layout of the bytes is.
    """

    name: str
    variant: str
    description: str
    shape: tuple[int, int, int]
    layout: str
    classes: int
    train: Split
    test: Split

    def to_json(self) -> dict[str, Any]:
        """Return plain dicts, lists, strings and integers for a job document."""
        document: dict[str, Any] = self._asdict()
        document["shape"] = list(self.shape)
        document["train"], document["test"] = _split_to_json(self.train), _split_to_json(self.test)
        return document

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "PreparedDataset":
        """Return what `to_json` wrote; raises DataCorruptError for a document it did not write."""
        try:
            channels, height, width = (int(size) for size in document["shape"])
            prepared = cls(
                name=str(document["name"]),
                variant=str(document["variant"]),
                description=str(document["description"]),
                shape=(channels, height, width),
                layout=str(document["layout"]),
                classes=int(document["classes"]),
                train=_split_from_json(document["train"]),
                test=_split_from_json(document["test"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataCorruptError(f"the job's data set cannot be read back: {error!r}") from error
        return _checked(prepared)


def image_split(
    images: Column, labels: Column, count: int, classes: int, noise_seed: int | None = None
) -> Split:
    """Return a split after checking that its columns describe `count` items of one class label each.

    Raises:
        DataError: counts differ, labels are too narrow for the classes, or a size makes no sense.
    """
    split = Split(images, labels, count, classes, noise_seed)
    if count < 1 or images.item_bytes < 1 or labels.item_bytes not in (1, 2):
        raise DataError(
            f"a split of {count} items of {images.item_bytes} bytes with labels of "
            f"{labels.item_bytes} bytes makes no sense"
        )
    if not 1 <= classes <= 1 << 8 * labels.item_bytes:
        raise DataError(f"{classes} classes do not fit labels of {labels.item_bytes} bytes")
    for what, column in (("images", images), ("labels", labels)):
        described = sum(segment.count for segment in column.segments)
        if noise_seed is None and described != count:
            raise DataError(f"the {what} column describes {described} items, the split {count}")
    return split


def prepare(name: str, data_dir: "Path | None", cache_dir: "Path | None" = None) -> PreparedDataset:
    """Check and unpack a data set (parent process only) and return where its items lie.

    Args:
        name: a name of `workloads.datasets.registry.names()`.
        data_dir: the data folder, or None for what ships with the package (MNIST's sample).
        cache_dir: where unpacked files are kept; None for `$XDG_CACHE_HOME/edge-harness`, or a private
            folder under the temporary directory where that cannot be written.

    Raises:
        UnknownNameError: no registry row has this name.
        DataMissingError: a file is not in the data folder; names it and the command that fetches it.
        DataCorruptError: a file is truncated, foreign or fails its published checksum.
        DataCacheError: the unpacked copy cannot be written.
        ExtraMissingError: a library that this format needs is not installed.
    """
    # Imported here: the registry knows every format, and the worker must not pay for it.
    from workloads.datasets.registry import prepare as prepare_by_name

    return prepare_by_name(name, data_dir, cache_dir)


def _checked(prepared: PreparedDataset) -> PreparedDataset:
    channels, height, width = prepared.shape
    image_bytes = channels * height * width
    if prepared.layout not in LAYOUTS:
        raise DataCorruptError(f"the job's data set has layout {prepared.layout!r}, not one of {LAYOUTS}")
    if {prepared.train.image_bytes, prepared.test.image_bytes} != {image_bytes}:
        raise DataCorruptError(f"the job's data set says {prepared.shape} but its images have another size")
    return prepared


def _split_to_json(split: Split) -> dict[str, Any]:
    document: dict[str, Any] = split._asdict()
    for what in ("images", "labels"):
        column: Column = document[what]
        document[what] = column._asdict() | {"segments": [part._asdict() for part in column.segments]}
    return document


def _split_from_json(document: dict[str, Any]) -> Split:
    seed = document["noise_seed"]
    try:
        return image_split(
            _column_from_json(document["images"]),
            _column_from_json(document["labels"]),
            int(document["count"]),
            int(document["classes"]),
            None if seed is None else int(seed),
        )
    except DataError as error:
        raise DataCorruptError(f"the job's data set is inconsistent: {error}") from error


def _column_from_json(document: dict[str, Any]) -> Column:
    segments = tuple(
        Segment(str(part["path"]), int(part["offset"]), int(part["count"])) for part in document["segments"]
    )
    return Column(segments, int(document["stride"]), int(document["item_bytes"]))
