"""Windows put together: each cause by itself."""

import pytest

from power.base import Domain
from power.combined import combined
from power.idle import Idle, Walk
from power.uncertainty import Terms
from power.window import Basis, WindowEnergy

SECOND = 1_000_000_000
DOMAIN = Domain("usb", "power", "", gain_limit=0.01, offset_limit_w=0.1)
LEVEL = Idle(2.0, 0.01, None, Walk(0.0, 3.0, 0.0), ((0, 10 * SECOND), (90 * SECOND, 99 * SECOND)))


def row(begin_s: int, gross_j: float, level: Idle | None = LEVEL) -> WindowEnergy:
    """A window of 10 s."""
    idle_j = None if level is None else 20.0
    window = (begin_s * SECOND, (begin_s + 10) * SECOND)
    return WindowEnergy(
        "fnirsi",
        "usb",
        gross_j=gross_j,
        idle_j=idle_j,
        net_j=None if idle_j is None else gross_j - idle_j,
        duration_s=10.0,
        basis=Basis(DOMAIN, window, Terms(edges_j=3.0, alike_j=-2.0, sampling_j=4.0, delay_j=1.0), level),
    )


def test_what_is_common_adds_up_in_a_sum_and_cancels_in_a_difference() -> None:
    one, other = row(20, 120.0), row(50, 100.0)
    whole, cost = combined([(1.0, one), (1.0, other)]), combined([(1.0, one), (-1.0, other)])
    assert (whole.gross_j, whole.idle_j, whole.net_j) == (220.0, 40.0, 180.0)
    assert (cost.gross_j, cost.idle_j, cost.net_j) == (20.0, 0.0, 20.0)
    assert whole.terms.gain_j == pytest.approx(0.01 * 180.0 / 3**0.5)
    assert cost.terms.gain_j == pytest.approx(0.01 * 20.0 / 3**0.5)
    assert (whole.terms.idle_j, cost.terms.idle_j) == pytest.approx((0.1 * 20.0, 0.0))
    assert (whole.terms.alike_j, cost.terms.alike_j) == (-4.0, 0.0)
    assert whole.gross_terms.offset_j == pytest.approx(0.1 * 20.0 / 3**0.5)
    assert cost.gross_terms.offset_j == 0.0
    for terms in (whole.terms, cost.terms):
        assert (terms.edges_j, terms.sampling_j, terms.delay_j) == pytest.approx((18**0.5, 32**0.5, 2.0))


def test_without_an_idle_level_the_gross_energy_stands_alone() -> None:
    whole = combined([(1.0, row(20, 120.0, None)), (1.0, row(50, 100.0, None))])
    assert (whole.gross_j, whole.net_j) == (220.0, None)
    assert whole.terms == whole.gross_terms


def test_what_was_not_measured_is_no_part_of_a_sum() -> None:
    with pytest.raises(ValueError, match="not measured"):
        combined([(1.0, row(20, 120.0)), (1.0, WindowEnergy("fnirsi", "usb", reason="too short"))])
