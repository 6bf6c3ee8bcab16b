"""The polling schedule on a scripted clock: the rate is kept through late wake-ups, and a stall makes no burst."""

from itertools import pairwise

import pytest

from power import reader
from power.base import Domain, Meter, Probe, Sample
from power.reader import Reader
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
