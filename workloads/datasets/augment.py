"""The paper's augmentation of CIFAR-10 and SVHN: shifts of up to 15 %, and a horizontal flip (CIFAR only).

What happens to an item is drawn from (seed, epoch, item) alone, so that it does not depend on batch size,
order, rank or engine. To reproduce it, with `draw` of `mix.py` and m_x = floor(0.15 * width), m_y likewise:

    h    = draw(draw(STREAM_AUGMENT, seed, epoch), item)
    dx   = ((h & 0xFFFF) * (2 m_x + 1) >> 16) - m_x          (to the right, if positive)
    dy   = ((h >> 16 & 0xFFFF) * (2 m_y + 1) >> 16) - m_y    (down, if positive)
    flip = h >> 32 & 1
    out[c][y][x] = in[c][clamp(y - dy)][clamp(x' - dx)]      x' = width - 1 - x if flip else x

`clamp` repeats the pixels of the edge. The paper's published code uses Keras' ImageDataGenerator with
width_shift_range = height_shift_range = 0.15 and its default fill mode (the same edge), flips CIFAR-10 and
does not flip SVHN (a mirrored digit is another figure); its shifts are fractions of a pixel, ours whole.
"""

from collections.abc import Sequence

from workloads.datasets.mix import STREAM_AUGMENT, draw
from workloads.light_typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from workloads.datasets.core import DataCore

FRACTION: Final = 0.15


class Move(NamedTuple):
    """What is done to one image: shift right and down in pixels, then mirror left to right."""

    dx: int
    dy: int
    flip: bool


def moves(
    seed: int, epoch: int, items: Sequence[int], shape: tuple[int, int, int], flip: bool = True
) -> list[Move]:
    """Return what is done to each item of a batch in this epoch.

    Args:
        seed: the trial's seed.
        epoch: epoch of the batch (`BatchReader.last_epoch`).
        items: numbers of its items (`BatchReader.last_items`).
        shape: (channels, height, width) of an image.
        flip: False where a mirrored image is another class (digits).
    """
    max_dx, max_dy = _most(shape)
    key = draw(STREAM_AUGMENT, seed, epoch)
    return [_move(draw(key, item), max_dx, max_dy, flip) for item in items]


def apply(image: bytes, move: Move, shape: tuple[int, int, int]) -> bytes:
    """Return the moved image; both are uint8, channel by channel, row by row."""
    _, height, width = shape
    moved = _moved_down(image, max(1 - height, min(move.dy, height - 1)), height * width, width)
    moved = _moved_right(moved, max(1 - width, min(move.dx, width - 1)), width)
    return _mirrored(moved, width) if move.flip else moved


def apply_batch(images: memoryview, plan: Sequence[Move], shape: tuple[int, int, int]) -> None:
    """Move every image of a batch in place; one image is copied at a time."""
    size = shape[0] * shape[1] * shape[2]
    for k, move in enumerate(plan):
        if move != (0, 0, False):
            image = images[k * size : (k + 1) * size]
            image[:] = apply(bytes(image), move, shape)


def augment(
    kind: str,
    images: memoryview,
    items: Sequence[int],
    seed: int,
    epoch: int,
    shape: tuple[int, int, int],
    core: "DataCore | None" = None,
) -> None:
    """Move every image of a batch in place as `moves` says, by a workload's kind: none, shift or shift-flip.

    `core` does the work, where the engine offers one.
    """
    if kind == "none":
        return
    flip = kind == "shift-flip"
    if core is None:
        apply_batch(images, moves(seed, epoch, items, shape, flip), shape)
    else:
        core.move(images, items, draw(STREAM_AUGMENT, seed, epoch), shape, _most(shape), flip)


def _most(shape: tuple[int, int, int]) -> tuple[int, int]:
    """Return how many pixels an image is shifted at most, to the right and down."""
    _, height, width = shape
    return int(FRACTION * width), int(FRACTION * height)


def _move(bits: int, max_dx: int, max_dy: int, flip: bool) -> Move:
    dx = ((bits & 0xFFFF) * (2 * max_dx + 1) >> 16) - max_dx
    dy = ((bits >> 16 & 0xFFFF) * (2 * max_dy + 1) >> 16) - max_dy
    return Move(dx, dy, flip and bool(bits >> 32 & 1))


def _moved_down(image: bytes, dy: int, plane: int, width: int) -> bytes:
    """Return an image moved dy rows down (up if negative), the edge rows of each channel repeated."""
    if dy == 0:
        return image
    cut, parts = abs(dy) * width, []
    for start in range(0, len(image), plane):
        end = start + plane
        if dy > 0:
            parts += [image[start : start + width] * dy, image[start : end - cut]]
        else:
            parts += [image[start + cut : end], image[end - width : end] * -dy]
    return b"".join(parts)


def _moved_right(image: bytes, dx: int, width: int) -> bytes:
    """Return an image moved dx columns to the right (left if negative), the edge columns repeated.

    All rows move at once; what so comes in from the neighbouring row is then overwritten by the edge.
    """
    if dx == 0:
        return image
    if dx > 0:
        out, edge, columns = bytearray(image[:dx] + image[:-dx]), image[::width], range(dx)
    else:
        out, edge = bytearray(image[-dx:] + image[:-dx]), image[width - 1 :: width]
        columns = range(width + dx, width)
    for column in columns:
        out[column::width] = edge
    return bytes(out)


def _mirrored(image: bytes, width: int) -> bytes:
    """Return an image with its columns in reverse order."""
    out = bytearray(len(image))
    for column in range(width):
        out[column::width] = image[width - 1 - column :: width]
    return bytes(out)
