"""The core under the address, undefined and thread sanitizers, on every instruction set: `.ci/sanitizers`, so slow."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[4] / ".ci" / "sanitizers"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.mark.skipif(not (shutil.which("cmake") and shutil.which("g++")), reason="needs cmake and g++")
@pytest.mark.parametrize("sanitizers", ["address,undefined", "thread"])
def test_the_sanitizers_find_nothing(sanitizers: str, request: pytest.FixtureRequest) -> None:
    assert request.config.cache is not None
    folder = Path(request.config.cache.mkdir(f"sanitizers-{sanitizers.replace(',', '-')}"))
    settings = {
        **os.environ,
        "SANITIZERS": sanitizers,
        "FUZZ_SECONDS": "10",
        "PYTHON": sys.executable,
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run(
        [str(SCRIPT), str(folder)], env=settings, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert done.stdout.endswith("== clean\n")
