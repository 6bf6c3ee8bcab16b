"""The recorder: windows out of live meters, failures kept apart, nothing left behind."""

import threading
import time

import pytest

from power.base import Domain, Meter, Probe, Sample, now_ns
from power.errors import MeterReadError, MeterUnavailableError
from power.recorder import Recorder
from power.registry import make, open_meter

SECOND = 1_000_000_000


def window_of(recorder: Recorder, lead_s: float, span_s: float) -> tuple[int, int]:
    time.sleep(lead_s)
    start_ns = now_ns()
    recorder.mark()
    time.sleep(span_s)
    end_ns = now_ns()
    recorder.mark()
    return start_ns, end_ns


class FlakyMeter(Meter):
    """A counter at 10 W whose read raises what it is told to."""

    name = "flaky"
    period_s = 0.01

    def __init__(self) -> None:
        super().__init__()
        self.error: Exception | None = None
        self.opened = 0
        self.closed = 0

    @property
    def domains(self) -> tuple[Domain, ...]:
        return (Domain("rail", "energy", "", update_s=1e-4, max_power_w=20.0),)

    def probe(self) -> Probe:
        return Probe(self.name, True)

    def open(self) -> None:
        self.opened += 1

    def read(self) -> list[Sample]:
        if self.error is not None:
            raise self.error
        t_ns = now_ns()
        return [Sample(t_ns, "rail", energy_j=t_ns * 1e-8)]

    def close(self) -> None:
        self.closed += 1


def test_several_meters_at_once_each_domain_its_own_row() -> None:
    meters = [make("mock:10W,rate=500"), make("mock:20W,rate=500,counter,wrap=5J"), make("none")]
    with Recorder(meters) as recorder:
        window = window_of(recorder, 0.1, 3.0)
        power, counter, none = recorder.energy(*window)
    span_s = (window[1] - window[0]) * 1e-9
    assert power.gross_j == pytest.approx(10.0 * span_s, rel=1e-6)
    assert counter.gross_j == pytest.approx(20.0 * span_s, rel=1e-6)
    assert power.provenance == counter.provenance == "modelled"
    assert (none.gross_j, none.provenance) == (None, "unavailable")
    assert "no meter was selected" in str(none.reason)


def test_two_meters_of_a_kind_are_told_apart_in_the_record() -> None:
    with Recorder([make("mock:10W,rate=500"), make("mock:20W,rate=500"), make("none")]) as recorder:
        window = window_of(recorder, 0.1, 3.0)
        names = [row.meter for row in recorder.energy(*window)]
    assert names == ["mock:10W,rate=500", "mock:20W,rate=500", "none"]


def test_energy_waits_for_the_idle_window_after_it() -> None:
    with Recorder([make("mock:10W,rate=100,counter")]) as recorder:
        start_ns, end_ns = window_of(recorder, 0.3, 0.5)
        (row,) = recorder.energy(
            start_ns, end_ns, ((start_ns - SECOND // 4, start_ns), (end_ns, end_ns + SECOND // 4))
        )
    assert row.reason is None
    assert row.net_j == pytest.approx(0.0, abs=0.1)


def test_windows_are_answered_after_the_recording_too() -> None:
    with Recorder([make("mock:10W,rate=500")]) as recorder:
        window = window_of(recorder, 0.05, 0.7)
        during = recorder.energy(*window)
    assert recorder.energy(*window) == during


def test_a_window_that_ends_with_the_recording_is_bracketed() -> None:
    recorder = Recorder([make("mock:10W,counter,rate=20")])
    with recorder:
        window = window_of(recorder, 0.1, 0.4)
    assert recorder.energy(*window)[0].gross_j == pytest.approx(4.0, rel=0.05)


def test_a_meter_that_is_unplugged_costs_its_own_energy_only() -> None:
    meters = [make("mock:10W,rate=500,disconnect=0.4-"), make("mock:20W,rate=500")]
    with Recorder(meters) as recorder:
        window = window_of(recorder, 0.1, 3.0)
        gone, there = recorder.energy(*window)
    assert (gone.gross_j, gone.provenance) == (None, "unavailable")
    assert "disconnected" in str(gone.reason)
    assert there.gross_j is not None
    assert [o.failures for o in recorder.overhead()] == [1, 0]


def test_a_meter_that_comes_back_serves_later_windows() -> None:
    with Recorder([make("mock:10W,rate=500,disconnect=0.1-0.3")]) as recorder:
        spoiled = window_of(recorder, 0.0, 0.6)
        later = window_of(recorder, 0.3, 3.0)
        assert recorder.energy(*spoiled)[0].gross_j is None
        assert recorder.energy(*later)[0].gross_j is not None


def test_a_counter_bridges_a_short_outage() -> None:
    meter = FlakyMeter()
    with Recorder([meter]) as recorder:
        start_ns = now_ns() + SECOND // 20
        time.sleep(0.1)
        meter.error = MeterReadError("a read that failed")
        time.sleep(0.1)
        meter.error = None
        time.sleep(0.5)
        row = recorder.energy(start_ns, now_ns())[0]
    assert row.gross_j == pytest.approx(10.0 * (row.duration_s or 0.0), rel=1e-6)
    assert meter.opened == 2  # at the start, and after the failure


def test_a_bug_in_a_meter_is_a_reason_not_a_crash() -> None:
    meter = FlakyMeter()
    with Recorder([meter, make("mock:20W,rate=500")]) as recorder:
        time.sleep(0.05)
        meter.error = ZeroDivisionError("a driver's fault")
        window = window_of(recorder, 0.0, 0.7)
        broken, fine = recorder.energy(*window)
    assert "ZeroDivisionError: a driver's fault" in str(broken.reason)
    assert fine.gross_j is not None


def test_a_sparse_counter_is_read_at_the_marks() -> None:
    with Recorder([make("mock:5W*0.3s+25W*0.3s,counter,wrap=100000J")], sparse=True) as recorder:
        window = window_of(recorder, 0.3, 0.6)
        row = recorder.energy(*window)[0]
    assert row.gross_j == pytest.approx(9.0, rel=0.02)
    assert recorder.overhead()[0].reads <= 8


def test_a_sparse_counter_is_still_read_often_enough_for_its_wraps() -> None:
    # 2000 W plausible and 400 J of range: at least every 0.1 s.
    with Recorder([make("mock:50W,counter,wrap=400J")], sparse=True) as recorder:
        time.sleep(0.8)
    assert recorder.overhead()[0].reads >= 8


def test_no_thread_and_no_open_meter_is_left() -> None:
    meter = FlakyMeter()
    with pytest.raises(RuntimeError, match="in between"), Recorder([meter]):
        raise RuntimeError("in between")
    assert meter.closed == 1
    assert not [t for t in threading.enumerate() if t.name.startswith("meter-")]


def test_a_meter_that_cannot_be_opened_closes_the_others() -> None:
    meter = FlakyMeter()
    with pytest.raises(MeterUnavailableError, match="no capture"), Recorder([meter, make("replay")]):
        pass
    assert meter.closed == 1


def test_own_cost_is_measured() -> None:
    with Recorder([open_meter("mock:10W,rate=100")]) as recorder:
        time.sleep(0.5)
    (cost,) = recorder.overhead()
    assert 30 <= cost.reads <= 80
    assert cost.wall_s == pytest.approx(0.5, rel=0.3)
    assert 0.0 < cost.cpu_s < 0.1
    assert cost.share == cost.cpu_s / cost.wall_s


def test_the_shortest_window_is_known_before_the_run() -> None:
    with Recorder([make("mock:10W,rate=20"), make("mock:10W,counter")]) as recorder:
        assert recorder.shortest_window_s() == pytest.approx(5.5)
        assert recorder.series("mock:10W,rate=20", "mock").domain.kind == "power"
        with pytest.raises(KeyError, match="psys"):
            recorder.series("mock", "psys")
