"""Which instruction set is chosen, how it is forced, and the C++ fuzzer on every set and on Arm."""

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from workloads.engines.native import library
from workloads.engines.native.kernel_table import KernelTable, available_isas, kernel_signatures
from workloads.errors import UnknownNameError

SELECTED = """
import ctypes, sys
core = ctypes.CDLL(sys.argv[1])
core.harness_isa_selected.restype = core.harness_isa_error.restype = ctypes.c_char_p
print(core.harness_isa_selected(), core.harness_isa_error().decode())
"""


def selected(core_path: Path, isa: str | None) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "HARNESS_ISA"}
    if isa is not None:
        environment["HARNESS_ISA"] = isa
    command = [sys.executable, "-c", SELECTED, str(core_path)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def test_the_best_set_is_chosen_and_any_can_be_forced(core_path: Path, core: ctypes.CDLL) -> None:
    isas = available_isas(core)
    assert selected(core_path, None) == f"b'{isas[-1]}'"
    for isa in isas:
        assert selected(core_path, isa) == f"b'{isa}'"


@pytest.mark.parametrize("isa", ["sse9", "AVX2", "a" * 300])
def test_an_unknown_set_is_an_error_that_names_what_there_is(
    core_path: Path, core: ctypes.CDLL, isa: str
) -> None:
    answer = selected(core_path, isa)
    assert answer.startswith(f"None HARNESS_ISA={isa[:32]} is not available here; there is:")
    for known in available_isas(core):
        assert f" {known}" in answer


def test_the_python_table_refuses_an_unknown_set(core: ctypes.CDLL) -> None:
    with pytest.raises(UnknownNameError, match="there is: generic"):
        KernelTable(core, "mmx")


def test_every_row_of_the_table_is_callable(core: ctypes.CDLL) -> None:
    names = [name for name, _, _ in kernel_signatures()]
    assert len(names) == len(set(names)) > 30
    for isa in available_isas(core):
        table = KernelTable(core, isa)
        assert all(callable(getattr(table, name)) for name in names)


def fuzz(folder: Path, rounds: int, *prefix: str) -> str:
    command = [*prefix, str(folder / "kernel_fuzz"), str(rounds), "20"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_fuzzer_finds_no_difference(core_path: Path) -> None:
    fuzz(core_path.parent, 40)


@pytest.fixture(scope="session")
def arm_folder(build_folder: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    for tool in ("aarch64-linux-gnu-g++", "qemu-aarch64"):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool}: the NEON kernels cannot be run here")
    toolchain = ("-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64")
    compiler = ("-DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++", "-DCMAKE_EXE_LINKER_FLAGS=-static")
    folder: Path = build_folder(
        "aarch64", *toolchain, *compiler, "-DHARNESS_BUILD_FUZZER=ON", targets=("kernel_fuzz",)
    )
    return folder


@pytest.mark.parametrize("cpu", ["cortex-a53", "cortex-a72", "cortex-a76"])
def test_neon_agrees_with_generic_under_qemu(arm_folder: Path, cpu: str) -> None:
    assert "neon: 8 rounds agree" in fuzz(arm_folder, 8, "qemu-aarch64", "-cpu", cpu)


def test_a_library_that_a_variable_names_is_not_blamed_on_the_installation(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "core.so"
    broken.write_text("no library")
    monkeypatch.setenv("HARNESS_NATIVE_LIBRARY", str(broken))
    with pytest.raises(library.CoreError, match=r"cannot load .*HARNESS_NATIVE_LIBRARY names it; unset that"):
        library.load.__wrapped__()
