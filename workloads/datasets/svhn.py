"""SVHN, cropped digits: 73,257 + 531,131 extra for training, 26,032 for testing, 3x32x32 uint8.

Netzer et al., *Reading Digits in Natural Images with Unsupervised Feature Learning*, 2011. The paper
trains on train and extra together; without the extra file the variant is "without-extra".

Pixel order: the files hold `X[row, column, channel, item]` in column-major order, so an image's bytes
come channel by channel, in it column by column: they are transposed to rows here. `y` counts the digit 0
as class 10: it becomes label 0.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from workloads.datasets import matfile
from workloads.datasets.base import Column, PreparedDataset, Segment, Split, image_split
from workloads.datasets.cache import Cache, Facts
from workloads.datasets.files import DataFile, Source, locate, require
from workloads.datasets.packing import recipe_for
from workloads.errors import DataCorruptError, DataMissingError

ORIGIN: Final = "http://ufldl.stanford.edu/housenumbers (format 2, cropped digits)"
CLASSES: Final = 10
SIDE: Final = 32
IMAGE_BYTES: Final = 3 * SIDE * SIDE
BLOCK_IMAGES: Final = 340  # about a megabyte


def _file(name: str, size_bytes: int, md5: str, sha256: str) -> DataFile:
    return DataFile(
        name, size_bytes, md5, sha256, "svhn", ("http://ufldl.stanford.edu/housenumbers/" + name,)
    )


TRAIN: Final = _file(
    "train_32x32.mat",
    182_040_794,
    "e26dedcc434d2e4c54c9b2d4a06d8373",
    "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
)
EXTRA: Final = _file(
    "extra_32x32.mat",
    1_329_278_602,
    "a93ce644f1a588dc4d68dda5feec44a7",
    "a133a4beb38a00fcdda90c9489e0c04f900b660ce8a316a5e854838379a71eb3",
)
TEST: Final = _file(
    "test_32x32.mat",
    64_275_384,
    "eb5a983be6a315427106f1b164d9cef3",
    "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
)


def files_of(name: str) -> tuple[tuple[DataFile, ...], ...]:
    """Return the alternatives of published files, any one of which makes the set."""
    return (TRAIN, EXTRA, TEST), (TRAIN, TEST)


def prepare(name: str, data_dir: Path | None, cache: Cache) -> PreparedDataset:
    """Unpack each file there is into a file of images and one of labels."""
    if data_dir is None:
        raise DataMissingError(
            "no sample of SVHN is packaged: name the folder of train_32x32.mat, extra_32x32.mat and "
            "test_32x32.mat with --data-dir or HARNESS_DATA, get it with 'harness data fetch svhn --data-dir DIR', "
            "or give --synthetic, which needs no data"
        )
    with_extra = locate(EXTRA, data_dir) is not None
    files = (TRAIN, EXTRA, TEST) if with_extra else (TRAIN, TEST)
    parts = [_part(source, name, cache) for source in require(files, data_dir, name)]
    variant, note = ("full", "") if with_extra else ("without-extra", " (without extra)")
    return PreparedDataset(
        "svhn",
        variant,
        f"SVHN{note}",
        (3, SIDE, SIDE),
        "chw",
        CLASSES,
        split_of(parts[:-1]),
        split_of(parts[-1:]),
    )


def split_of(parts: list[tuple[Path, int]]) -> Split:
    """Return the split that several unpacked files make together, in this order."""
    return image_split(
        Column(tuple(Segment(str(into / "images"), 0, n) for into, n in parts), IMAGE_BYTES, IMAGE_BYTES),
        Column(tuple(Segment(str(into / "labels"), 0, n) for into, n in parts), 1, 1),
        sum(count for _, count in parts),
        CLASSES,
    )


def unpack(path: Path, folder: Path) -> Facts:
    """Write `images` and `labels` from a file's arrays X and y, a megabyte at a time.

    Raises:
        DataCorruptError: not such a file, truncated, another shape, a label that is no digit.
    """
    counts: dict[str, int] = {}
    for array in matfile.arrays(path):
        if array.name == "X":
            if len(array.shape) != 4 or array.shape[:3] != (SIDE, SIDE, 3) or array.shape[3] < 1:
                raise DataCorruptError(f"{path}: X has shape {array.shape}, not (32, 32, 3, N)")
            counts["images"] = _write_images(array.chunks, folder / "images")
        elif array.name == "y":
            counts["labels"] = _write_labels(array.chunks, folder / "labels", path)
    if counts.keys() != {"images", "labels"}:
        raise DataCorruptError(f"{path} has no arrays X and y: it is another file")
    if counts["images"] != counts["labels"]:
        raise DataCorruptError(f"{path} has {counts['images']} images but {counts['labels']} labels")
    return {"count": counts["images"]}


def to_rows(block: bytes) -> bytearray:
    """Return images whose channels were stored column by column with their channels row by row."""
    out = bytearray(len(block))
    for position in range(IMAGE_BYTES):  # one strided copy moves this pixel of every image of the block
        channel, rest = divmod(position, SIDE * SIDE)
        row, column = divmod(rest, SIDE)
        out[position::IMAGE_BYTES] = block[channel * SIDE * SIDE + column * SIDE + row :: IMAGE_BYTES]
    return out


def _part(source: Source, name: str, cache: Cache) -> tuple[Path, int]:
    label = f"svhn-{source.path.name.partition('_')[0]}"
    folder, facts = cache.get(recipe_for(label, name, [source], lambda into: unpack(source.path, into)))
    return folder, facts["count"]


def _write_images(chunks: Iterator[bytes], target: Path) -> int:
    written, ahead, block_bytes = 0, b"", BLOCK_IMAGES * IMAGE_BYTES
    with target.open("wb") as out:
        for chunk in chunks:
            ahead += chunk
            while len(ahead) >= block_bytes:
                out.write(to_rows(ahead[:block_bytes]))
                written, ahead = written + BLOCK_IMAGES, ahead[block_bytes:]
        out.write(to_rows(ahead))
    return written + len(ahead) // IMAGE_BYTES


def _write_labels(chunks: Iterator[bytes], target: Path, path: Path) -> int:
    written = 0
    with target.open("wb") as out:
        for chunk in chunks:
            if not 1 <= min(chunk) <= max(chunk) <= CLASSES:
                k, value = next((k, value) for k, value in enumerate(chunk) if not 1 <= value <= CLASSES)
                raise DataCorruptError(
                    f"{path}: item {written + k} has label {value}, not one of 1 to {CLASSES}"
                )
            out.write(chunk.replace(b"\x0a", b"\x00"))
            written += len(chunk)
    return written
