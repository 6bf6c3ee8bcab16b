"""Shifts and flips: drawn from (seed, epoch, item) alone, applied as the formula says."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from workloads.datasets.augment import Move, apply, apply_batch, moves
from workloads.datasets.mix import STREAM_AUGMENT, draw

CIFAR = (3, 32, 32)
shapes = st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9))
any_move = st.builds(Move, st.integers(-12, 12), st.integers(-12, 12), st.booleans())


def by_formula(image: bytes, move: Move, shape: tuple[int, int, int]) -> bytes:
    """Return out[c][y][x] = in[c][clamp(y - dy)][clamp(x' - dx)], as an independent gather."""
    _, height, width = shape
    y, x = np.arange(height), np.arange(width)
    rows = np.clip(y - move.dy, 0, height - 1)
    columns = np.clip((width - 1 - x if move.flip else x) - move.dx, 0, width - 1)
    return np.frombuffer(image, np.uint8).reshape(shape)[:, rows][:, :, columns].tobytes()


@given(shapes, any_move, st.integers(0, 99))
def test_the_moved_image_is_the_formula(shape: tuple[int, int, int], move: Move, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8).tobytes()
    assert apply(image, move, shape) == by_formula(image, move, shape)


def test_a_hand_worked_case() -> None:
    image = bytes([1, 2, 3, 4, 5, 6])
    assert apply(image, Move(1, 0, False), (1, 2, 3)) == bytes([1, 1, 2, 4, 4, 5])
    assert apply(image, Move(-1, 0, False), (1, 2, 3)) == bytes([2, 3, 3, 5, 6, 6])
    assert apply(image, Move(0, 1, False), (1, 2, 3)) == bytes([1, 2, 3, 1, 2, 3])
    assert apply(image, Move(1, 0, True), (1, 2, 3)) == bytes([2, 1, 1, 5, 4, 4])


def test_a_batch_is_moved_in_place() -> None:
    images = np.random.default_rng(1).integers(0, 256, (10, *CIFAR), dtype=np.uint8)
    plan = moves(5, 2, range(10), CIFAR)
    expected = [by_formula(image.tobytes(), move, CIFAR) for image, move in zip(images, plan, strict=True)]
    buffer = bytearray(images.tobytes())
    apply_batch(memoryview(buffer), plan, CIFAR)
    assert buffer == b"".join(expected)


@given(st.integers(0, 2**63), st.integers(0, 500), st.integers(0, 10**6))
def test_what_happens_to_an_item_depends_on_nothing_else(seed: int, epoch: int, item: int) -> None:
    alone = moves(seed, epoch, [item], CIFAR)[0]
    assert moves(seed, epoch, [item + 1, item, 7], CIFAR)[1] == alone
    bits = draw(draw(STREAM_AUGMENT, seed, epoch), item)
    assert alone.dx == (bits % 65536) * 9 // 65536 - 4
    assert alone.dy == (bits // 65536 % 65536) * 9 // 65536 - 4
    assert alone.flip == (bits // 2**32 % 2 == 1)


def test_moves_are_uniform_up_to_15_percent() -> None:
    plan = moves(0, 0, range(20_000), CIFAR)
    counts = np.zeros((9, 9, 2))
    for move in plan:
        counts[move.dx + 4, move.dy + 4, int(move.flip)] += 1
    expected = 20_000 / counts.size
    chi2 = float(((counts - expected) ** 2 / expected).sum())
    assert 161 - 6 * 18 < chi2 < 161 + 6 * 18  # 161 degrees of freedom


def test_digits_are_never_mirrored() -> None:
    assert not any(move.flip for move in moves(0, 0, range(1000), CIFAR, flip=False))


def test_moves_are_pinned_for_other_languages() -> None:
    assert moves(0, 0, range(4), CIFAR) == [(-2, 0, False), (1, 1, False), (-2, -2, False), (-4, -3, True)]
