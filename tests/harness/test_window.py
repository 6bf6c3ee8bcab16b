"""The trigger pin over whole trials, on gpiozero's own mock pins."""

import pytest

gpiozero = pytest.importorskip("gpiozero")
mock = pytest.importorskip("gpiozero.pins.mock")


@pytest.fixture
def pins(monkeypatch):
    factory = mock.MockFactory(revision="d04170")
    monkeypatch.setattr(gpiozero.Device, "pin_factory", factory)
    yield factory
    factory.reset()


@pytest.mark.parametrize("active_low", [False, True])
def test_the_pin_is_active_exactly_in_the_measured_window(make_plan, pins, active_low):
    from harness import runner
    from harness.display import Quiet

    plan = make_plan({"step_s": 0.05}, trigger_pin=17, trigger_active_low=active_low)
    document = runner.run(plan, Quiet(), lambda document: None)
    for trial in document.trials:
        assert trial.outcome == "ok", trial.reason
        steps_s = sum(trial.time.steps_s)
        assert steps_s < trial.trigger.active_s < steps_s + 0.2
        assert trial.trigger.edge_s < 0.05
    off, on = (True, False) if active_low else (False, True)
    pins.pin(17).assert_states([False, *([off] if active_low else []), on, off, on, off])


@pytest.mark.parametrize("how", ["kill", "raise", "hang"])
def test_the_pin_falls_when_the_worker_dies_in_its_window(make_plan, pins, how):
    from harness import runner
    from harness.display import Quiet

    settings = {"fail_at": "update", "fail_how": how}
    plan = make_plan(settings, trigger_pin=17, warmup=0, silence_s=1.0)
    document = runner.run(plan, Quiet(), lambda document: None)
    assert document.trials[1].outcome == "error"
    assert document.trials[1].trigger is None
    pins.pin(17).assert_states([False, True, False, True, False])


def test_a_machine_without_pins_says_so_before_anything_runs(make_plan, monkeypatch):
    from harness import runner
    from harness.display import Quiet
    from harness.errors import TriggerUnavailableError

    monkeypatch.setattr(gpiozero.Device, "pin_factory", None)
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "native")
    with pytest.raises(TriggerUnavailableError, match="17"):
        runner.run(make_plan(trigger_pin=17), Quiet(), lambda document: None)
