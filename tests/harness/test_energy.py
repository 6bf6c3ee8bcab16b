"""From the meters around a trial to the row of the document."""

import math
import threading
import time
from dataclasses import replace

import pytest

from harness import energy, runner
from harness.display import Quiet
from harness.energy import EnergyWatch
from harness.errors import ExitCode
from harness.messages import PhaseBegun
from harness.outcomes import verdict
from power import registry
from power.base import Domain, Meter, Sample, now_ns
from results import notes, store


class LateMeter(Meter):
    """A counter at 10 W, renewed every 10 ms, that says nothing for a while after it was opened; None: for ever.

    With `register`, it also counts what it renews once a minute, as a plug's own register.
    """

    name = "late"
    streams = True

    def __init__(self, late_s=0.0, *, register=False):
        super().__init__()
        self.late_s, self.register, self.opened_ns = late_s, register, None

    @property
    def domains(self):
        plug = Domain("plug", "energy", "", update_s=0.01, max_power_w=20.0)
        slow = Domain("register", "energy", "", parent="plug", update_s=60.0, max_power_w=20.0)
        return (plug, slow) if self.register else (plug,)

    def open(self):
        self.opened_ns = self.opened_ns or now_ns()

    def read(self):
        time.sleep(0.005)
        since_s = (now_ns() - self.opened_ns) * 1e-9
        if self.late_s is None or since_s < self.late_s:
            return []
        return [Sample(now_ns(), domain.name, energy_j=10.0 * since_s) for domain in self.domains]

    def close(self):
        pass


class RareMeter(Meter):
    """A counter that is read where it is told to be, and hardly ever else."""

    name = "rare"
    period_s = 1000.0
    domains = (Domain("plug", "energy", "", update_s=0.001, max_power_w=1000.0),)

    def __init__(self):
        super().__init__()
        self.watts, self.joules, self.t_ns, self.reads = 5.0, 0.0, now_ns(), 0

    def open(self):
        pass

    def set(self, watts):
        self.read()
        self.watts = watts

    def read(self):
        at_ns = now_ns()
        self.joules, self.t_ns = self.joules + self.watts * (at_ns - self.t_ns) * 1e-9, at_ns
        self.reads += 1
        return [Sample(at_ns, "plug", energy_j=self.joules)]

    def await_reads(self, count):
        end_s = time.monotonic() + 30.0
        while self.reads < count:
            assert time.monotonic() < end_s, f"only {self.reads} readings"
            time.sleep(0.001)

    def close(self):
        pass


@pytest.fixture
def watch(monkeypatch):
    """Return a function: a meter and what was asked of the idle time → the rows of a trial, and the times announced."""

    def run(meter, idle_s):
        monkeypatch.setattr(energy.registry, "make", lambda name: meter)
        told = []
        with EnergyWatch(("late",), idle_s, told.append) as meters:
            meters.before_trial()
            begin = now_ns()
            time.sleep(1.1)
            rows = meters.after_trial({"begin": begin, "end": now_ns()}, 10)
        return rows, told

    return run


def test_the_first_idle_window_begins_when_every_meter_has_delivered(watch):
    (row,), _ = watch(LateMeter(0.4), 0.3)
    assert row.gross_j == pytest.approx(10.0 * row.window_s, rel=0.01)
    assert row.reason is None


def test_a_meter_that_delivers_nothing_holds_up_no_run(monkeypatch):
    monkeypatch.setattr(energy.registry, "make", lambda name: LateMeter(None))
    begun = time.monotonic()
    with EnergyWatch(("late",), 0.0, lambda seconds: None):
        assert 0.9 < time.monotonic() - begun < 5.0


def test_a_counter_is_read_at_the_edges_of_the_idle_windows(monkeypatch):
    meter = RareMeter()
    monkeypatch.setattr(energy.registry, "make", lambda name: meter)

    def once_inside(seconds):
        threading.Timer(seconds / 4, meters.mark).start()

    with EnergyWatch(("rare",), 0.4, once_inside) as meters:
        meters.before_trial()
        meter.await_reads(4)  # the first, one inside, and one at each edge
        begin = now_ns()
        for watts in (50.0, 5.0):
            time.sleep(0.1)
            meter.set(watts)
            before = meter.reads
            meters.mark()
            meter.await_reads(before + 1)
        end = now_ns()
        (row,) = meters.after_trial({"begin": begin, "end": end}, 10)
    assert row.gross_j == pytest.approx(0.1 * (5.0 + 50.0), rel=0.5)
    assert row.idle_j == pytest.approx(5.0 * row.window_s)
    assert row.idle_drift_w == pytest.approx(0.0, abs=1e-6)


def test_idle_windows_are_long_enough_for_the_slowest_meter_unless_they_are_asked_for(watch, monkeypatch):
    monkeypatch.setattr(energy, "DEFAULT_IDLE_S", 0.1)
    (row,), told = watch(LateMeter(), None)
    assert told == [1.0, 1.0]  # 20 updates of 10 ms and a fifth more, in whole seconds
    assert (row.net_j is not None, row.reason) == (True, None)


def test_idle_windows_asked_too_short_name_the_option_and_what_would_do(watch, monkeypatch):
    monkeypatch.setattr(energy, "DEFAULT_IDLE_S", 0.1)
    (row,), told = watch(LateMeter(), 0.1)
    assert told == [0.1, 0.1]
    assert row.net_j is None
    assert "too short" in row.reason
    assert row.reason.endswith("; try: --idle 1")


def test_a_slow_register_inside_its_plug_lengthens_no_idle_window(watch, monkeypatch):
    monkeypatch.setattr(energy, "DEFAULT_IDLE_S", 0.1)
    (plug, register), told = watch(LateMeter(register=True), None)
    assert told == [1.0, 1.0]
    assert (plug.reason, register.net_j) == (None, None)


def test_a_run_records_each_meters_settings_and_what_it_covers(make_plan):
    meters = ("mock:5W,counter", "mock:7W,counter,limit=0.01")
    plan = make_plan(settings={"step_s": 0.1}, meters=meters, idle_s=0.3, trainers=("lowmem",))
    document = runner.run(plan, Quiet(), lambda document: None)
    rows = document.trials[0].energy
    assert [row.settings for row in rows] == [{"script": meter.removeprefix("mock:")} for meter in meters]
    for row in rows:
        assert row.covers == "a scripted load"
        assert row.fresh_samples > 0
        assert 0.0 < row.longest_gap_s <= row.window_s
        assert row.gross_uncertainty_j >= row.terms_j["gain_j"]
    assert store.loads(store.dumps(document)) == document


class SteadyMeter(Meter):
    """A counter at 10 W, renewed every 3 ms: however late it is read, it has all that was counted since."""

    name = "steady"
    streams = True
    update_ns = 3_000_000
    domains = (Domain("all", "energy", "", update_s=0.003, max_power_w=20.0),)

    def open(self):
        self.told = now_ns() // self.update_ns

    def read(self):
        time.sleep(0.005)
        begin, self.told = self.told, now_ns() // self.update_ns
        ticks = range(begin + 1, self.told + 1)
        return [
            Sample(tick * self.update_ns, "all", energy_j=10.0 * tick * self.update_ns * 1e-9)
            for tick in ticks
        ]

    def close(self):
        pass


def test_a_run_of_as_many_steps_as_a_window_too_short_asked_for_is_measured(make_plan, monkeypatch):
    """A hundred updates are 0.3 s, and a step takes at least 0.1 s: more where others have the processor."""
    monkeypatch.setattr(registry, "make", lambda name: SteadyMeter())

    def run(steps):
        options = {"meters": ("steady",), "idle_s": 0.2, "warmup": 1, "trainers": ("lowmem",)}
        plan = make_plan(settings={"step_s": 0.1}, steps=steps, **options)
        (trial,) = runner.run(plan, Quiet(), lambda document: None).trials
        begin_ns, end_ns = trial.windows.measured_ns
        return trial.energy[0], (end_ns - begin_ns) * 1e-9

    for _ in range(
        5
    ):  # again where others delayed the first run's step, which the second's are too quick for then
        refused, window_s = run(1)
        if refused.gross_j is not None:
            continue
        enough = math.ceil(1.1 * 1 * 0.3 / window_s)
        assert refused.reason.endswith(f" is too short for this meter: 0.3 s would do; try: --steps {enough}")
        row, window_s = run(enough)
        if row.gross_j is not None:
            assert row.gross_j == pytest.approx(10.0 * window_s, rel=1e-6)
            assert (row.reason, row.net_j_per_step * enough) == (None, pytest.approx(row.net_j))
            return
    pytest.fail("this machine stood still in every run")


class Unplugs(Quiet):
    """Disconnects the meter for good when the second trial begins to train."""

    def __init__(self, meter):
        self.meter, self.trial = meter, None

    def trial_begins(self, index, trial):
        self.trial = index

    def message(self, message, pid):
        if self.trial == 1 and isinstance(message, PhaseBegun) and message.name == "train":
            self.meter.script = replace(self.meter.script, disconnect=(0.0, math.inf))


def test_a_meter_unplugged_in_the_middle_costs_the_run_its_energy_alone(make_plan, monkeypatch):
    meter = registry.make("mock:10W,counter")
    plan = make_plan(settings={"step_s": 0.1}, meters=("mock:10W,counter",), idle_s=0.3)
    monkeypatch.setattr(registry, "make", lambda name: meter)
    document = runner.run(plan, Unplugs(meter), lambda document: None)
    before, after = document.trials
    assert [trial.outcome for trial in (before, after)] == ["ok", "ok"]
    assert before.energy[0].net_j is not None
    (row,) = after.energy
    assert (row.meter, row.gross_j, row.net_j, row.provenance) == ("mock", None, None, "unavailable")
    assert row.reason.startswith("the meter failed: meter 'mock' was disconnected")
    assert row.settings == {"script": "10W,counter"}
    assert after.time.step_s.median >= 0.1
    assert after.memory.training_peak_bytes is not None
    assert after.memory.by_phase.keys() == before.memory.by_phase.keys()
    assert after.quality.test_accuracy is not None
    assert any("lowmem: no energy from mock: the meter failed" in line for line in notes.notes_of(document))
    assert verdict(document) is ExitCode.OK
    assert store.loads(store.dumps(document)) == document
