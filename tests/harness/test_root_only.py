"""The unmodified program where the processor's counters are there and only root may read them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from workloads.registry import ENGINES

HERE = Path(__file__).parent
TREE = HERE.parent / "data" / "power" / "rapl-two-sockets.umockdev"

pytestmark = [
    pytest.mark.skipif(shutil.which("umockdev-run") is None, reason="umockdev is not installed"),
    pytest.mark.skipif(
        os.geteuid() == 0 and shutil.which("setpriv") is None, reason="setpriv takes root's right"
    ),
    pytest.mark.skipif(all(row.missing() for row in ENGINES.values()), reason="no engine is installed"),
]


def test_the_mending_command_is_given_and_memory_and_time_are_kept(tmp_path):
    wrapper = ["umockdev-run", "-d", str(TREE), "--", "sh", str(HERE / "root_only.sh")]
    program = [sys.executable, "-P", "-m", "harness", "run", "--meter", "rapl", "--json", "-"]
    small = ["--trainer", "lowmem", "--repeats", "1", "--warmup", "2", "--steps", "20", "--idle", "0.2"]
    env = {"HOME": str(tmp_path)} | {name: os.environ[name] for name in ("PATH", "XDG_CACHE_HOME")}
    done = subprocess.run(
        [*wrapper, *program, *small],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        cwd=tmp_path,
        env=env,
    )
    assert done.returncode == 0, done.stderr
    warned = [line for line in done.stderr.splitlines() if line.startswith("harness: ")]
    # One line, on standard error, before anything runs.
    assert done.stderr.strip().startswith(warned[0])
    assert len(warned) == 1
    assert "meter 'powercap' is not usable: energy_uj is readable by root only" in warned[0]
    assert "try: sudo chmod -R a+r /sys/class/powercap/intel-rapl" in warned[0]
    (trial,) = json.loads(done.stdout)["trials"]
    assert trial["outcome"] == "ok"
    assert trial["time"]["step_s"]["n"] == 20
    assert trial["memory"]["training_peak_bytes"] > 0
    (row,) = trial["energy"]
    assert (row["meter"], row["gross_j"], row["provenance"]) == ("powercap", None, "unavailable")
    assert "try: sudo chmod" in row["reason"]
    assert "no energy from powercap: energy_uj is readable by root only" in " ".join(done.stderr.split())
