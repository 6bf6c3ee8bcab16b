"""Energy by phase: from a whole run with a scripted meter, and from windows whose truth is known."""

import msgspec
import pytest

from harness import phase_energy, runner
from harness.display import Quiet
from harness.messages import Repeated
from power.base import Domain
from power.idle import Idle, Walk
from power.uncertainty import Terms
from power.window import Basis, WindowEnergy
from results import notes, store

USB = Domain("usb", "power", "the plug", gain_limit=0.0)
LEVEL = Idle(5 / 3, 0.0, None, Walk(0.0, 3.0, 0.0), ((0, 1), (100, 101)))


def window(net_j, uncertainty_j=0.1, reason=None):
    """A window of 3 s above 5 J at idle; what is uncertain of it is how it was sampled, and its own."""
    known = net_j is not None
    return WindowEnergy(
        "fnirsi",
        "usb",
        gross_j=net_j + 5 if known else None,
        idle_j=5.0 if known else None,
        net_j=net_j,
        uncertainty_j=uncertainty_j,
        basis=Basis(USB, (10, 13), Terms(sampling_j=uncertainty_j / 1.96), LEVEL) if known else None,
        provenance="measured" if net_j is not None else "unavailable",
        reason=reason,
        duration_s=3.0,
    )


def test_a_phase_is_the_difference_of_two_windows():
    rows = phase_energy.by_phase(
        [
            (Repeated("forward", 100, 0, 1), [window(2.0, 0.3)]),
            (Repeated("backward", 50, 2, 3), [window(4.0, 0.2)]),
            (Repeated("update", 40, 4, 5), [window(4.0, 0.4)]),
        ]
    )
    assert [row.phase for row in rows] == ["forward", "backward", "update"]
    assert [row.net_j_per_step for row in rows] == pytest.approx([0.02, 0.06, 0.02])
    assert [row.uncertainty_j_per_step for row in rows] == pytest.approx([0.003, 0.005, 0.0107703], rel=1e-4)
    assert [row.repetitions for row in rows] == [100, 50, 40]


def test_a_fused_update_is_null_with_the_reason():
    rows = phase_energy.by_phase(
        [(Repeated("forward", 1, 0, 1), [window(2.0)]), (Repeated("backward", 1, 2, 3), [window(5.0)])]
    )
    assert rows[1].net_j_per_step == pytest.approx(3.0)
    assert (rows[2].net_j_per_step, rows[2].provenance) == (None, "unavailable")
    assert "fused" in rows[2].reason


def test_a_worker_that_died_while_repeating_had_no_fused_update():
    rows = phase_energy.by_phase(
        [(Repeated("forward", 1, 0, 1), [window(2.0)]), (Repeated("backward", 1, 2, 3), [window(5.0)])],
        "ended by SIGKILL",
    )
    assert rows[2].reason == "the worker ended before it had repeated this phase: ended by SIGKILL"


def test_phases_that_no_meter_saw_are_null_with_the_reason(make_plan):
    document = runner.run(make_plan(energy_phases=True), Quiet(), lambda document: None)
    for trial in document.trials:
        assert [row.phase for row in trial.energy_by_phase] == ["forward", "backward", "update"]
        assert {row.reason for row in trial.energy_by_phase} == {trial.energy[0].reason}
    assert sum("no energy by phase" in line for line in notes.notes_of(document)) == 2


def test_where_no_step_was_measured_no_phase_is_repeated(make_plan):
    plan = make_plan(energy_phases=True, meters=("mock:5W,counter",), trainers=("lowmem",))
    resumed_late = msgspec.structs.replace(plan.trials[0], warmup=plan.trials[0].steps)
    plan = msgspec.structs.replace(plan, trials=(resumed_late,))
    (trial,) = runner.run(plan, Quiet(), lambda document: None).trials
    assert trial.outcome == "ok", trial.reason
    assert {row.reason for row in trial.energy_by_phase} == {"no step was measured, so none was repeated"}


def test_a_trial_that_failed_says_so_of_its_phases(make_plan):
    plan = make_plan(
        settings={"fail_at": "forward", "fail_how": "raise"}, energy_phases=True, meters=("mock:5W,counter",)
    )
    trial = runner.run(plan, Quiet(), lambda document: None).trials[0]
    assert {row.reason for row in trial.energy_by_phase} == {trial.reason}
    assert "deliberate" in trial.reason


def test_what_misses_the_window_before_is_missing_too():
    rows = phase_energy.by_phase(
        [
            (Repeated("forward", 1, 0, 1), [window(None, None, "samples are missing")]),
            (Repeated("backward", 1, 2, 3), [window(5.0)]),
            (Repeated("update", 1, 4, 5), [window(6.0)]),
        ]
    )
    assert [row.net_j_per_step for row in rows] == [None, None, pytest.approx(1.0)]
    assert rows[1].reason == "samples are missing"


def test_a_whole_run_has_every_phase_and_its_other_figures_are_those_without(make_plan, monkeypatch):
    monkeypatch.setattr("harness.energy._PHASE_WINDOW_S", 0.5)
    settings = {"step_s": 0.01}
    meter = {"meters": ("mock:5W,counter",), "idle_s": 0.3, "steps": 20}
    plain = runner.run(make_plan(settings=settings, **meter), Quiet(), lambda document: None)
    document = runner.run(
        make_plan(settings=settings, energy_phases=True, **meter), Quiet(), lambda document: None
    )
    assert [trial.outcome for trial in document.trials] == ["ok", "ok"], document.trials[0].reason
    assert [trial.quality for trial in document.trials] == [trial.quality for trial in plain.trials]
    assert [trial.energy_by_phase for trial in plain.trials] == [[], []]
    rows = {row.phase: row for row in document.trials[0].energy_by_phase}
    assert list(rows) == ["forward", "backward", "update"]
    # 5 W idle or not: net of idle every phase costs nothing, within its interval; the pretended update sleeps 10 ms.
    for row in rows.values():
        assert row.net_j_per_step == pytest.approx(0.0, abs=row.uncertainty_j_per_step + 1e-6)
        assert row.window_s >= 0.5
        assert row.provenance == "modelled"
    assert rows["update"].repetitions <= rows["update"].window_s / 0.01 + 1
    assert rows["forward"].repetitions > rows["update"].repetitions
    assert store.loads(store.dumps(document)) == document
    lines = [line for line in notes.notes_of(document) if "energy by phase, a step: forward" in line]
    assert [line.partition(":")[0] for line in lines] == ["standard", "lowmem"]
    assert all("(modelled)" in line for line in lines)
