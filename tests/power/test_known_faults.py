"""Faults found in other tools, each as a test of ours: the figure in the name is what the other tool said.

Met in a whole run: `tests/harness/test_known_faults_in_a_run.py`; pyRAPL itself: `meters/test_real_libraries.py`.
"""

import time
from pathlib import Path

import psutil
import pytest

from power import registry
from power.base import Domain, Meter, Probe, Sample, now_ns
from power.errors import MeterReadError
from power.meters.powercap import PowercapMeter
from power.recorder import Recorder
from power.series import Series
from power.window import WindowEnergy, measure, sum_gross_j

SECOND = 1_000_000_000
RANGE_J = 262_143.328850


def package(readings: list[tuple[float, float]]) -> Series:
    series = Series(Domain("package-0", "energy", "", update_s=1e-3, wrap_j=RANGE_J, max_power_w=1000.0))
    for t_s, energy_j in readings:
        series.add(round(t_s * SECOND), energy_j % RANGE_J)
    return series


def energy_of(series: Series, t0_s: float, t1_s: float) -> WindowEnergy:
    return measure(series, (round(t0_s * SECOND), round(t1_s * SECOND)), meter="rapl")


def steady(start_j: float, power_w: float, count: int = 50) -> list[tuple[float, float]]:
    return [(i * 0.1, start_j + power_w * i * 0.1) for i in range(count)]


def test_pyrapl_pyjoules_energibridge_no_wraparound() -> None:
    row = energy_of(package(steady(RANGE_J - 20.0, 10.0)), 0.5, 4.5)
    assert row.gross_j == pytest.approx(40.0)


def test_carbontracker_a_wrap_becomes_0_w() -> None:
    series = package(steady(RANGE_J - 20.0, 10.0))
    for i in range(1, 45):
        short = energy_of(series, i * 0.1 + 0.01, i * 0.1 + 0.19)
        assert short.gross_j == pytest.approx(1.8), f"the step from {i * 0.1:.1f} s"


def test_zeus_a_read_right_after_a_wrap_is_minus_261843_j() -> None:
    series = package(
        [(0.0, RANGE_J - 300.0), (1.0, RANGE_J - 1.0), (1.0001, RANGE_J + 0.0), (1.5, RANGE_J + 0.5)]
    )
    row = energy_of(series, 0.1, 1.2)
    assert row.gross_j is not None
    assert 0.0 < row.gross_j < 300.0


def test_a_hole_of_more_than_one_wrap_is_no_energy() -> None:
    readings = [*steady(0.0, 200.0), *((2000.0 + t_s, 400_000.0 + e) for t_s, e in steady(0.0, 200.0))]
    row = energy_of(package(readings), 1.0, 2003.0)
    assert row.gross_j is None
    assert "was not read for 2e+03 s and may have wrapped more than once: a reading every 262 s" in str(
        row.reason
    )
    assert energy_of(package(readings), 2001.0, 2003.0).gross_j == pytest.approx(400.0)


class FailingMeter(Meter):
    """A counter of 40 J that fails to be read once in a while."""

    name = "failing"
    period_s = 0.005

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.begin_ns = now_ns()

    @property
    def domains(self) -> tuple[Domain, ...]:
        return (Domain("package-0", "energy", "", update_s=1e-3, wrap_j=RANGE_J, max_power_w=1000.0),)

    def probe(self) -> Probe:
        return Probe(self.name, True)

    def open(self) -> None:
        pass

    def read(self) -> list[Sample]:
        self.reads += 1
        if self.reads % 10 == 0:
            raise MeterReadError("a read that failed")
        t_ns = now_ns()
        return [Sample(t_ns, "package-0", energy_j=20.0 + 40e-9 * (t_ns - self.begin_ns))]

    def close(self) -> None:
        pass


def test_perun_a_failed_read_is_taken_for_a_wrap_and_40_j_become_262183() -> None:
    with Recorder([FailingMeter()]) as recorder:
        time.sleep(0.1)
        start_ns = now_ns()
        time.sleep(1.0)
        end_ns = now_ns()
        (row,) = recorder.energy(start_ns, end_ns)
    assert recorder.overhead()[0].failures >= 2
    assert row.gross_j == pytest.approx(40e-9 * (end_ns - start_ns), rel=1e-6)


def test_perun_a_counter_read_as_zero_is_no_wrap_either() -> None:
    row = energy_of(package([(0.0, 20.0), (0.5, 40.0), (1.0, 0.0), (1.5, 20.0), (2.0, 40.0)]), 0.2, 1.8)
    assert row.gross_j is None
    assert "started again" in str(row.reason)


def test_perun_trapezoids_over_converted_counters_make_150_j_of_170() -> None:
    row = energy_of(package([(0, 0), (1, 10), (2, 20), (3, 70), (4, 120), (5, 170), (6, 180)]), 0.0, 5.0)
    assert row.gross_j == pytest.approx(170.0)


def test_zeus_psys_is_counted_as_a_cpu() -> None:
    rows = [
        WindowEnergy("rapl", "psys", gross_j=100.0),
        WindowEnergy("rapl", "package-0", gross_j=60.0, parent="psys"),
        WindowEnergy("rapl", "dram-0", gross_j=10.0, parent="psys"),
    ]
    assert sum_gross_j(rows) == 100.0


def test_zeus_one_process_a_zone(tmp_path: Path) -> None:
    for index in range(5):
        zone = tmp_path / f"intel-rapl:{index}"
        zone.mkdir()
        (zone / "name").write_text(f"package-{index}\n")
        (zone / "max_energy_range_uj").write_text("262143328850\n")
        (zone / "energy_uj").write_text("1000000\n")
    this = psutil.Process()
    children, threads = this.children(recursive=True), this.num_threads()
    with Recorder([PowercapMeter(root=tmp_path)]) as recorder:
        recorder.await_first()
        assert this.children(recursive=True) == children
        assert this.num_threads() - threads == 1
        assert len(recorder.energy(0, SECOND)) == 5


def test_codecarbon_a_constant_power_where_there_is_no_meter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("power.registry.probe", lambda name: Probe(name, False, reason="absent"))
    assert registry.automatic() is None
    with Recorder([registry.open_meter("none")]) as recorder:
        (row,) = recorder.energy(0, SECOND)
    assert (row.gross_j, row.net_j, row.provenance) == (None, None, "unavailable")
    assert row.reason


def test_optimum_benchmark_the_parent_busy_waits_while_measuring() -> None:
    cpu_s = time.process_time()
    with Recorder([registry.make("mock:10W,counter"), registry.make("mock:10W,rate=20")]) as recorder:
        time.sleep(1.0)
    assert time.process_time() - cpu_s < 0.2
    assert sum(cost.cpu_s for cost in recorder.overhead()) < 0.2


def test_every_meter_names_its_absence_instead_of_a_value(tmp_path: Path) -> None:
    for probe in registry.probe_all():
        assert probe.usable or probe.reason
