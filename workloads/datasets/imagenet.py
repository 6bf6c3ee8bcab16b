"""ImageNet, or any photographs in class folders: `imagenet/train/CLASS/*.JPEG` and `imagenet/val/CLASS/*`.

Every image is decoded once, in the parent, by Pillow (extra `images`): the shorter side is resized to
256, the middle 224x224 are kept, and the pixels go into a file of records (uint16 label, then 3x224x224
uint8) in the cache. Reason: a decoder in the worker would be a library, its buffers and its time in
every figure that is to be about training, and no C++ worker could read the set. Price: 147 KiB of disk
an image (180 GB for all of ImageNet, checked before the first image is decoded), and one fixed crop;
random shifts and flips are drawn from it like those of the small sets (`augment.py`).

Classes are the folder names in sorted order, the same in both parts. The variant is "full" for the
1,281,167 images of ILSVRC 2012 in 1,000 classes, else "folder".
"""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final, NamedTuple

from workloads.datasets.base import PreparedDataset
from workloads.datasets.cache import Cache, Facts, Recipe
from workloads.datasets.files import DataFile
from workloads.datasets.packing import record_split
from workloads.errors import DataCacheError, DataCorruptError, DataMissingError, ExtraMissingError

if TYPE_CHECKING:
    from PIL.Image import Image

ORIGIN: Final = (
    "https://image-net.org (ILSVRC 2012, with an account and its terms); put class folders into "
    "imagenet/train and imagenet/val of the data folder"
)
RESIZED: Final = 256
CROP: Final = 224
IMAGE_BYTES: Final = 3 * CROP * CROP
RECORD_BYTES: Final = 2 + IMAGE_BYTES
SUFFIXES: Final = frozenset({".jpeg", ".jpg", ".png"})
FULL: Final = (1000, 1_281_167)
PARTS: Final = ("train", "val")


class Listing(NamedTuple):
    """The images of one part: class names in order, and each image with its label, in order."""

    classes: list[str]
    images: list[tuple[Path, int]]


def files_of(name: str) -> tuple[tuple[DataFile, ...], ...]:
    """Return no files: the publisher's archives are not read, the class folders have no checksums."""
    return ()


def prepare(name: str, data_dir: Path | None, cache: Cache) -> PreparedDataset:
    """Decode and resize every image into records, once."""
    if data_dir is None:
        raise DataMissingError(
            "no sample of ImageNet is packaged: name the folder that has imagenet/train and imagenet/val "
            "with --data-dir or HARNESS_DATA, or give --synthetic, which needs no data"
        )
    root = data_dir / "imagenet"
    train, val = (list_images(root / part) for part in PARTS)
    if train.classes != val.classes:
        odd = sorted(set(train.classes) ^ set(val.classes))[0]
        raise DataCorruptError(f"{root}: class '{odd}' is in one of train and val only")
    fingerprint, total = _fingerprint(root, [train, val]), len(train.images) + len(val.images)
    folder, _ = cache.get(
        Recipe(
            "imagenet",
            fingerprint,
            [],
            lambda: _check_room(cache, total),
            lambda into: _decode_all(train, val, into),
        )
    )
    classes = len(train.classes)
    variant = "full" if (classes, len(train.images)) == FULL else "folder"
    note = "" if variant == "full" else f" ({classes} classes, {len(train.images):,} + {len(val.images):,})"
    splits = [
        record_split(folder / part, len(listing.images), IMAGE_BYTES, classes, label_bytes=2)
        for part, listing in zip(PARTS, (train, val), strict=True)
    ]
    return PreparedDataset(
        "imagenet", variant, f"ImageNet{note}", (3, CROP, CROP), "chw", classes, splits[0], splits[1]
    )


def list_images(root: Path) -> Listing:
    """Return the classes and images below a folder; other files in class folders are left out.

    Raises:
        DataMissingError: no folder, no class, a class without an image, or one that cannot be read.
    """
    with _readable(root):
        if not root.is_dir():
            raise DataMissingError(f"{root} is not there; {ORIGIN}")
        folders = sorted(path for path in root.iterdir() if path.is_dir())
    images = [(path, label) for label, folder in enumerate(folders) for path in _images_in(folder)]
    if not images:
        raise DataMissingError(f"{root} has no class folder with images; {ORIGIN}")
    return Listing([folder.name for folder in folders], images)


def decode(path: Path) -> bytes:
    """Return 3x224x224 bytes: the middle of an image whose shorter side was resized to 256.

    Raises:
        DataCorruptError: Pillow cannot decode it, or it is cut.
        ExtraMissingError: Pillow is not installed.
    """
    image_module = _pillow()
    try:
        with image_module.open(path) as opened:
            image = opened.convert("RGB")
    # A decoder fed with foreign bytes raises nearly anything: OSError, SyntaxError, struct.error, ...
    except Exception as error:
        raise DataCorruptError(f"{path} cannot be decoded: {error}; remove or replace it") from error
    resized = _resize(image)
    return b"".join(band.tobytes() for band in resized.split())


def _resize(image: "Image") -> "Image":
    width, height = image.size
    scale = RESIZED / min(width, height)
    width, height = max(RESIZED, round(width * scale)), max(RESIZED, round(height * scale))
    left, top = (width - CROP) // 2, (height - CROP) // 2
    return image.resize((width, height), _pillow().Resampling.BILINEAR).crop(
        (left, top, left + CROP, top + CROP)
    )


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Say of a file or folder that the system refuses (a link to nothing, no permission) which one it is."""
    try:
        yield
    except DataMissingError:
        raise
    except OSError as error:
        raise DataMissingError(
            f"{error.filename or path} cannot be read: {error.strerror}; "
            "mend the link or the permissions, or remove it"
        ) from error


def _images_in(folder: Path) -> Iterator[Path]:
    with _readable(folder):
        images = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not images:
        raise DataMissingError(f"{folder} has no image (.jpeg, .jpg, .png); remove it or fill it")
    yield from images


def _fingerprint(root: Path, listings: list[Listing]) -> str:
    """Return a digest of names, lengths and times of change: hashing 140 GB before a run takes too long."""
    digest = hashlib.sha256()
    for listing in listings:
        for path, label in listing.images:
            with _readable(path):
                facts = path.stat()
            line = f"{path.relative_to(root)}\0{label}\0{facts.st_size}\0{facts.st_mtime_ns}\n"
            digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _check_room(cache: Cache, images: int) -> None:
    needed, free = images * RECORD_BYTES, shutil.disk_usage(cache.root).free
    if needed > free:
        raise DataCacheError(
            f"{images:,} resized images need {needed / 1e9:.1f} GB, {cache.root} has {free / 1e9:.1f} GB; "
            "name a folder on a larger disk in XDG_CACHE_HOME, or use fewer images"
        )


def _decode_all(train: Listing, val: Listing, folder: Path) -> Facts:
    for part, listing in zip(PARTS, (train, val), strict=True):
        with (folder / part).open("wb") as out:
            for path, label in listing.images:
                out.write(label.to_bytes(2, "little") + decode(path))
    return {"train": len(train.images), "val": len(val.images)}


def _pillow() -> ModuleType:
    try:
        from PIL import Image
    except ImportError as error:
        raise ExtraMissingError(
            "class folders of images need Pillow: pip install 'edge-harness[images]'"
        ) from error
    return Image
