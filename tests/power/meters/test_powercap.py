"""RAPL by powercap, on trees laid out as the kernel does; the emulated machine is in test_umockdev.py."""

import os
import threading
import time
from collections.abc import Callable
from ctypes import c_int64
from pathlib import Path

import pytest

from power import reader, sampled, sysfs
from power import recorder as recorder_module
from power.base import now_ns
from power.errors import MeterReadError, MeterUnavailableError
from power.meters import powercap
from power.meters.powercap import PowercapMeter, find_zones
from power.recorder import Recorder
from power.window import sum_gross_j

RANGE_UJ = 262_143_328_850


def zone(root: Path, folder: str, name: str, energy_uj: int = 1_000_000, range_uj: int = RANGE_UJ) -> Path:
    path = root / folder
    path.mkdir(parents=True)
    (path / "name").write_text(f"{name}\n")
    (path / "max_energy_range_uj").write_text(f"{range_uj}\n")
    (path / "energy_uj").write_text(f"{energy_uj}\n")
    return path


@pytest.fixture
def server(tmp_path: Path) -> Path:
    """Two sockets with cores and memory, psys, and the mmio road to the same package."""
    (tmp_path / "intel-rapl").mkdir()
    zone(tmp_path, "intel-rapl:0", "package-0", RANGE_UJ - 3_000_000)
    zone(tmp_path, "intel-rapl:0:0", "core", 11)
    zone(tmp_path, "intel-rapl:0:1", "dram", 222)
    zone(tmp_path, "intel-rapl:1", "package-1", 3_333)
    zone(tmp_path, "intel-rapl:1:0", "dram", 44_444)
    zone(tmp_path, "intel-rapl:2", "psys", 555_555)
    zone(tmp_path, "intel-rapl-mmio:0", "package-0", 1)
    return tmp_path


def test_zones_their_names_and_what_contains_what(server: Path) -> None:
    domains = {zone.domain.name: zone.domain for zone in find_zones(server)}
    parents = {name: domain.parent for name, domain in domains.items()}
    assert parents == {
        "psys": None,
        "package-0": "psys",
        "package-1": "psys",
        "core-0": "package-0",
        "dram-0": "psys",
        "dram-1": "psys",
    }
    assert domains["package-0"].wrap_j == pytest.approx(262_143.328850)


def test_without_psys_the_memory_stands_beside_its_package(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0")
    zone(tmp_path, "intel-rapl:0:0", "dram")
    assert {z.domain.name: z.domain.parent for z in find_zones(tmp_path)} == {
        "package-0": None,
        "dram-0": None,
    }


@pytest.fixture
def two_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[list[tuple[int, int]]], PowercapMeter]:
    """Return a meter of two zones that show one pair of counts after the other while it sleeps, and the last one on."""
    folders = [zone(tmp_path, f"intel-rapl:{die}", f"package-0-die-{die}") for die in (0, 1)]
    sleep, own = time.sleep, threading.get_ident()

    def make(counts: list[tuple[int, int]]) -> PowercapMeter:
        def turn(seconds: float = 0.0) -> None:
            if threading.get_ident() != own:  # a thread that another test has left behind sleeps as it did
                return sleep(seconds)
            for folder, count in zip(folders, counts.pop(0) if len(counts) > 1 else counts[0], strict=True):
                (folder / "energy_uj").write_text(f"{count}\n")
            return None

        turn()
        monkeypatch.setattr(time, "sleep", turn)
        return PowercapMeter(root=tmp_path)

    return make


@pytest.mark.parametrize("renewed", [(), (1,), (2, 6), (1, 3, 5, 7)])
def test_two_dies_that_mirror_one_counter_are_not_added_up(
    two_dies: Callable[[list[tuple[int, int]]], PowercapMeter], renewed: tuple[int, ...]
) -> None:
    # In some looks the counter is renewed just between the two readings: the second one is ahead then.
    counts = [(1000 * i, 1000 * i + 61 * (i in renewed)) for i in range(10)]
    with two_dies(counts) as meter:
        assert [d.parent for d in meter.domains] == [None, "package-0-die-0"]


@pytest.mark.parametrize("second", [lambda i: 1000 * i + 61 * i, lambda i: 0, lambda i: 1000 + 61 * (i > 5)])
def test_two_dies_with_counters_of_their_own_are_added_up(
    two_dies: Callable[[list[tuple[int, int]]], PowercapMeter], second: Callable[[int], int]
) -> None:
    with two_dies([(1000 * i, second(i)) for i in range(10)]) as meter:
        assert [d.parent for d in meter.domains] == [None, None]


def test_counters_that_stand_still_are_not_taken_for_one(
    two_dies: Callable[[list[tuple[int, int]]], PowercapMeter],
) -> None:
    with two_dies([(5, 5)]) as meter:
        assert [d.parent for d in meter.domains] == [None, None]


def test_every_zone_is_read_at_its_own_instant(server: Path) -> None:
    with PowercapMeter(root=server) as meter:
        before_ns = now_ns()
        samples = meter.read()
    assert {s.domain: s.energy_j for s in samples}["package-1"] == pytest.approx(3.333e-3)
    assert before_ns <= samples[0].t_ns <= samples[-1].t_ns <= now_ns()


class Turning:
    """Counters that run, and the clock with them: rewrites `energy_uj` of each zone in place every half millisecond.

    A busy machine that delays the counters delays the clock as well, so no reading is ever stale by more.
    """

    def __init__(self, root: Path, watts: dict[str, float], range_uj: int) -> None:
        self.clock = c_int64(0)
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.work, args=(root, watts, range_uj))

    @property
    def t_ns(self) -> int:
        return self.clock.value

    def now_ns(self) -> int:
        return self.t_ns

    def work(self, root: Path, watts: dict[str, float], range_uj: int) -> None:
        files = {name: os.open(root / name / "energy_uj", os.O_WRONLY) for name in watts}
        while not self.stop.wait(0.0005):
            t_ns = self.t_ns + 500_000
            for name, watt in watts.items():
                os.pwrite(files[name], f"{int(watt * t_ns / 1000) % range_uj:020d}\n".encode(), 0)
            self.clock.value = t_ns
        for fd in files.values():
            os.close(fd)

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()


def test_wraps_in_the_window_two_sockets_memory_and_psys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader_kind: str
) -> None:
    watts = {"intel-rapl:0": 10.0, "intel-rapl:0:0": 2.0, "intel-rapl:1": 7.0, "intel-rapl:2": 25.0}
    names = dict(zip(watts, ("package-0", "dram", "package-1", "psys"), strict=True))
    for folder, name in names.items():
        zone(tmp_path, folder, name, 0, range_uj=12_000_000)
    # A range of 12 J is passed twice a second by psys. Of so small a one 2000 W would leave nothing known after 6 ms
    # without a reading; with one as small the recorder's ordinary period of 50 ms will do, as it does on a real range.
    monkeypatch.setattr(powercap, "MAX_PSYS_W", 30.0)
    monkeypatch.setattr(powercap, "MAX_PACKAGE_W", 15.0)
    turning = Turning(tmp_path, watts, 12_000_000)
    for module in (sysfs, reader, recorder_module):
        monkeypatch.setattr(module, "now_ns", turning.now_ns)
    monkeypatch.setattr(sampled, "CLOCK_NS", turning.clock)
    with turning, Recorder([PowercapMeter(root=tmp_path)]) as recorder:
        wait_until(lambda: turning.t_ns >= 200_000_000)
        start_ns = turning.t_ns
        wait_until(lambda: turning.t_ns >= start_ns + 1_500_000_000)
        end_ns = turning.t_ns
        rows = recorder.energy(start_ns, end_ns, wait_s=30.0)
        (cost,) = recorder.overhead()
    assert cost.reader == reader_kind
    span_s = (end_ns - start_ns) * 1e-9
    powers = {row.domain: (row.gross_j or 0.0) / span_s for row in rows}
    expected = {"psys": 25.0, "package-0": 10.0, "package-1": 7.0, "dram-0": 2.0}
    assert powers == pytest.approx(expected, rel=0.005)
    assert sum_gross_j(rows) == pytest.approx(25.0 * span_s, rel=0.005)


def wait_until(happened: Callable[[], bool]) -> None:
    while not happened():  # the test's own time limit ends this
        time.sleep(0.005)


def test_no_zone_names_the_module(tmp_path: Path) -> None:
    probe = PowercapMeter(root=tmp_path / "none").probe()
    assert not probe.usable
    assert "modprobe intel_rapl_msr" in str(probe.hint)
    with pytest.raises(MeterUnavailableError, match="no intel-rapl zone"):
        PowercapMeter(root=tmp_path).open()


def test_root_only_counters_give_the_command_that_mends_it(
    server: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As root (in a container, say) file modes refuse nothing: the refusal has to be played.
    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("power.meters.powercap.Attribute", refuse)
    meter = PowercapMeter(root=server)
    with pytest.raises(MeterUnavailableError, match="sudo chmod"):
        meter.open()
    assert meter.probe().reason == "energy_uj is readable by root only"


@pytest.mark.parametrize("text", ["", "garbage\n", "12 34\n"])
def test_a_counter_that_is_no_number_is_a_failed_reading(server: Path, text: str) -> None:
    with PowercapMeter(root=server) as meter:
        (server / "intel-rapl:2" / "energy_uj").write_text(text)
        with pytest.raises(MeterReadError, match="could not be read"):
            meter.read()


def test_a_zone_without_a_range_is_described_not_guessed(server: Path) -> None:
    (server / "intel-rapl:1" / "max_energy_range_uj").unlink()
    with pytest.raises(MeterUnavailableError, match="cannot be described"):
        PowercapMeter(root=server).open()
