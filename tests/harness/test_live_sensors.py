"""The unmodified `harness run` while the kernel's sensors, as umockdev shows them, follow the load in real time."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from started import COMMAND, environment

from results import schema
from workloads.registry import ENGINES

HERE = Path(__file__).parent
DATA = HERE.parent / "data" / "power"
TREES = ("-d", str(DATA / "rapl-two-sockets.umockdev"), "-d", str(DATA / "hwmon.umockdev"))
IDLE_S = 1.0

#: Zone → W at idle, W while a worker runs, and J until it wraps. The measured window is from about the 11th joule of
#: package-0 to the 30th here, later and longer where the machine is busy: one counter or another wraps within it.
ZONES = {
    "package-0": ("intel-rapl:0", 4.0, 10.0, 20.0),
    "core-0": ("intel-rapl:0:0", 1.0, 6.0, 100.0),
    "dram-0": ("intel-rapl:0:1", 1.0, 2.0, 100.0),
    "package-1": ("intel-rapl:1", 3.0, 7.0, 28.0),
    "dram-1": ("intel-rapl:1:0", 1.0, 2.0, 100.0),
    "psys": ("intel-rapl:2", 9.0, 25.0, 180.0),
}
INA219_IDLE_W, INA219_BUSY_W = 5.0, 15.0

pytestmark = [
    pytest.mark.skipif(shutil.which("umockdev-run") is None, reason="umockdev is not installed"),
    pytest.mark.skipif(all(row.missing() for row in ENGINES.values()), reason="no engine is installed"),
]


def run_in(folder, steps):
    """Return the document of a run with both meters, and the log of what the sensors did."""
    load = {
        f"powercap/{zone}/energy_uj": {"idle_w": idle_w, "busy_w": busy_w, "until_wrap_j": until_wrap_j}
        for zone, idle_w, busy_w, until_wrap_j in ZONES.values()
    }
    load["hwmon/hwmon1/power1_input"] = {"idle_w": INA219_IDLE_W, "busy_w": INA219_BUSY_W}
    (folder / "load.json").write_text(json.dumps(load))
    sensors = [sys.executable, "-P", str(HERE / "live_sensors.py"), "load.json", "log.json"]
    small = f"--trainer lowmem --threads 1 --repeats 1 --steps {steps} --warmup 2 --test-items 100".split()
    meters = f"--meter rapl --meter hwmon:ina219 --idle {IDLE_S}".split()
    done = subprocess.run(
        ["umockdev-run", *TREES, "--", *sensors, *COMMAND, "run", *small, *meters, "--json", "-"],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        cwd=folder,
        env=environment(folder),
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), json.loads((folder / "log.json").read_text())


def wrapped_in_the_window(document, log):
    begin_ns, end_ns = document["trials"][0]["windows"]["measured_ns"]
    return any(begin_ns < at_ns < end_ns for wraps in log["wrapped_ns"].values() for at_ns in wraps)


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """Run it, again where this machine stood still, longer where that was too quick for a window or a wrap in it."""
    steps = 500
    for _ in range(5):
        document, log = run_in(tmp_path_factory.mktemp("live"), steps)
        reasons = " ".join(row["reason"] or "" for row in document["trials"][0]["energy"])
        wrapped = wrapped_in_the_window(document, log)
        if advice := re.search(r"try: --steps (\d+)", reasons):
            steps = 2 * int(advice[1])
        elif not wrapped:
            steps *= 2
        stood_still = "samples are missing" in reasons or log["longest_s"] > 0.1
        if wrapped and not advice and not stood_still:
            break
    return document, log


@pytest.fixture
def rows(live):
    return {(row["meter"], row["domain"]): row for row in live[0]["trials"][0]["energy"]}


def behind_s(log):
    """Return how far a window's edge can be off, in s.

    What a sensor shows is as old as its last round, at either edge of a window. A round is due every 2 ms; the longest
    of the run counts, which a busy machine makes longer, and a millisecond for the reading itself.
    """
    return log["longest_s"] + 0.001


def idle_error_w(log, busy_w):
    """Return how far an idle level can be off, in W: a sensor that is behind shows the load a little longer."""
    return busy_w * behind_s(log) / IDLE_S


def test_rapl_counts_in_real_time_through_a_wraparound(live, rows):
    document, log = live
    jsonschema.validate(document, schema.json_schema())
    assert document["trials"][0]["outcome"] == "ok"
    assert wrapped_in_the_window(document, log)
    assert {domain for meter, domain in rows if meter == "powercap"} == set(ZONES)
    for name, (_, idle_w, busy_w, _) in ZONES.items():
        row = rows["powercap", name]
        assert (row["provenance"], row["reason"]) == ("measured", None)
        assert row["gross_j"] == pytest.approx(busy_w * row["window_s"], abs=busy_w * behind_s(log)), name
        idle_j = pytest.approx(idle_w * row["window_s"], abs=idle_error_w(log, busy_w) * row["window_s"])
        assert row["idle_j"] == idle_j, name
        assert row["net_j"] == pytest.approx(row["gross_j"] - row["idle_j"])


def test_an_ina219_follows_the_load(live, rows):
    _, log = live
    row = rows["hwmon", "ina219-1"]
    assert (row["provenance"], row["reason"]) == ("measured", None)
    # Its power changes with the worker, long before the first step and after the last.
    assert row["gross_j"] == pytest.approx(INA219_BUSY_W * row["window_s"])
    error_w = idle_error_w(log, INA219_BUSY_W)
    assert row["idle_j"] == pytest.approx(INA219_IDLE_W * row["window_s"], abs=error_w * row["window_s"])
    assert row["net_j"] == pytest.approx(row["gross_j"] - row["idle_j"])
