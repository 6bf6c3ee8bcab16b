"""Builds the native core once for the session and offers its kernels, one instruction set a parameter."""

import ctypes
import fcntl
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workloads.engines.native.kernel_table import (
    ConvShape,
    Gradient,
    KernelTable,
    Output,
    Range,
    available_isas,
)

ROOT = Path(__file__).parents[4]
OUTPUT_TYPES = {np.int16: 0, np.int32: 1, np.float16: 2, np.float32: 3}


def build(build_dir: Path, *options: str, targets: tuple[str, ...] = ("all",)) -> Path:
    """Configures and builds the targets; the folder of what was built."""
    if shutil.which("cmake") is None:
        pytest.skip("no cmake: the native core cannot be built here")
    if shutil.which("c++") is None and not any("CMAKE_CXX_COMPILER" in option for option in options):
        pytest.skip("no C++ compiler: the native core cannot be built here")
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    for command in (
        ["cmake", "-S", str(ROOT), "-B", str(build_dir), *generator, *options],
        ["cmake", "--build", str(build_dir), "--target", *targets],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return build_dir / "workloads" / "engines" / "native" / "src"


@pytest.fixture(scope="session")
def build_folder(request: pytest.FixtureRequest) -> Any:
    """Builds into pytest's cache, so that an unchanged core is not compiled again."""

    def build_cached(name: str, *options: str, targets: tuple[str, ...] = ("all",)) -> Path:
        assert request.config.cache is not None
        folder = Path(request.config.cache.mkdir(f"native-{name}"))
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the tests run in several processes
            return build(folder, *options, targets=targets)

    return build_cached


@pytest.fixture(scope="session")
def core_path(build_folder: Any) -> Path:
    targets = ("harness_core", "kernel_fuzz", "json_probe")  # harness-train is tested as installed
    folder: Path = build_folder("release", "-DHARNESS_BUILD_FUZZER=ON", targets=targets)
    return folder / "libharness_core.so"


@pytest.fixture(scope="session")
def core(core_path: Path) -> ctypes.CDLL:
    return ctypes.CDLL(str(core_path))


class Kernels:
    """A kernel table with arrays instead of addresses, and scratch of exactly the size asked for."""

    def __init__(self, table: KernelTable) -> None:
        self.table = table
        self.isa = table.isa

    @staticmethod
    def scratch(size: int) -> np.ndarray:
        """`size` bytes, 64-byte aligned, of a value no kernel may rely on."""
        block = np.full(size + 64, 0xA5, np.uint8)
        start = -block.ctypes.data % 64
        return block[start : start + size]

    def pack(self, kernel: str, values: np.ndarray) -> np.ndarray:
        rows, channels = values.shape
        bits = np.full((rows, -(-channels // 64)), 0xDEAD, np.uint64)
        values = np.ascontiguousarray(values)
        getattr(self.table, kernel)(values.ctypes.data, rows, channels, bits.ctypes.data)
        return bits

    def forward(self, s: ConvShape, x: np.ndarray, w: np.ndarray, outputs: Range) -> np.ndarray:
        prepared = self.scratch(self.table.forward_prepared_bytes(s, outputs))
        self.table.forward_prepare(s, w.ctypes.data, outputs, prepared.ctypes.data)
        y = np.zeros((*out_map(s), s.out_channels), np.int16)
        scratch = self.scratch(self.table.forward_scratch_bytes(s))
        self.table.forward(
            s, x.ctypes.data, prepared.ctypes.data, outputs, y.ctypes.data, scratch.ctypes.data
        )
        return y

    def grad_input(
        self, s: ConvShape, dy: Gradient, w: np.ndarray, inputs: Range, dtype: Any, scale: float = 1.0
    ) -> np.ndarray:
        prepared = self.scratch(self.table.grad_input_prepared_bytes(s, inputs))
        self.table.grad_input_prepare(s, w.ctypes.data, inputs, prepared.ctypes.data)
        dx = np.zeros((s.images, s.height, s.width, s.in_channels), dtype)
        out = Output(dx.ctypes.data, OUTPUT_TYPES[dtype], scale)
        scratch = self.scratch(self.table.grad_input_scratch_bytes(s, dy.format))
        self.table.grad_input(s, dy, prepared.ctypes.data, inputs, out, scratch.ctypes.data)
        return dx

    def grad_weight(self, s: ConvShape, x: np.ndarray, dy: Gradient) -> tuple[np.ndarray, np.ndarray]:
        """Packed signs and sums, one unit at a time as a pool of threads would take them."""
        return self._grad_weight("", s, x, dy, np.int32)

    def pixels_grad_weight(
        self, s: ConvShape, pixels: np.ndarray, dy: Gradient
    ) -> tuple[np.ndarray, np.ndarray]:
        return self._grad_weight("pixels_", s, pixels, dy, np.int64)

    def _grad_weight(
        self, prefix: str, s: ConvShape, x: np.ndarray, dy: Gradient, sum_type: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        dw = np.full((s.out_channels, s.kernel**2, -(-s.in_channels // 64)), 0xDEAD, np.uint64)
        sums = np.full((s.out_channels, s.kernel, s.kernel, s.in_channels), 12345, sum_type)
        size = getattr(self.table, f"{prefix}grad_weight_scratch_bytes")(s, dy.format)
        for unit in reversed(range(getattr(self.table, f"{prefix}grad_weight_units")(s))):
            scratch = self.scratch(size)
            getattr(self.table, f"{prefix}grad_weight")(
                s,
                x.ctypes.data,
                dy,
                Range(unit, unit + 1),
                dw.ctypes.data,
                sums.ctypes.data,
                scratch.ctypes.data,
            )
        return dw, sums

    def pixels_forward(
        self, s: ConvShape, pixels: np.ndarray, w: np.ndarray, outputs: Range, dtype: Any, scale: float = 1.0
    ) -> np.ndarray:
        prepared = self.scratch(self.table.pixels_forward_prepared_bytes(s, outputs))
        self.table.pixels_forward_prepare(s, w.ctypes.data, outputs, prepared.ctypes.data)
        y = np.zeros((*out_map(s), s.out_channels), dtype)
        out = Output(y.ctypes.data, OUTPUT_TYPES[dtype], scale)
        scratch = self.scratch(self.table.pixels_forward_scratch_bytes(s))
        self.table.pixels_forward(
            s, pixels.ctypes.data, prepared.ctypes.data, outputs, out, scratch.ctypes.data
        )
        return y


def out_map(s: ConvShape) -> tuple[int, int, int]:
    """Images, height and width of the output."""
    height = (s.height + 2 * s.pad - s.kernel) // s.stride + 1
    width = (s.width + 2 * s.pad - s.kernel) // s.stride + 1
    return s.images, height, width


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kernels" in metafunc.fixturenames:
        arm = platform.machine() in ("aarch64", "arm64")
        isas = ["generic", "neon"] if arm else ["generic", "avx2", "avx512"]
        metafunc.parametrize("kernels", isas, indirect=True)


@pytest.fixture
def kernels(request: pytest.FixtureRequest, core: ctypes.CDLL) -> Kernels:
    if request.param not in available_isas(core):
        pytest.skip(f"this processor or this build has no {request.param}")
    return Kernels(KernelTable(core, request.param))
