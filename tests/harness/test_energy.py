"""From a window's energy to the row of the document."""

from dataclasses import replace
from math import inf

import pytest

from harness import runner
from harness.commands.run import verdict
from harness.display import Quiet
from harness.energy import row_of
from harness.errors import ExitCode
from harness.messages import PhaseBegun
from power import registry
from power.window import WindowEnergy
from results import notes, store


@pytest.mark.parametrize(
    ("parent", "apart", "noted"), [("psys", True, "psys"), (None, True, ""), (None, False, None)]
)
def test_a_row_says_which_domain_contains_it(parent, apart, noted):
    """And null where nobody knows: sensors of a board are not added up."""
    measured = WindowEnergy(
        "rapl",
        "package-0",
        gross_j=3.0,
        idle_j=1.0,
        net_j=2.0,
        uncertainty_j=0.1,
        rate_hz=10.0,
        provenance="measured",
        parent=parent,
        apart=apart,
        duration_s=1.0,
    )
    row = row_of(measured, 4, 1.0)
    assert (row.parent, row.net_j_per_step) == (noted, 0.5)


def test_a_row_keeps_what_the_meter_is_and_how_it_was_read():
    terms = {"gain_j": 0.04, "idle_j": 0.02}
    measured = WindowEnergy(
        "hwmon",
        "ina219-1",
        gross_j=3.0,
        idle_j=1.0,
        net_j=2.0,
        uncertainty_j=0.1,
        rate_hz=10.0,
        provenance="measured",
        covers="what is wired behind ina219 channel 1",
        gross_uncertainty_j=0.2,
        fresh_samples=7,
        longest_gap_s=0.3,
        uncertainty_terms_j=terms,
    )
    row = row_of(measured, 4, 1.0, None, {"shunt_ohm": 0.1})
    assert row.covers == "what is wired behind ina219 channel 1"
    assert (row.gross_uncertainty_j, row.fresh_samples, row.longest_gap_s) == (0.2, 7, 0.3)
    assert (row.terms_j, row.settings) == (terms, {"shunt_ohm": 0.1})


def test_no_energy_has_no_number_of_fresh_samples():
    """None were counted; a 0 would say that the meter stood still."""
    row = row_of(WindowEnergy("hwmon", "ina219-1", reason="too short"), 4, 1.0)
    assert (row.fresh_samples, row.longest_gap_s, row.terms_j) == (None, None, {})


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


class Unplugs(Quiet):
    """Disconnects the meter for good when the second trial begins to train."""

    def __init__(self, meter):
        self.meter, self.trial = meter, None

    def trial_begins(self, index, trial):
        self.trial = index

    def message(self, message, pid):
        if self.trial == 1 and isinstance(message, PhaseBegun) and message.name == "train":
            self.meter.script = replace(self.meter.script, disconnect=(0.0, inf))


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
