"""The generator everything random about data is drawn from."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from workloads.datasets.mix import GOLDEN, MASK64, draw, mix64

words = st.integers(0, MASK64)


def test_mix64_gives_the_published_splitmix64_sequence() -> None:
    # First outputs of SplitMix64 seeded with 0 and with 1234567 (the reference implementation's).
    assert mix64(GOLDEN) == 0xE220A8397B1DCDAF
    assert mix64((1234567 + GOLDEN) & MASK64) == 6457827717110365317


def test_draw_is_pinned_so_that_other_languages_can_check_themselves() -> None:
    assert draw(0) == 0xE220A8397B1DCDAF
    assert draw(1, 2, 3) == 0xD0734750FDE362B3
    assert draw(1, 2, 3) != draw(1, 3, 2)
    assert draw(-1) == draw(MASK64)


@given(words, words)
def test_mix64_never_collides(a: int, b: int) -> None:
    assert (mix64(a) == mix64(b)) == (a == b)


@given(st.lists(words, min_size=1, max_size=4))
def test_fixed_width_arithmetic_gives_the_same(sequence: list[int]) -> None:
    state = np.zeros(1, dtype=np.uint64)
    for word in sequence:
        z = (state ^ np.uint64(word)) + np.uint64(GOLDEN)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = z ^ (z >> np.uint64(31))
    assert int(state[0]) == draw(*sequence)
