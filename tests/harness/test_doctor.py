import pkgutil
import shlex
import subprocess
from importlib import import_module

import pytest

from harness import doctor, trigger
from harness.doctor import Examination, Finding, commands, examine
from power import meters


@pytest.fixture(scope="module")
def examined() -> Examination:
    return examine()


def test_what_reads_the_meters_is_told(examined: Examination) -> None:
    (sampler,) = examined.samplers
    assert sampler.name == "native"
    assert sampler.usable or "libharness_sampler.so" in str(sampler.reason)


def test_what_mends_is_a_line_for_a_shell(examined: Examination) -> None:
    """A remark goes behind #, a meter to be named into a whole command, advice into a comment."""
    examined.meters = [
        Finding(name="a", usable=False, reason="x", hint="sudo modprobe rapl (a virtual machine has none)"),
        Finding(name="b", usable=False, reason="x", hint="--meter tc66:/dev/ttyACM0"),
        Finding(name="c", usable=False, reason="x", hint="plug it in"),
        Finding(name="d", usable=False, reason="x", hint="plug it in"),
        Finding(name="e", usable=False, reason="x", hint="sudo modprobe rapl (a virtual machine has none)"),
        Finding(name="f", usable=True, reason="x", hint="sudo halt"),
    ]
    examined.engines, examined.workers, examined.samplers, examined.limits = [], [], [], []
    assert commands(examined) == [
        "sudo modprobe rapl  # a virtual machine has none",
        "harness run --meter tc66:/dev/ttyACM0",
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
    examined.engines, examined.workers, examined.samplers, examined.limits = [], [], [], []
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
        ("--meter mock:10W", "harness run --meter mock:10W"),
    ],
)
def test_what_holds_a_placeholder_is_no_line_to_run(examined: Examination, hint: str, line: str) -> None:
    assert only(examined, hint) == line


def test_nothing_that_mends_this_machine_is_half_a_command() -> None:
    for line in commands(examine()):
        assert subprocess.run(["bash", "-n", "-c", line], check=False).returncode == 0, line
