"""The recorder: windows out of live meters, failures kept apart, nothing left behind."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from power.base import Domain, Meter, Probe, Sample, now_ns
from power.errors import MeterReadError, MeterUnavailableError
from power.meters.hwmon import HwmonMeter
from power.meters.mock import MockMeter
from power.meters.shelly import ShellyMeter
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


def await_that(happened: Callable[[], bool], limit_s: float = 60.0) -> None:
    end_s = time.monotonic() + limit_s
    while not happened():
        assert time.monotonic() < end_s, "it never happened"
        time.sleep(0.005)


def time_of_mark(recorder: Recorder) -> int:
    """Have the one meter read now and return the instant before it did."""
    (_, (series,)) = recorder.all_series()[0]
    await_that(lambda: len(series) > 0)
    count = len(series)
    recorder.mark()
    await_that(lambda: len(series) > count)
    return series.t_ns[count] - 1


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
    meters = [make("mock:10W,rate=40"), make("mock:20W,rate=40,counter,wrap=5J"), make("none")]
    with Recorder(meters) as recorder:
        window = window_of(recorder, 0.1, 4.0)
        power, counter, none = recorder.energy(*window)
    span_s = (window[1] - window[0]) * 1e-9
    assert power.gross_j == pytest.approx(10.0 * span_s, rel=1e-6)
    assert counter.gross_j == pytest.approx(20.0 * span_s, rel=1e-6)
    assert power.provenance == counter.provenance == "modelled"
    assert (none.gross_j, none.provenance) == (None, "unavailable")
    assert "no meter was selected" in str(none.reason)


def test_two_meters_of_a_kind_are_told_apart_in_the_record() -> None:
    with Recorder([make("mock:10W,rate=40"), make("mock:20W,rate=40"), make("none")]) as recorder:
        window = window_of(recorder, 0.1, 4.0)
        names = [row.meter for row in recorder.energy(*window)]
    assert names == ["mock:10W,rate=40", "mock:20W,rate=40", "none"]


def test_energy_waits_for_the_idle_window_after_it() -> None:
    with Recorder([make("mock:10W,rate=100,counter")]) as recorder:
        start_ns, end_ns = window_of(recorder, 0.3, 0.5)
        (row,) = recorder.energy(
            start_ns, end_ns, ((start_ns - SECOND // 4, start_ns), (end_ns, end_ns + SECOND // 4))
        )
    assert row.reason is None
    assert row.net_j == pytest.approx(0.0, abs=0.1)


def test_settings_are_known_by_meter_and_outlive_it(tmp_path: Path) -> None:
    chip = tmp_path / "hwmon0"
    chip.mkdir()
    for name, value in {"name": "ina219", "power1_input": "25000000", "shunt_resistor": "10000"}.items():
        (chip / name).write_text(f"{value}\n")
    meters = [HwmonMeter("ina219,shunt=0.1", tmp_path), make("mock:10W,rate=40")]
    expected = {"chip": "ina219", "shunt_ohm": 0.1, "shunt_correction": pytest.approx(0.1)}
    with Recorder(meters) as recorder:
        assert recorder.settings() == {"hwmon": expected, "mock": {"script": "10W,rate=40"}}
        (chip / "shunt_resistor").unlink()
        assert recorder.settings()["hwmon"] == expected


def test_windows_are_answered_after_the_recording_too() -> None:
    with Recorder([make("mock:10W,rate=40,counter")]) as recorder:
        window = window_of(recorder, 0.1, 0.4)
        during = recorder.energy(*window)
    assert recorder.energy(*window) == during


def test_a_window_that_ends_with_the_recording_is_bracketed() -> None:
    recorder = Recorder([make("mock:10W,counter,rate=20")])
    with recorder:
        window = window_of(recorder, 0.1, 0.4)
    (row,) = recorder.energy(*window)
    assert row.gross_j == pytest.approx(10.0 * (window[1] - window[0]) * 1e-9, rel=1e-6)


def test_a_meter_that_is_unplugged_costs_its_own_energy_only() -> None:
    meters = [make("mock:10W,rate=40,disconnect=0.4-"), make("mock:20W,rate=40")]
    with Recorder(meters) as recorder:
        window = window_of(recorder, 0.1, 4.0)
        gone, there = recorder.energy(*window)
    assert (gone.gross_j, gone.provenance) == (None, "unavailable")
    assert "disconnected" in str(gone.reason)
    assert there.gross_j is not None
    assert [o.failures for o in recorder.overhead()] == [1, 0]


def test_a_meter_that_comes_back_serves_later_windows() -> None:
    with Recorder([make("mock:10W,rate=40,disconnect=0.1-0.3")]) as recorder:
        spoiled = window_of(recorder, 0.0, 0.6)
        await_that(lambda: recorder.series("mock", "mock").t_ns[-1] > spoiled[1])
        later = window_of(recorder, 0.0, 4.0)
        assert recorder.energy(*spoiled)[0].gross_j is None
        assert recorder.energy(*later)[0].gross_j is not None


def test_a_counter_bridges_a_short_outage() -> None:
    meter = FlakyMeter()
    with Recorder([meter]) as recorder:
        series = recorder.series("flaky", "rail")
        await_that(lambda: len(series) > 0)
        start_ns = now_ns()
        meter.error = MeterReadError("a read that failed")
        await_that(lambda: recorder.overhead()[0].failures == 1)
        meter.error = None
        await_that(lambda: meter.opened == 2)  # at the start, and after the failure
        time.sleep(0.5)
        row = recorder.energy(start_ns, now_ns(), wait_s=60.0)[0]
    assert row.gross_j == pytest.approx(10.0 * (row.duration_s or 0.0), rel=1e-6)
    assert meter.opened == 2


def test_a_bug_in_a_meter_is_a_reason_not_a_crash() -> None:
    meter = FlakyMeter()
    with Recorder([meter, make("mock:20W,rate=40")]) as recorder:
        meter.error = ZeroDivisionError("a driver's fault")
        window = window_of(recorder, 0.1, 4.0)
        broken, fine = recorder.energy(*window)
    assert "ZeroDivisionError: a driver's fault" in str(broken.reason)
    assert fine.gross_j is not None


def test_a_sparse_counter_is_read_at_the_marks() -> None:
    with Recorder([make("mock:5W*0.3s+25W*0.3s,counter,wrap=100000J")], sparse=True) as recorder:
        start_ns = time_of_mark(recorder)
        time.sleep(0.6)
        end_ns = time_of_mark(recorder)
        row = recorder.energy(start_ns, end_ns)[0]
        (meter, (series,)) = recorder.all_series()[0]
        begin_ns = series.t_ns[0]
    assert isinstance(meter, MockMeter)
    energies_j = [meter.script.profile.energy_j((t - begin_ns) * 1e-9) for t in (start_ns, end_ns)]
    assert row.gross_j == pytest.approx(energies_j[1] - energies_j[0], rel=1e-3)
    assert recorder.overhead()[0].reads <= 8


def test_a_sparse_counter_is_still_read_often_enough_for_its_wraps() -> None:
    # 55 W plausible and 11 J of range: at least every 0.1 s.
    with Recorder([make("mock:50W,counter,wrap=11J")], sparse=True) as recorder:
        await_that(lambda: recorder.overhead()[0].reads >= 8)


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
    begin_s = time.monotonic()
    with Recorder([open_meter("mock:10W,rate=100")]) as recorder:
        time.sleep(0.5)
    (cost,) = recorder.overhead()
    assert 0.5 <= cost.wall_s <= time.monotonic() - begin_s
    assert 2 <= cost.reads <= cost.wall_s * 200 + 2  # jitter halves a period at most
    assert 0.0 < cost.cpu_s < 0.1
    assert cost.share == cost.cpu_s / cost.wall_s


def test_the_shortest_window_is_known_before_the_run() -> None:
    with Recorder([make("mock:10W,rate=20"), make("mock:10W,counter")]) as recorder:
        assert recorder.shortest_window_s() == pytest.approx(5.5)
        assert recorder.series("mock:10W,rate=20", "mock").domain.kind == "power"
        with pytest.raises(KeyError, match="psys"):
            recorder.series("mock", "psys")


def test_what_would_do_for_a_short_window_is_never_less_than_the_polls_need() -> None:
    with Recorder([make("mock:10W,rate=40")]) as recorder:
        (row,) = recorder.energy(*window_of(recorder, 0.1, 0.2))
    assert row.gross_j is None
    assert row.needed_s is not None
    assert row.needed_s >= 100 / 40


class PlugWithRegister(FlakyMeter):
    """A plug's power, renewed every second, and inside it its register, renewed every minute."""

    @property
    def domains(self) -> tuple[Domain, ...]:
        return ShellyMeter("192.0.2.1").domains


def test_a_slow_register_inside_a_domain_asks_for_no_longer_window() -> None:
    with Recorder([PlugWithRegister()]) as recorder:
        assert recorder.shortest_window_s() == pytest.approx(110.0)
