"""`power` and every meter in it import with the standard library alone."""

import subprocess
import sys

CODE = """
import importlib, pkgutil, sys
before = set(sys.modules)
import power
for module in pkgutil.walk_packages(power.__path__, "power."):
    importlib.import_module(module.name)
loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
foreign = loaded - set(sys.stdlib_module_names) - {"power"}
sys.exit(f"imported: {sorted(foreign)}" if foreign else 0)
"""


def test_no_library_is_imported_before_a_meter_is_opened() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
