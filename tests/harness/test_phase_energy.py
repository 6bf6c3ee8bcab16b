"""Energy by phase: from a whole run with a scripted meter, and from windows whose truth is known."""

import pytest

from harness import phase_energy, runner
from harness.display import Quiet
from harness.messages import Repeated
from power.window import WindowEnergy
from results import notes, store


def window(net_j, uncertainty_j=0.1, reason=None):
    return WindowEnergy(
        "fnirsi",
        "usb",
        gross_j=None if net_j is None else net_j + 5,
        net_j=net_j,
        uncertainty_j=uncertainty_j,
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
