"""The order of an epoch: a permutation for every n, different for every seed and epoch, and reproducible."""

import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from workloads.datasets.mix import STREAM_SHUFFLE, draw
from workloads.datasets.shuffle import MAX_ITEMS, Permutation

seeds = st.integers(-(2**63), 2**64 - 1)
epochs = st.integers(0, 10_000)


@settings(deadline=None)
@given(st.integers(1, 3000), seeds, epochs)
@example(1, 0, 0)
@example(2, 0, 0)
@example(2048, 1, 1)
@example(2049, 1, 1)
def test_every_item_comes_once(n: int, seed: int, epoch: int) -> None:
    assert sorted(Permutation(n, seed, epoch).span(0, n)) == list(range(n))


@settings(deadline=None)
@given(st.integers(1, 200_000), seeds, epochs, st.data())
def test_item_by_item_is_the_documented_algorithm(n: int, seed: int, epoch: int, data: st.DataObject) -> None:
    order = Permutation(n, seed, epoch)
    position = data.draw(st.integers(0, n - 1))
    assert order[position] == _by_the_book(n, seed, epoch, position)
    assert 0 <= order[position] < n


def _by_the_book(n: int, seed: int, epoch: int, i: int) -> int:
    key = draw(STREAM_SHUFFLE, seed, epoch)
    bits = max(2, len(f"{n - 1:b}") if n > 1 else 0)
    a = bits // 2
    b = bits - a
    while True:
        left, right = i >> b, i % 2**b
        for j in (0, 2, 4):
            left ^= draw(key, j, right) % 2**a
            right ^= draw(key, j + 1, left) % 2**b
        i = left * 2**b + right
        if i < n:
            return i


def test_epochs_and_seeds_have_their_own_order() -> None:
    orders = {tuple(Permutation(60, seed, epoch).span(0, 60)) for seed in range(10) for epoch in range(10)}
    assert len(orders) == 100


def test_items_fall_evenly_on_positions() -> None:
    n, trials = 20, 4000
    counts = [[0] * n for _ in range(n)]
    for epoch in range(trials):
        for position, item in enumerate(Permutation(n, 7, epoch).span(0, n)):
            counts[position][item] += 1
    expected = trials / n
    chi2 = sum((cell - expected) ** 2 / expected for row in counts for cell in row)
    # (n - 1)^2 = 361 degrees of freedom: mean 361, standard deviation 26.9.
    assert 361 - 6 * 26.9 < chi2 < 361 + 6 * 26.9


def test_neighbours_do_not_stay_neighbours() -> None:
    order = Permutation(60_000, 3, 0).span(0, 60_000)
    close = sum(abs(a - b) <= 10 for a, b in itertools.pairwise(order))
    assert 10 <= close <= 40  # 20 in 60,000 by chance: 20 of 59,999 differences


@pytest.mark.parametrize(
    ("n", "seed", "epoch", "first"),
    [
        (60_000, 0, 0, [56100, 45468, 14866, 8073, 49350]),
        (50_000, 1, 2, [11166, 49645, 38324, 38932, 5963]),
        (1_281_167, 5, 3, [188930, 357274, 272040, 541200, 269952]),
    ],
)
def test_first_items_are_pinned_for_other_languages(n: int, seed: int, epoch: int, first: list[int]) -> None:
    assert Permutation(n, seed, epoch).span(0, 5) == first


@pytest.mark.parametrize("n", [0, -1, MAX_ITEMS + 1])
def test_impossible_sizes_are_refused(n: int) -> None:
    with pytest.raises(ValueError, match="items"):
        Permutation(n, 0, 0)


@pytest.mark.parametrize("position", [-1, 5])
def test_positions_outside_are_refused(position: int) -> None:
    with pytest.raises(IndexError):
        Permutation(5, 0, 0)[position]
