"""The reader of one meter: its schedule on a scripted clock, and files read by the native sampler as by Python."""

import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from power import base, reader
from power.base import Domain, Meter, Probe, Sample
from power.meters.mock import MockMeter
from power.meters.powercap import PowercapMeter
from power.reader import Reader
from power.recorder import Recorder
from power.series import Series

MS = 1_000_000


class Clock:
    """Time that passes in sleeps only: each is late by the next of `late_ms`, then by the last of them."""

    def __init__(self, late_ms: list[float]) -> None:
        self.t_ns, self.late_ms = 0, late_ms

    def now_ns(self) -> int:
        return self.t_ns

    def sleep(self, wait_s: float) -> None:
        late_ms = self.late_ms.pop(0) if len(self.late_ms) > 1 else self.late_ms[0]
        self.t_ns += round(max(0.0, wait_s) * 1e9) + round(late_ms * MS)


class CountingMeter(Meter):
    """A power of 1 W that takes 1 ms to read, and has its reader stopped after so many reads."""

    name = "counting"

    def __init__(self, clock: Clock, reads: int) -> None:
        super().__init__()
        self.clock, self.left = clock, reads
        self.reader: Reader | None = None

    @property
    def domains(self) -> tuple[Domain, ...]:
        return (Domain("rail", "power", ""),)

    def probe(self) -> Probe:
        return Probe(self.name, True)

    def open(self) -> None:
        pass

    def read(self) -> list[Sample]:
        self.left -= 1
        if self.left == 0 and self.reader is not None:
            self.reader.stopping = True
        self.clock.t_ns += MS
        return [Sample(self.clock.t_ns, "rail", power_w=1.0)]

    def close(self) -> None:
        pass


def times_ms(monkeypatch: pytest.MonkeyPatch, late_ms: list[float], reads: int = 1000) -> list[float]:
    clock = Clock(late_ms)
    monkeypatch.setattr(reader, "now_ns", clock.now_ns)
    meter = CountingMeter(clock, reads)
    read = Reader(meter, "counting", 0.01, seed=1)
    read.series = {"rail": Series(meter.domains[0])}
    read.waker.close()
    read.waker = clock  # type: ignore[assignment]
    meter.reader = read
    read.run()
    return [t_ns / MS for t_ns in read.series["rail"].t_ns[:reads]]


@pytest.mark.parametrize("late_ms", [0.0, 0.3, 3.0])
def test_a_hundred_hertz_stay_a_hundred_hertz_when_every_wake_up_is_late(
    monkeypatch: pytest.MonkeyPatch, late_ms: float
) -> None:
    times = times_ms(monkeypatch, [late_ms])
    assert (times[-1] - times[0]) / (len(times) - 1) == pytest.approx(10.0, rel=0.02)


def test_the_polls_are_jittered_not_even(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [b - a for a, b in pairwise(times_ms(monkeypatch, [0.0]))]
    assert min(steps) < 6.0
    assert max(steps) > 14.0
    assert all(4.999 <= step <= 15.001 for step in steps)


def test_after_a_stall_one_poll_is_made_up_for_not_all_that_were_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps = [b - a for a, b in pairwise(times_ms(monkeypatch, [0.0, 0.0, 1000.0, 0.0], reads=30))]
    (stall,) = [i for i, step in enumerate(steps) if step > 1000.0]
    assert steps[stall + 1] == pytest.approx(1.0)  # the read alone
    assert all(step >= 4.999 for step in steps[stall + 2 :])


@pytest.fixture
def zone(tmp_path: Path) -> Path:
    folder = tmp_path / "intel-rapl:0"
    folder.mkdir()
    for name, text in (
        ("name", "package-0"), ("max_energy_range_uj", "262143328850"), ("energy_uj", "1000")
    ):  # fmt: skip
        (folder / name).write_text(f"{text}\n")
    return folder


def await_that(happened: Callable[[], bool]) -> None:
    while not happened():  # the test's own time limit ends this
        time.sleep(0.005)


def test_who_reads_is_said_and_what_it_cost(zone: Path, reader_kind: str) -> None:
    with Recorder([PowercapMeter(root=zone.parent), MockMeter("10W")], period_s=0.01) as recorder:
        await_that(lambda: recorder.overhead()[0].reads > 20)
        files, mock = recorder.overhead()
    assert (files.reader, mock.reader) == (reader_kind, "python")
    assert 0.0 < files.cpu_s < files.wall_s


def test_a_mark_is_read_and_drained_at_once_however_long_the_batch(zone: Path, reader_kind: str) -> None:
    with Recorder([PowercapMeter(root=zone.parent)], period_s=60.0) as recorder:
        series = recorder.series("powercap", "package-0")
        await_that(lambda: len(series) > 0)
        for _ in range(3):
            t_ns = base.now_ns()
            recorder.mark()
            await_that(lambda t_ns=t_ns: series.t_ns[len(series) - 1] >= t_ns)
        assert recorder.overhead()[0].reads < 20
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("meter-")]


def put(path: Path, text: str) -> None:
    """Replace a file in one go, so that no read finds it half written."""
    (path.parent / "next").write_text(text)
    (path.parent / "next").rename(path)


@pytest.mark.parametrize(
    ("what", "said"),
    [("garbage", "invalid literal"), ("gone", "No such file"), ("a folder", "Is a directory")],
)
def test_a_file_that_fails_spoils_its_stretch_only(
    zone: Path, reader_kind: str, what: str, said: str
) -> None:
    file = zone / "energy_uj"
    with Recorder([PowercapMeter(root=zone.parent)], period_s=0.002) as recorder:
        series = recorder.series("powercap", "package-0")
        await_that(lambda: recorder.overhead()[0].reads > 5)
        start_ns = base.now_ns()
        if what == "garbage":
            put(file, "garbage\n")
        elif what == "gone":
            file.unlink()
        else:
            (zone / "next").symlink_to(zone)
            (zone / "next").rename(file)
        await_that(lambda: recorder.overhead()[0].failures > 0)
        spoiled = recorder.energy(start_ns, base.now_ns(), wait_s=0.05)[0]
        put(file, "1000\n")
        back_ns = base.now_ns()
        await_that(lambda: series.t_ns[len(series) - 1] > back_ns)
        put(file, "5001000\n")
        later = recorder.energy(back_ns, base.now_ns() + 200_000_000, wait_s=60.0)[0]
        failures = recorder.overhead()[0].failures
    assert spoiled.gross_j is None
    assert said in str(spoiled.reason)
    assert later.gross_j == pytest.approx(5.0)
    assert failures == 1
