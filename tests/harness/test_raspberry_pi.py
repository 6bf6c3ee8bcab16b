"""`harness run --device pi`, unmodified, on Raspberry Pis that umockdev describes: from start to document."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import psutil
import pytest

from harness import workers
from results import schema
from workloads.registry import ENGINES

HERE = Path(__file__).parent
POWER = HERE.parent / "power"
POWER_DATA = HERE.parent / "data" / "power"
SYSTEM_PYTHON = "/usr/bin/python3"
PI4 = ("Raspberry Pi 4 Model B Rev 1.4", r"\000\260\061\024")  # 0xB03114: 2 GiB
PI5 = ("Raspberry Pi 5 Model B Rev 1.0", r"\000\304\101\160")  # 0xC04170: 4 GiB
INA219 = ["umockdev-run", "-d", str(POWER_DATA / "hwmon.umockdev"), "--"]
GIB = 1 << 30

pytestmark = [
    pytest.mark.skipif(shutil.which("umockdev-run") is None, reason="umockdev is not installed"),
    pytest.mark.skipif(all(row.missing() for row in ENGINES.values()), reason="no engine is installed"),
]


def start_on(wrapper, board, cwd, *options):
    program = [sys.executable, "-P", "-m", "harness", "run", "--device", "pi", "--json", "-"]
    given = ["--trainer", "lowmem", "--threads", "1", "--repeats", "1", "--warmup", "2", "--idle", "1.5"]
    command = [*wrapper, str(HERE / "describe_pi.sh"), *board, *program, *given, *options]
    env = {"HOME": str(cwd)} | {name: os.environ[name] for name in ("PATH", "XDG_CACHE_HOME")}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd, env=env
    )


def document_in(out):
    """Return what was printed, a document by its schema."""
    document = json.loads(out)
    jsonschema.validate(document, schema.json_schema())
    return document


def run_on(wrapper, board, cwd, *options):
    process = start_on(wrapper, board, cwd, *options)
    out, errors = process.communicate(timeout=110)
    assert process.returncode == 0, errors
    return document_in(out)


def sampled(run, tmp_path):
    """Return the document of a run whose sampler got its turns: on a starved machine the program says it did not."""
    for attempt in range(3):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        document = run(folder)
        (row,) = document["trials"][0]["energy"]
        if "samples are missing" not in (row["reason"] or ""):
            break
    return document


def described(profile, board):
    """Return what the document must say of the device: itself, as its device tree names it, and nothing emulated."""
    return {
        "requested": "pi",
        "profile": profile,
        "detected": board[0],
        "emulated": False,
        "memory_limit_bytes": None,
    }


def await_worker(process):
    """Return once the program has started a worker."""
    while process.poll() is None:
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(process.pid).children(recursive=True):
                if workers.WORKER in child.cmdline():
                    return
        time.sleep(0.01)
    raise AssertionError(process.communicate())


NO_METER = ["umockdev-run", "--"]
PI4_FIRMWARE = """#!/bin/sh
case "$1" in
get_throttled) echo throttled=0x0 ;;
*) echo 'error=1 error_msg="Command not registered"' ;;
esac
"""


def numbers(value, name=""):
    """Yield (name, number) of every number of a document."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from numbers(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from numbers(inner, name)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield name, value


def test_a_raspberry_pi_4_without_a_sensor_has_no_energy_and_no_power_is_made_up(tmp_path, monkeypatch):
    """codecarbon takes a constant power on such a machine, and says nothing of it."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "vcgencmd").write_text(PI4_FIRMWARE)
    (programs / "vcgencmd").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    with start_on(NO_METER, PI4, tmp_path, "--steps", "20") as process:
        out, errors = process.communicate(timeout=110)
    assert process.returncode == 0, errors
    document = json.loads(out)
    assert (document["device"]["profile"], document["device"]["emulated"]) == ("pi4", False)
    (trial,) = document["trials"]
    assert trial["outcome"] == "ok"
    (row,) = trial["energy"]
    assert (row["meter"], row["provenance"]) == ("none", "unavailable")
    assert row["reason"].startswith("no usable meter")
    assert "harness doctor" in row["reason"]
    assert not dict(numbers(row))
    assert trial["energy_by_phase"] == []
    assert [trace["quantity"] for trace in trial["traces"]] == ["rss_bytes"]
    # Neither an energy nor a power anywhere, nor a rate to reckon one with.
    assert not [each for each in numbers(document) if each[0].endswith(("_j", "_w", "_hz"))]
    told = " ".join(errors.split())
    assert "no energy: no usable meter" in told
    assert not re.search(r"\d (?:[mkµ]?J|[mkµ]?W|Wh)\b", told)


def run_that_is_throttled(folder):
    with start_on(INA219, PI4, folder, "--steps", "500", "--meter", "hwmon:ina219") as process:
        await_worker(process)
        tree = Path((folder / "testbed").read_text().strip())
        (tree / "sys/devices/platform/soc/soc:firmware/get_throttled").write_text("50005\n")
        (tree / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").write_text("powersave\n")
        (tree / "sys/class/thermal/thermal_zone0/temp").write_text("81500\n")
        out, errors = process.communicate(timeout=110)
    assert process.returncode == 6, errors
    assert "under-voltage, throttled" in errors
    assert "stronger power supply" in errors
    assert "the governor changed from 'ondemand' to 'powersave' in the trial" in " ".join(errors.split())
    return document_in(out)


def test_a_raspberry_pi_4_whose_power_supply_gives_way_in_the_middle(tmp_path):
    document = sampled(run_that_is_throttled, tmp_path)
    assert document["device"] == described("pi4", PI4)
    (trial,), host, validity = document["trials"], document["host"], document["trials"][0]["validity"]
    assert trial["outcome"] == "invalid"
    assert "(under-voltage, throttled)" in trial["reason"]
    assert validity["throttled"]
    assert (host["governor"], host["temperature_c"]) == ("ondemand", 48.0)
    assert (validity["temperature_before_c"], validity["temperature_after_c"]) == (48.0, 81.5)
    assert "the governor changed from 'ondemand' to 'powersave' in the trial" in validity["notes"]
    assert all(load >= 0.0 for load in (host["load_before"], validity["load"], validity["load_after"]))
    assert trial["time"]["step_s"]["n"] == 500
    assert trial["memory"]["training_peak_bytes"] > 0
    (row,) = trial["energy"]
    assert row["gross_j"] is not None, row["reason"]
    assert row["gross_j"] > 0
    assert row["reason"].startswith("invalid: the device slowed itself down")


def test_a_raspberry_pi_4_with_an_ina219(tmp_path):
    options = ("--steps", "500", "--meter", "hwmon:ina219")
    document = sampled(lambda folder: run_on(INA219, PI4, folder, *options), tmp_path)
    assert document["device"] == described("pi4", PI4)
    (row,) = document["trials"][0]["energy"]
    assert row["provenance"] == "measured", row["reason"]
    # The described sensor shows 25 W throughout, so all of it is idle power.
    assert row["gross_j"] / row["window_s"] == pytest.approx(25.0, rel=1e-3)
    assert row["net_j"] is not None, row["reason"]
    assert row["net_j"] == pytest.approx(0.0, abs=1e-6 + row["uncertainty_j"])
    assert row["reader_cpu_share"] < 0.05


def has_introspection():
    probe = [SYSTEM_PYTHON, "-c", "import gi; gi.require_version('UMockdev', '1.0')"]
    return (
        Path(SYSTEM_PYTHON).exists()
        and subprocess.run(probe, capture_output=True, check=False).returncode == 0
    )


@pytest.mark.skipif(not has_introspection(), reason="the UMockdev introspection is not installed")
def test_a_raspberry_pi_5_by_its_own_power_chip(tmp_path):
    files = [str(POWER_DATA / "vcio.umockdev"), str(POWER_DATA / "pmic_read_adc.txt")]
    wrapper = ["umockdev-wrapper", SYSTEM_PYTHON, str(POWER / "emulate_vcio.py"), *files]
    document = run_on(wrapper, PI5, tmp_path, "--steps", "1500", "--meter", "pi5-pmic")
    # 100 values of the chip, 48 ms apart, are 4.8 s: a quick machine is told how many steps those are, and takes twice
    # as many, since others may leave it more of the processor in its second run.
    advice = re.search(r"try: --steps (\d+)", document["trials"][0]["energy"][0]["reason"] or "")
    if advice:
        document = run_on(wrapper, PI5, tmp_path, "--steps", str(2 * int(advice[1])), "--meter", "pi5-pmic")
    assert document["device"] == described("pi5", PI5)
    assert document["trials"][0]["outcome"] == "ok"
    assert document["trials"][0]["validity"]["throttled"] is False  # by the firmware's node of this board
    rows = {row["domain"]: row for row in document["trials"][0]["energy"]}
    core = rows["VDD_CORE"]
    assert core["gross_j"] is not None, core["reason"]
    assert core["gross_j"] / core["window_s"] == pytest.approx(1.5 * 0.89, rel=1e-3)
