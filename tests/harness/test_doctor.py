import pytest

from harness.doctor import Examination, Finding, commands, examine


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
