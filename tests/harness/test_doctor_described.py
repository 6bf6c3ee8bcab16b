"""`harness doctor`, unmodified, on machines that umockdev describes: what it finds, and that it changes nothing."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from harness import doctor, host, others, throttling
from harness.others import Reading
from power import registry
from power.meters import fnirsi, powercap

HERE = Path(__file__).parent
DESCRIBED = ("rapl-two-sockets", "hwmon", "fnb58")
TREES = [f"--device={HERE.parent}/data/power/{name}.umockdev" for name in DESCRIBED]
PI4 = ("Raspberry Pi 4 Model B Rev 1.4", r"\000\260\061\024")

umockdev = pytest.mark.skipif(shutil.which("umockdev-run") is None, reason="umockdev is not installed")
# What a hint may ask for, and what that would start.
COMMANDS = ("sudo", "pip", "apt", "tee", "udevadm", "modprobe", "usermod", "rfcomm")


def files(folder):
    """Return every file and folder below, with what is in it."""
    return {path: path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


@pytest.fixture
def examine(tmp_path):
    """Return a function: a described machine and options → what `harness doctor` printed.

    It fails where anything was written to the user's folders, the working one or the temporary one, or where any of
    the commands that mend things was started.
    """
    stubs = tmp_path / "bin"
    stubs.mkdir()
    for name in COMMANDS:
        (stubs / name).write_text(f"#!/bin/sh\necho {name} >>{tmp_path}/started\n")
        (stubs / name).chmod(0o755)
    variables = ["HOME", "TMPDIR", *(f"XDG_{kind}_HOME" for kind in ("CACHE", "CONFIG", "DATA", "STATE"))]
    places = {name: tmp_path / name for name in (*variables, "XDG_RUNTIME_DIR", "cwd")}
    for place in places.values():
        place.mkdir()
    env = {name: str(place) for name, place in places.items() if name != "cwd"}
    env["PATH"] = f"{stubs}:{os.environ['PATH']}"

    def run(wrapper, *options):
        before = files(tmp_path)
        command = [*wrapper, sys.executable, "-P", "-m", "harness", "doctor", *options]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=110, check=False, cwd=places["cwd"], env=env
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert files(tmp_path) == before
        return done.stdout

    return run


@umockdev
def test_meters_that_are_there_are_found_and_the_machine_is_left_as_it_was(examine):
    wrapper = ["umockdev-run", *TREES, "--", "sh", str(HERE / "untouched.sh")]
    document = json.loads(examine(wrapper, "--json", "-"))
    known = msgspec.to_builtins(msgspec.convert(document, doctor.Examination))
    assert known == document  # nothing more, nothing less
    assert (document["schema"], document["schema_version"]) == ("harness.doctor", 1)
    for kind in ("engines", "workers", "samplers", "meters", "pins", "limits"):
        assert all(row["usable"] or row["reason"] for row in document[kind]), kind
    meters = {row["name"]: row for row in document["meters"]}
    assert list(meters) == registry.names()
    found = {name: meters[name]["domains"] for name in ("powercap", "hwmon", "fnirsi")}
    assert found == {
        "powercap": ["psys", "package-0", "core-0", "dram-0", "package-1", "dram-1"],
        "hwmon": ["ina219-1", "ina3221-VDD_IN", "ina3221-VDD_CPU"],
        "fnirsi": ["usb"],
    }
    assert all(meters[name]["usable"] for name in found)


@umockdev
@pytest.mark.skipif(
    os.geteuid() == 0 and shutil.which("setpriv") is None, reason="setpriv takes root's right"
)
def test_what_mends_meters_that_this_user_may_not_read_is_printed_and_not_run(examine):
    wrapper = ["umockdev-run", *TREES, "--", "sh", str(HERE / "root_only.sh")]
    lines = examine(wrapper, "--fix").splitlines()
    for hint in (powercap.HINT_READ, fnirsi.HINT_UDEV):
        command, _, remark = hint.partition(" (")
        assert f"{command}  # {remark.removesuffix(')')}" in lines
    assert any("sudo chmod -R a+r /sys/class/powercap/intel-rapl" in line for line in lines)
    (rule,) = [shlex.split(line, comments=True)[1] for line in lines if "udev/rules.d" in line]
    assert 'KERNEL=="hidraw*"' in rule
    assert "2e3c" in rule  # the vendor of the described meter
    # What hwmon lets everybody read needs no mending.
    assert not [line for line in lines if "hwmon" in line]


@umockdev
def test_a_raspberry_pi_whose_memory_controller_is_off_is_told_how_to_get_it(examine):
    scripts = ["sh", str(HERE / "no_memory_controller.sh"), "sh", str(HERE / "describe_pi.sh"), *PI4]
    shown = examine(["env", "COLUMNS=200", "TESTBED=/dev/null", "umockdev-run", "--", *scripts])
    assert shown.startswith(f"{PI4[0]}, ")
    found = shown.partition("cgroup-v2")[2].splitlines()
    assert "the kernel's memory controller is off" in found[0]
    assert "try: add cgroup_enable=memory to the kernel's command line" in found[1]
    assert "/boot/firmware/cmdline.txt" in found[1]


@pytest.mark.parametrize(
    ("all_have", "v1_has", "hint"),
    [("cpu io pids", None, True), ("cpu memory pids", None, False), ("cpu io pids", "cgroup-v1", False)],
)
def test_the_memory_controller_is_asked_for_only_where_neither_hierarchy_has_it(
    monkeypatch, tmp_path, all_have, v1_has, hint
):
    group = tmp_path / "user.slice"
    group.mkdir()
    (tmp_path / "cgroup.controllers").write_text(f"{all_have}\n")
    (group / "cgroup.controllers").write_text("cpu pids\n")
    groups = {"cgroup-v2": group} | ({v1_has: tmp_path} if v1_has else {})
    monkeypatch.setattr(doctor.ceilings, "memory_groups", lambda: iter(groups.items()))
    found = {finding.name: finding for finding in doctor._limits()}
    asking = [name for name, finding in found.items() if "cgroup_enable=memory" in (finding.hint or "")]
    assert asking == (["cgroup-v2", "cgroup-v1"] if hint else [])
    undelegated = found["cgroup-v2"].reason == "the memory controller is not delegated"
    assert undelegated is ("memory" in all_have)
    if v1_has:
        assert found["cgroup-v1"].usable
        assert found["cgroup-v2"].reason == "the memory controller is cgroup-v1's here"


QUIET = [Reading(0.0, 2, 0.0, 0.0, 0.0), Reading(0.2, 2, 0.4, 0.0, 0.0)]
BUSY = [Reading(0.0, 2, 0.0, 0.0, 0.0), Reading(0.2, 2, 0.1, 0.0, 0.0)]


@pytest.mark.parametrize(
    ("accounts", "governor", "word", "said"),
    [
        (QUIET, None, None, "quiet"),
        (QUIET, "performance", 0x50000, "quiet"),  # what has been since boot is not now
        (BUSY, None, None, "busy: others take 1.5 of 2 processors; wait, or stop what else runs"),
        (QUIET, "ondemand", 0x4, "governor 'ondemand': times will vary; try: sudo cpupower frequency-set"),
        (QUIET, "ondemand", 0x4, "; throttled now"),
    ],
)
def test_the_first_line_says_whether_the_machine_is_quiet(
    harness_main, monkeypatch, tmp_path, accounts, governor, word, said
):
    if governor:
        (tmp_path / "governor").write_text(f"{governor}\n")
    monkeypatch.setattr(host, "_GOVERNOR", tmp_path / "governor")
    monkeypatch.setattr(throttling, "word", lambda: word)
    monkeypatch.setattr(doctor.meters, "probe_all", list)  # what else is found is not asked here
    for options in ((), ("--json", "-")):
        readings = iter(accounts)
        monkeypatch.setattr(others, "read", lambda worker=None, readings=readings: next(readings))
        ended = harness_main("doctor", *options, columns=300)
        assert ended.status == 0, ended.err
        if options:
            machine = json.loads(ended.out)["machine"]
            assert (machine["quiet"], machine["notes"] == []) == (said == "quiet", said == "quiet")
        else:
            first = ended.out.splitlines()[0]
            assert said in first
            assert ("quiet" in first) is (said == "quiet")
