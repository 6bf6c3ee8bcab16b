"""harness-train under the address and undefined sanitizers, on plans good and bad: a build of its own, so slow."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FAILURES = Path(__file__).parents[3] / "harness" / "test_harness_train_failures.py"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def test_damaged_plans_are_clean(build_folder: Any) -> None:
    options = ("-DHARNESS_BUILD_FUZZER=ON", "-DHARNESS_SIMD=OFF", "-DHARNESS_SANITIZE=address,undefined")
    folder = build_folder("sanitize-address-undefined", *options)
    chosen = "damaged or bad_data or no_plan or unknown_instruction_set"
    # What a plan takes is given back by the end of the process alone.
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n0", str(FAILURES), "-k", chosen],
        env=os.environ
        | {"HARNESS_TRAIN_PROGRAM": str(folder / "harness-train"), "ASAN_OPTIONS": "detect_leaks=0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout
