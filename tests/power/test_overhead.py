"""The cost of reading: measured, small, and unknown where it cannot be known."""

import pytest

from power.overhead import measure_overhead
from power.registry import make


def test_a_counter_tells_what_polling_it_costs() -> None:
    report = measure_overhead(lambda: make("mock:10W,counter"), seconds=0.5, rate_hz=100.0)
    assert (report.meter, report.reader) == ("mock", "python")
    # A little over 100 Hz: the marks at both ends are reads too. How well the rate is kept: test_reader.py.
    assert 0.0 < report.rate_hz < 120.0
    assert 0.0 < report.share < 0.2
    assert report.cpu_per_read_s == pytest.approx(report.share / report.rate_hz)
    # Its 10 W do not depend on being read, and each stretch is held against its own length.
    assert report.extra_w == pytest.approx(0.0, abs=1e-3)
    assert report.reason is None


def test_a_power_cannot_tell() -> None:
    report = measure_overhead(lambda: make("mock:10W"), seconds=0.2)
    assert report.extra_w is None
    assert "must be read" in str(report.reason)


def test_a_counter_that_stands_still_cannot_tell_either() -> None:
    report = measure_overhead(lambda: make("mock:0W,counter"), seconds=0.2)
    assert report.extra_w is None
    assert "did not move" in str(report.reason)


def test_what_power_polling_adds_is_left_out_where_it_is_not_asked_for() -> None:
    report = measure_overhead(lambda: make("mock:10W,counter"), seconds=0.1, power=False)
    assert (report.extra_w, report.reason) == (None, "it was not asked for")
    assert report.share > 0.0
