"""Rows of the record: gross, idle, net; None beside a reason; nested domains never added up twice."""

import pytest

from power.base import Domain, outermost, wrap_poll_s
from power.series import Series
from power.window import WindowEnergy, measure, outermost_rows, sum_gross_j, sum_net_j

SECOND = 1_000_000_000


def steady(power_w: float = 15.0, idle_w: float = 5.0) -> Series:
    series = Series(Domain("usb", "power", "the USB supply", gain_limit=0.01))
    for i in range(4001):
        series.add(i * SECOND // 100, power_w if 1000 <= i < 3000 else idle_w)
    return series


def row(domain: str, joule: float | None, parent: str | None = None) -> WindowEnergy:
    return WindowEnergy("rapl", domain, gross_j=joule, net_j=joule, parent=parent)


def test_gross_idle_and_net() -> None:
    idle = ((1 * SECOND, 9 * SECOND), (31 * SECOND, 39 * SECOND))
    result = measure(steady(), (10 * SECOND, 30 * SECOND), idle, meter="fnirsi")
    assert result.gross_j == pytest.approx(300.0, rel=1e-3)
    assert result.idle_j == pytest.approx(100.0)
    assert result.net_j == pytest.approx(200.0, rel=1e-3)
    assert result.idle_drift_w == pytest.approx(0.0)
    assert result.rate_hz == pytest.approx(100.0, rel=0.01)
    assert result.reason is None
    assert result.provenance == "measured"
    assert result.uncertainty_j is not None
    assert 0.0 < result.uncertainty_j < result.gross_uncertainty_j < 6.0  # type: ignore[operator]


def test_without_idle_the_net_energy_is_unknown_and_the_gross_one_stands() -> None:
    result = measure(steady(), (10 * SECOND, 30 * SECOND), meter="fnirsi")
    assert result.gross_j is not None
    assert (result.idle_j, result.net_j) == (None, None)
    assert "no net energy" in str(result.reason)
    assert result.uncertainty_j == result.gross_uncertainty_j


def test_idle_from_one_side_is_used_and_said() -> None:
    result = measure(steady(), (10 * SECOND, 30 * SECOND), ((SECOND, 9 * SECOND), None), meter="fnirsi")
    assert result.net_j == pytest.approx(200.0, rel=1e-3)
    assert result.idle_drift_w is None
    assert "one side only" in str(result.reason)


def test_the_idle_window_after_leaves_out_the_updates_that_still_hold_the_work() -> None:
    # Renewed every half second, an average of the half second before: 5 W of idle, 15 W from 10 to 70 s.
    series = Series(Domain("usb", "power", "", update_s=0.5))
    for i in range(900):
        series.add(i * SECOND // 10, 15.0 if 10.5 <= i * 0.1 < 70.9 else 5.0)
    idle = ((0, 10 * SECOND), (70 * SECOND, 85 * SECOND))
    result = measure(series, (10 * SECOND, 70 * SECOND), idle, meter="um25c")
    assert result.idle_j == pytest.approx(300.0)
    assert result.idle_drift_w == pytest.approx(0.0)


def test_an_idle_window_after_of_two_updates_is_too_short() -> None:
    series = Series(Domain("usb", "power", "", update_s=0.5))
    for i in range(900):
        series.add(i * SECOND // 10, 5.0)
    idle = ((0, 10 * SECOND), (70 * SECOND, 71 * SECOND))
    result = measure(series, (10 * SECOND, 70 * SECOND), idle, meter="um25c")
    assert "idle after: the window of 1 s is too short" in str(result.reason)


@pytest.mark.parametrize("window", [(10 * SECOND, 10 * SECOND + SECOND // 2), (39 * SECOND, 50 * SECOND)])
def test_what_cannot_be_measured_is_none_beside_a_reason(window: tuple[int, int]) -> None:
    result = measure(steady(), window, meter="fnirsi")
    values = (result.gross_j, result.idle_j, result.net_j, result.uncertainty_j, result.rate_hz)
    assert values == (None,) * 5
    assert result.provenance == "unavailable"
    assert result.reason


def test_psys_packages_and_cores_are_never_added_up_twice() -> None:
    rows = [row("psys", 100.0), row("package-0", 40.0, "psys"), row("core-0", 30.0, "package-0")]
    assert [r.domain for r in outermost_rows(rows)] == ["psys"]
    assert sum_gross_j(rows) == 100.0


def test_two_sockets_and_their_memory_are_added_up() -> None:
    rows = [
        row("package-0", 40.0),
        row("package-1", 50.0),
        row("dram-0", 5.0),
        row("core-0", 30.0, "package-0"),
    ]
    assert sum_net_j(rows) == 95.0


def test_parts_stand_in_for_a_whole_that_is_unavailable_and_grandchildren_do_not_count_twice() -> None:
    packages = [row("package-0", 40.0, "psys"), row("package-1", 50.0, "psys")]
    assert sum_gross_j([row("psys", None), *packages]) == 90.0
    rows = [row("psys", 100.0), row("package-0", None, "psys"), row("core-0", 30.0, "package-0")]
    assert sum_gross_j(rows) == 100.0


def test_a_sum_with_a_missing_part_is_unknown() -> None:
    assert sum_gross_j([row("package-0", 40.0), row("package-1", None)]) is None
    assert sum_gross_j([]) is None


def test_outermost_domains_and_the_wrap_period() -> None:
    psys = Domain("psys", "energy", "", wrap_j=262_143.0, max_power_w=1000.0)
    package = Domain("package-0", "energy", "", parent="psys")
    assert outermost([package, psys]) == (psys,)
    assert outermost([package]) == (package,)
    assert wrap_poll_s(psys) == pytest.approx(131.07, abs=0.01)
    assert wrap_poll_s(package) is None
