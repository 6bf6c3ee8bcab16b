"""The trigger pin on gpiozero's own mock: states and times; and every way in which it can be absent."""

import sys
import time
import types
from collections.abc import Iterator
from typing import Any

import pytest

from harness.errors import ExitCode, TriggerUnavailableError, exit_code_of
from harness.trigger import Trigger

gpiozero = pytest.importorskip("gpiozero", reason="gpiozero (the pi extra) is not installed")


@pytest.fixture
def factory() -> Iterator[Any]:
    from gpiozero.pins.mock import MockFactory

    before = gpiozero.Device.pin_factory
    gpiozero.Device.pin_factory = MockFactory(revision="d04170")  # a Raspberry Pi 5
    yield gpiozero.Device.pin_factory
    gpiozero.Device.pin_factory.reset()
    gpiozero.Device.pin_factory = before


def test_the_pin_is_high_exactly_in_the_window(factory: Any) -> None:
    with Trigger(17) as trigger:
        pin = factory.pin(17)
        pin.clear_states()
        clear_ns = time.monotonic_ns()
        time.sleep(0.05)
        outer_ns = time.monotonic_ns()
        with trigger.window():
            assert pin.state
            inner_ns = time.monotonic_ns()
            time.sleep(0.1)
            inner_ns = time.monotonic_ns() - inner_ns
        outer_ns = time.monotonic_ns() - outer_ns
        rise, fall = trigger.edges
        waited_s, high_s = (rise.t_ns - clear_ns) * 1e-9, (fall.t_ns - rise.t_ns) * 1e-9
        pin.assert_states_and_times([(0.0, False), (waited_s, True), (high_s, False)])
    assert (rise.active, fall.active) == (True, False)
    assert rise.before_ns <= rise.t_ns <= rise.after_ns
    assert 100_000_000 <= inner_ns <= fall.t_ns - rise.t_ns <= outer_ns


def test_the_polarity_is_a_setting(factory: Any) -> None:
    trigger = Trigger(17, active_high=False)
    pin = factory.pin(17)
    pin.assert_states([False, True])  # the mock's own beginning, then at rest: no third state in between
    with trigger.window():
        pass
    pin.assert_states([False, True, False, True])
    trigger.close()


def test_the_pin_falls_when_the_window_fails_and_when_the_trigger_is_closed_in_it(factory: Any) -> None:
    trigger = Trigger(17)
    with pytest.raises(RuntimeError, match="in the window"), trigger.window():
        raise RuntimeError("in the window")
    assert not factory.pin(17).state
    trigger.set(True)
    pin = factory.pin(17)
    trigger.close()
    trigger.close()
    pin.assert_states([False, True, False, True, False])


def test_a_pin_that_is_taken_or_does_not_exist(factory: Any) -> None:
    with Trigger(17), pytest.raises(TriggerUnavailableError, match="GPIOPinInUse"):
        Trigger(17)
    with pytest.raises(TriggerUnavailableError, match=r"trigger pin 99 .*PinInvalidPin"):
        Trigger(99)


def test_a_machine_without_gpio_says_what_to_install() -> None:
    before = gpiozero.Device.pin_factory
    gpiozero.Device.pin_factory = None
    try:
        with pytest.raises(TriggerUnavailableError) as caught:
            Trigger(17)
    finally:
        gpiozero.Device.pin_factory = before
    assert caught.value.hint
    assert exit_code_of(caught.value) == ExitCode.USAGE


def test_without_gpiozero_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gpiozero", None)
    with pytest.raises(TriggerUnavailableError, match=r"edge-harness\[pi\]"):
        Trigger(17)


def test_a_driver_that_fails_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def __init__(self, pin: int, active_high: bool, initial_value: bool) -> None:
            pass

        def __setattr__(self, name: str, value: object) -> None:
            raise RuntimeError("'GPIO busy'")

    module = types.ModuleType("gpiozero")
    module.DigitalOutputDevice = Broken  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gpiozero", module)
    with pytest.raises(TriggerUnavailableError, match="cannot be driven: 'GPIO busy'"):
        Trigger(17).set(True)
