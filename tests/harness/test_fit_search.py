"""The search on paper: it finds the edge wherever it starts, in few runs."""

from hypothesis import given
from hypothesis import strategies as st

from harness import fit_search


@given(
    start=st.integers(0, 5000),
    most=st.integers(1, 4000),
    resolution=st.integers(1, 200),
    truth=st.integers(0, 5000),
)
def test_the_search_finds_the_edge_wherever_it_starts(start, most, resolution, truth):
    tried = []

    def fits(size):
        assert 1 <= size <= most
        tried.append(size)
        return size <= truth

    found = fit_search.largest_fitting(start, most, resolution, fits)
    best = min(truth, most)
    assert found <= best
    assert best - found < resolution or found == best
    assert found == 0 or found in tried  # what is answered has been run
    assert (found == 0) == (best == 0)
    assert len(tried) <= 30


def test_a_good_prediction_costs_two_runs():
    tried = []
    assert fit_search.largest_fitting(250, 10_000, 5, lambda size: tried.append(size) or size <= 252) == 250
    assert tried == [250, 255]
