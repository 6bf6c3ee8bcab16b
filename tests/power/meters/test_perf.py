"""RAPL by perf_event: the description is read as the kernel writes it, and the system call is really made."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from power.base import now_ns
from power.errors import MeterUnavailableError
from power.meters import perf
from power.meters.perf import PerfMeter, find_events, perf_event_open
from power.recorder import Recorder

# linux/perf_event.h: PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_CLOCK, PERF_COUNT_SW_DUMMY
SOFTWARE_PMU, CPU_CLOCK, DUMMY = 1, 0, 9


def describe(root: Path, events: dict[str, tuple[str, str]], cpumask: str = "0", pmu_type: int = 20) -> Path:
    folder = root / "events"
    folder.mkdir(parents=True)
    (root / "type").write_text(f"{pmu_type}\n")
    (root / "cpumask").write_text(f"{cpumask}\n")
    for name, (code, scale) in events.items():
        (folder / name).write_text(f"event={code}\n")
        (folder / f"{name}.scale").write_text(f"{scale}\n")
        (folder / f"{name}.unit").write_text("Joules\n")
    return root


def topology(root: Path, packages: dict[int, int]) -> Path:
    for cpu, package in packages.items():
        folder = root / f"cpu{cpu}" / "topology"
        folder.mkdir(parents=True)
        (folder / "physical_package_id").write_text(f"{package}\n")
    return root


INTEL = {
    "energy-pkg": ("0x02", "2.3283064365386962890625e-10"),
    "energy-ram": ("0x03", "2.3283064365386962890625e-10"),
    "energy-cores": ("0x01", "2.3283064365386962890625e-10"),
    "energy-psys": ("0x05", "2.3283064365386962890625e-10"),
}


def test_events_of_two_sockets_and_what_contains_what(tmp_path: Path) -> None:
    pmu = describe(tmp_path / "power", INTEL, cpumask="0,24")
    events = find_events(pmu, topology(tmp_path / "cpu", {0: 0, 24: 1}))
    assert {event.domain.name: event.domain.parent for event in events} == {
        "psys": None,
        "package-0": "psys",
        "package-1": "psys",
        "dram-0": "psys",
        "dram-1": "psys",
        "core-0": "package-0",
        "core-1": "package-1",
    }
    package = next(event for event in events if event.domain.name == "package-1")
    assert (package.config, package.cpu, package.scale_j) == (2, 24, 2.0**-32)


def test_several_processors_of_a_package_keep_apart(tmp_path: Path) -> None:
    pmu = describe(tmp_path / "power", INTEL, cpumask="0,8,16")
    events = find_events(pmu, topology(tmp_path / "cpu", {0: 0, 8: 0, 16: 1}))
    assert {event.domain.name: event.domain.parent for event in events} == {
        "psys": None,
        "package-0@cpu0": "psys",
        "package-0@cpu8": "psys",
        "package-1": "psys",
        "dram-0@cpu0": "psys",
        "dram-0@cpu8": "psys",
        "dram-1": "psys",
        "core-0@cpu0": "package-0@cpu0",
        "core-0@cpu8": "package-0@cpu8",
        "core-1": "package-1",
    }
    assert len({event.domain.name for event in events}) == len(events)


@pytest.fixture
def two_of_one_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[dict[int, int]], PerfMeter]:
    """Return a meter of two processors of one package, whose counters are renewed every ms by so many steps each."""

    def make(steps: dict[int, int]) -> PerfMeter:
        cpus: dict[int, int] = {}

        def opened(pmu_type: int, config: int, cpu: int) -> int:
            fd = os.open("/dev/null", os.O_RDONLY)
            cpus[fd] = cpu
            return fd

        monkeypatch.setattr(perf, "perf_event_open", opened)
        # A count begins when its event is opened: the same counter, other numbers.
        monkeypatch.setattr(
            perf, "read_count", lambda fd: now_ns() // 10**6 * steps[cpus[fd]] - 1000 * cpus[fd]
        )
        pmu = describe(tmp_path / "power", {"energy-pkg": ("0x02", "2.3e-10")}, cpumask="0,8")
        return PerfMeter(pmu=pmu, cpus=topology(tmp_path / "cpu", {0: 0, 8: 0}))

    return make


@pytest.mark.parametrize(
    ("steps", "parent"),
    [({0: 262_144, 8: 262_144}, "package-0@cpu0"), ({0: 262_144, 8: 262_139}, None)],
    ids=["one counter twice", "two dies"],
)
def test_two_dies_are_added_up_and_a_mirror_is_not(
    two_of_one_package: Callable[[dict[int, int]], PerfMeter], steps: dict[int, int], parent: str | None
) -> None:
    with two_of_one_package(steps) as meter:
        domains = [(domain.name, domain.parent) for domain in meter.domains]
        assert [sample.domain for sample in meter.read()] == [name for name, _ in domains]
    assert domains == [("package-0@cpu0", None), ("package-0@cpu8", parent)]


def permitted() -> bool:
    try:
        os.close(perf_event_open(SOFTWARE_PMU, CPU_CLOCK, 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not permitted(), reason="this user may not count whole-machine events here")
def test_the_system_call_counts(tmp_path: Path) -> None:
    # The clock of one processor counts ns: at 10 nJ a count it is a machine that draws 10 W exactly.
    pmu = describe(tmp_path / "power", {"energy-pkg": ("0x0", "1e-8")}, pmu_type=SOFTWARE_PMU)
    with Recorder([PerfMeter(pmu=pmu)]) as recorder:
        time.sleep(0.1)
        start_ns = now_ns()
        time.sleep(0.5)
        end_ns = now_ns()
        (row,) = recorder.energy(start_ns, end_ns, wait_s=30.0)
    assert row.gross_j == pytest.approx(10.0 * (end_ns - start_ns) * 1e-9, rel=5e-3)


@pytest.mark.skipif(not permitted(), reason="this user may not count whole-machine events here")
@pytest.mark.parametrize(
    ("event", "usable"), [(CPU_CLOCK, True), (DUMMY, False)], ids=["counts", "stands still"]
)
def test_a_counter_that_stands_still_is_no_meter(tmp_path: Path, event: int, usable: bool) -> None:
    pmu = describe(tmp_path / "power", {"energy-pkg": (hex(event), "1e-8")}, pmu_type=SOFTWARE_PMU)
    meter = PerfMeter(pmu=pmu)
    probe = meter.probe()
    assert probe.usable is usable
    assert usable or "no counter moved" in str(probe.reason)
    assert not meter._files, "a probe leaves nothing open"


def test_no_pmu_and_no_event(tmp_path: Path) -> None:
    with pytest.raises(MeterUnavailableError, match="modprobe rapl"):
        PerfMeter(pmu=tmp_path / "none").open()
    with pytest.raises(MeterUnavailableError, match="no energy event"):
        PerfMeter(pmu=describe(tmp_path / "empty", {})).open()


def test_another_unit_is_not_taken_for_joules(tmp_path: Path) -> None:
    pmu = describe(tmp_path / "power", INTEL)
    (pmu / "events" / "energy-pkg.unit").write_text("Watts\n")
    with pytest.raises(MeterUnavailableError, match="not in Joules"):
        PerfMeter(pmu=pmu).open()


def test_no_permission_gives_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(perf, "perf_event_open", refuse)
    probe = PerfMeter(pmu=describe(tmp_path / "power", INTEL)).probe()
    assert not probe.usable
    assert "perf_event_paranoid=0" in str(probe.hint)


def test_an_unknown_event_is_refused_by_the_kernel(tmp_path: Path) -> None:
    pmu = describe(tmp_path / "power", {"energy-pkg": ("0x02", "1")}, pmu_type=0x7FFFFFFF)
    with pytest.raises(MeterUnavailableError, match=r"cannot be opened|privileged"):
        PerfMeter(pmu=pmu).open()
