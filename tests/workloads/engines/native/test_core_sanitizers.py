"""The core under the address, undefined and thread sanitizers: a build of its own, so marked slow."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
SCRIPT = Path(__file__).parent / "small_steps.py"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.mark.skipif(not (shutil.which("cmake") and shutil.which("g++")), reason="needs cmake and g++")
@pytest.mark.parametrize(("sanitizers", "runtime"), [("address,undefined", "asan"), ("thread", "tsan")])
def test_small_steps_are_clean(sanitizers: str, runtime: str, tmp_path: Path) -> None:
    configure = [
        "cmake", f"-DHARNESS_SANITIZE={sanitizers}", "-DHARNESS_SIMD=OFF", "-S", str(ROOT), "-B", str(tmp_path)
    ]  # fmt: skip
    subprocess.run(configure, check=True, capture_output=True, env={**os.environ, "CXX": "g++", "CC": "gcc"})
    subprocess.run(["cmake", "--build", str(tmp_path)], check=True, capture_output=True)
    name = f"lib{runtime}.so"
    preload = subprocess.run(["g++", f"-print-file-name={name}"], check=True, capture_output=True, text=True)
    settings = {
        **os.environ,
        "LD_PRELOAD": preload.stdout.strip(),
        "ASAN_OPTIONS": "detect_leaks=0",
        "HARNESS_NATIVE_LIBRARY": str(next(tmp_path.rglob("libharness_core.so"))),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    result = subprocess.run([sys.executable, str(SCRIPT)], env=settings, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-4000:]
    assert result.stdout == "clean\n"
