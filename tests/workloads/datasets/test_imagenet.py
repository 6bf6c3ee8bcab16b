"""Class folders of photographs: decoded, resized and cut once, in the order of the names."""

import errno
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from workloads.datasets import imagenet
from workloads.datasets.base import prepare
from workloads.datasets.reader import BatchReader
from workloads.errors import DataCacheError, DataCorruptError, DataMissingError, ExtraMissingError

image_module = pytest.importorskip("PIL.Image", reason="Pillow (extra 'images') decodes the photographs")
COLOURS = {"n01": (200, 30, 60), "n02": (10, 220, 90), "n10": (50, 60, 240)}


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for part, count in (("train", 3), ("val", 1)):
        for name, colour in COLOURS.items():
            folder = tmp_path / "imagenet" / part / name
            folder.mkdir(parents=True)
            (folder / "notes.txt").write_text("not an image")
            for k in range(count):
                size = [(300, 400), (500, 260), (90, 80)][k]
                image_module.new("RGB", size, colour).save(folder / f"{k}.JPEG", quality=95)
    return tmp_path


def test_images_and_labels_in_order(folders: Path, cache_dir: Path) -> None:
    prepared = prepare("imagenet", folders, cache_dir)
    assert (prepared.variant, prepared.shape, prepared.classes) == ("folder", (3, 224, 224), 3)
    assert (prepared.train.count, prepared.test.count, prepared.train.label_bytes) == (9, 3, 2)
    images, labels = bytearray(9 * imagenet.IMAGE_BYTES), bytearray(18)
    with BatchReader(prepared.train, 9, shuffle=False) as reader:
        assert reader.read_into(images, labels) == 9
    assert np.frombuffer(labels, "<u2").tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    pixels = np.frombuffer(images, np.uint8).reshape(9, 3, 224, 224)
    for item, colour in enumerate(c for c in COLOURS.values() for _ in range(3)):
        assert np.abs(pixels[item].mean((1, 2)) - colour).max() < 4


def test_the_middle_is_kept_and_nothing_is_distorted(tmp_path: Path) -> None:
    picture = np.zeros((256, 512, 3), np.uint8)
    picture[:, 144:368] = 255  # the middle 224 columns
    picture[:16] = 99  # cut away: 16 rows above and below
    image_module.fromarray(picture).save(tmp_path / "x.png")
    pixels = np.frombuffer(imagenet.decode(tmp_path / "x.png"), np.uint8).reshape(3, 224, 224)
    assert (pixels == 255).all()


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_other_colour_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    suffix = "jpg" if mode == "CMYK" else "png"
    image_module.new("RGB", (300, 300), (120, 120, 120)).convert(mode).save(tmp_path / f"x.{suffix}")
    assert len(imagenet.decode(tmp_path / f"x.{suffix}")) == imagenet.IMAGE_BYTES


@pytest.mark.parametrize("kept", [0, 10, 400])
def test_a_damaged_image_is_named(folders: Path, cache_dir: Path, kept: int) -> None:
    path = folders / "imagenet" / "train" / "n02" / "1.JPEG"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataCorruptError, match=r"n02/1\.JPEG cannot be decoded"):
        prepare("imagenet", folders, cache_dir)
    assert not list(cache_dir.glob("imagenet*"))


def test_a_new_image_makes_a_new_copy(folders: Path, cache_dir: Path) -> None:
    prepare("imagenet", folders, cache_dir)
    image_module.new("RGB", (256, 256)).save(folders / "imagenet" / "val" / "n10" / "new.png")
    assert prepare("imagenet", folders, cache_dir).test.count == 4


def test_classes_must_be_the_same_in_both_parts(folders: Path, cache_dir: Path) -> None:
    (folders / "imagenet" / "val" / "n02").rename(folders / "imagenet" / "val" / "n03")
    with pytest.raises(DataCorruptError, match="class 'n02' is in one of train and val only"):
        prepare("imagenet", folders, cache_dir)


def test_missing_parts_are_named(folders: Path, tmp_path: Path, cache_dir: Path) -> None:
    with pytest.raises(DataMissingError, match="imagenet/train is not there; https://image-net"):
        prepare("imagenet", tmp_path / "elsewhere", cache_dir)
    for path in (folders / "imagenet" / "val" / "n01").iterdir():
        path.unlink()
    with pytest.raises(DataMissingError, match="n01 has no image"):
        prepare("imagenet", folders, cache_dir)
    with pytest.raises(DataMissingError, match="--synthetic"):
        prepare("imagenet", None, cache_dir)


def test_a_link_to_nothing_is_named(folders: Path, cache_dir: Path) -> None:
    (folders / "imagenet" / "val" / "n02" / "gone.JPEG").symlink_to("elsewhere.JPEG")
    with pytest.raises(
        DataMissingError, match=r"n02/gone\.JPEG cannot be read: No such file.*; mend the link"
    ):
        prepare("imagenet", folders, cache_dir)


@pytest.mark.parametrize("refused", ["train", "n10"])
def test_a_folder_that_cannot_be_read_is_named(
    folders: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    def refuse(folder: Path) -> Iterator[Path]:
        if folder.name == refused:
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return every(folder)

    every = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataMissingError, match=f"{refused} cannot be read: Permission denied"):
        prepare("imagenet", folders, cache_dir)


def test_too_small_a_disk_is_found_before_the_first_image(
    folders: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imagenet, "RECORD_BYTES", 1 << 60)
    with pytest.raises(DataCacheError, match=r"12 resized images need .* GB"):
        prepare("imagenet", folders, cache_dir)


def test_without_pillow_the_extra_is_named(
    folders: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ExtraMissingError, match=r"edge-harness\[images\]"):
        prepare("imagenet", folders, cache_dir)
