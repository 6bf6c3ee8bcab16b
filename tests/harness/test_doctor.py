import os
import pkgutil
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from harness import doctor, trigger
from harness.doctor import Examination, Finding, commands, examine, kinds, summary
from power import meters


@pytest.fixture(scope="module")
def examined() -> Examination:
    return examine()


def test_what_reads_the_meters_is_told(examined: Examination) -> None:
    (sampler,) = examined.samplers
    assert sampler.name == "native"
    assert sampler.usable or "libharness_sampler.so" in str(sampler.reason)


def test_the_trigger_pin_is_looked_at(examined: Examination) -> None:
    (pin,) = examined.pins
    assert pin.name == "trigger pin"
    assert pin.usable or pin.reason


def without_other_findings(examined: Examination) -> None:
    """Leave the meters alone in it."""
    examined.engines, examined.workers, examined.samplers, examined.limits = [], [], [], []
    examined.pins = []


def test_what_mends_is_a_line_for_a_shell(examined: Examination) -> None:
    """A remark goes behind #; advice, and a meter to be named, which mends nothing, into a comment."""
    examined.meters = [
        Finding(name="a", usable=False, reason="x", hint="sudo modprobe rapl (a virtual machine has none)"),
        Finding(name="b", usable=False, reason="x", hint="--meter tc66:/dev/ttyACM0"),
        Finding(name="c", usable=False, reason="x", hint="plug it in"),
        Finding(name="d", usable=False, reason="x", hint="plug it in"),
        Finding(name="e", usable=False, reason="x", hint="sudo modprobe rapl (a virtual machine has none)"),
        Finding(name="f", usable=True, reason="x", hint="sudo halt"),
    ]
    without_other_findings(examined)
    assert commands(examined) == [
        "sudo modprobe rapl  # a virtual machine has none",
        "# b: --meter tc66:/dev/ttyACM0",
        "# c: plug it in",
        "# d: plug it in",
    ]


def hints() -> list[str]:
    """Every hint that a module of a meter, the trigger's or the doctor's own names as such."""
    found = [import_module(f"power.meters.{each.name}") for each in pkgutil.iter_modules(meters.__path__)]
    named = [vars(module).items() for module in (*found, trigger, doctor)]
    return sorted({value for items in named for name, value in items if "HINT" in name})


def only(examined: Examination, hint: str) -> str:
    """Return the line that mends what one hint is for."""
    examined.meters = [Finding(name="x", usable=False, reason="x", hint=hint)]
    without_other_findings(examined)
    (line,) = commands(examined)
    return line


def test_there_are_hints_to_look_at() -> None:
    assert len(hints()) >= 12


@pytest.mark.parametrize("hint", hints())
def test_a_line_to_run_is_a_command_and_its_remark_a_comment(examined: Examination, hint: str) -> None:
    line = only(examined, hint)
    command, _, remark = line.partition("# ")
    words = shlex.split(command)
    assert not [word for word in words if word in ("or", "then", "or:") or word.endswith((",", ";", ":"))]
    assert "(" not in command.replace("$(", "")
    assert remark.count("(") == remark.count(")")
    assert subprocess.run(["bash", "-n", "-c", line], check=False).returncode == 0


@pytest.mark.parametrize(
    ("hint", "line"),
    [
        (
            "sudo usermod -aG video $USER (then log in again)",
            "sudo usermod -aG video $USER  # then log in again",
        ),
        ("echo 'a rule' | sudo tee /etc/udev/rules.d/x", "echo 'a rule' | sudo tee /etc/udev/rules.d/x"),
        (
            "sudo rfcomm bind 0 AA:BB:CC:DD:EE:FF (then y)",
            "# x: sudo rfcomm bind 0 AA:BB:CC:DD:EE:FF (then y)",
        ),
        ("--meter replay:FILE", "# x: --meter replay:FILE"),
        ("--meter shelly:192.168.1.20", "# x: --meter shelly:192.168.1.20"),
        ("--meter mock:10W", "# x: --meter mock:10W"),
    ],
)
def test_what_holds_a_placeholder_is_no_line_to_run(examined: Examination, hint: str, line: str) -> None:
    assert only(examined, hint) == line


def pin_finding() -> Finding:
    """What the doctor says of the trigger pin."""
    return doctor._trigger_pin()


def test_a_machine_without_gpio_has_no_trigger_pin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GPIOZERO_PIN_FACTORY", raising=False)
    monkeypatch.setattr(trigger, "DEVICES", tmp_path)
    pin = pin_finding()
    assert not pin.usable
    assert "no GPIO" in str(pin.reason)
    assert pin.hint is None  # nothing installs pins


def test_a_user_outside_the_group_is_told_to_join_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, examined: Examination
) -> None:
    monkeypatch.delenv("GPIOZERO_PIN_FACTORY", raising=False)
    monkeypatch.setattr(trigger, "DEVICES", tmp_path)
    (tmp_path / "gpiochip0").touch()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    pin = pin_finding()
    assert "gpiochip0" in str(pin.reason)
    examined.meters = []
    without_other_findings(examined)
    examined.pins = [pin]
    assert commands(examined) == ["sudo usermod -aG gpio $USER  # then log in again"]


def test_a_trigger_pin_needs_gpiozero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "mock")
    monkeypatch.setitem(sys.modules, "gpiozero", None)
    pin = pin_finding()
    assert pin.reason == "gpiozero is not installed"
    assert str(pin.hint).startswith("pip install 'edge-harness[pi]'")


def test_a_pin_driver_is_tried_and_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("gpiozero", reason="gpiozero (the pi extra) is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "mock")
    assert pin_finding() == Finding(name="trigger pin", usable=True)
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "nosuch")
    pin = pin_finding()
    assert "BadPinFactory" in str(pin.reason)
    assert str(pin.hint).startswith("pip install")
    assert not list(tmp_path.iterdir())


def test_the_rest_of_one_screen_is_by_name_alone(examined: Examination) -> None:
    """What a command mends stays in full, and so do engines and limits, which no machine is without by nature."""
    bind = "sudo rfcomm bind 0 AA:BB:CC:DD:EE:FF (then --meter um25c:/dev/x)"
    without_other_findings(examined)
    examined.engines = [Finding(name="torch", usable=False, reason="not installed")]
    examined.pins = [Finding(name="trigger pin", usable=False, reason="no GPIO")]
    examined.meters = [
        Finding(name="powercap", usable=False, reason="x", hint="sudo chmod a+r /sys (until the next boot)"),
        Finding(name="rdtech", usable=False, reason="x", hint=bind),
        Finding(name="replay", usable=False, reason="x", hint="--meter replay:FILE"),
        Finding(name="fnirsi", usable=False, reason="x", hint="plug it in"),
        Finding(name="nvml", usable=False, reason="x"),
        Finding(name="mock", usable=True),
    ]  # fmt: skip
    found = summary(examined)
    assert {kind: [each.name for each in found.works[kind]] for kind in found.works if found.works[kind]} == {
        "meters": ["mock"]
    }
    assert [each.name for each in found.mendable] == ["torch", "powercap"]
    assert found.places == ["um25c:/dev/x", "replay:FILE"]
    assert found.absent == ["fnirsi", "nvml", "trigger pin"]


def test_nothing_of_this_machine_is_left_out_of_one_screen() -> None:
    examined = examine()
    found = summary(examined)
    named = sum(map(len, found.works.values())) + len(found.mendable) + len(found.places) + len(found.absent)
    assert named == sum(map(len, kinds(examined).values()))


def test_nothing_that_mends_this_machine_is_half_a_command() -> None:
    for line in commands(examine()):
        assert subprocess.run(["bash", "-n", "-c", line], check=False).returncode == 0, line
