"""The scratch arena: views do not overlap, frames give back, and after the first round nothing is allocated."""

import pytest

torch = pytest.importorskip("torch", reason="the torch extra is not installed")

from workloads.engines.torch.scratch import Scratch  # noqa: E402


def arena() -> Scratch:
    return Scratch(torch.device("cpu"), block_bytes=1024)


def test_views_of_one_frame_do_not_overlap() -> None:
    scratch = arena()
    for _ in range(2):  # first on the way to the high-water mark, then within the arena
        with scratch:
            views = [scratch.take((n,), torch.float32).fill_(n) for n in (1, 17, 100)]
            assert [view.tolist() for view in views] == [[n] * n for n in (1, 17, 100)]


def test_a_closed_frame_gives_back_what_it_took() -> None:
    scratch = arena()
    for _ in range(2):
        with scratch:
            with scratch:
                scratch.take((1000,), torch.uint8)
            with scratch:
                scratch.take((1000,), torch.uint8)
    assert scratch.bytes == 1024


def test_after_the_first_round_the_arena_is_stable() -> None:
    scratch = arena()
    addresses = []
    for _ in range(3):
        with scratch:
            addresses.append(scratch.take((500,), torch.float32).data_ptr())
    assert addresses[1] == addresses[2]


def test_rows_fit_the_block_and_keep_the_multiple() -> None:
    scratch = arena()
    assert scratch.rows(16) == 16
    assert scratch.rows(10, multiple=8) == 24
    assert scratch.rows(10_000, multiple=8) == 8
    assert scratch.rows(10_000) == 1
