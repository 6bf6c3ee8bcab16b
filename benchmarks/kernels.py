"""Kernels against their floor and against torch's own float32 operators, on BinaryNet's layers.

    python benchmarks/kernels.py [--library build/.../libharness_core.so] [--batch 20] [--rounds 7]

One thread. Every round times each kernel and its torch counterpart one after the other, and takes the
ratio of the two: the machine's speed changes between runs, the ratio hardly does. Reported are medians over
the rounds; the float32 peak of the same rounds (independent chains of FMAs) gives the share of the floor.
torch uses the processor's best instruction set whichever one the kernels use.
Results go to benchmarks/results/kernels.json with the machine.
"""

import argparse
import ctypes
import json
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import conv2d, linear

from workloads.engines.native.kernel_table import (
    ConvShape,
    Gradient,
    KernelTable,
    Output,
    Range,
    available_isas,
)

ROOT = Path(__file__).parents[1]

# GMAC/s a core of the same kernels without loads beyond the inner loop, measured on a 2.5 GHz Cascade Lake
# where the float32 FMA peak is 75 (AVX-512) and 42 (AVX2): only their ratio to that peak is used.
FLOORS = {
    "avx512": {"fma": 75, "forward": 708, "7": 336, "6": 412, "5": 497, "16": 185},
    "avx2": {"fma": 42, "forward": 368, "7": 252, "6": 315, "5": 360, "16": 140},
}


def layers(batch: int) -> dict[str, ConvShape]:
    """The layers measured; fc1 always takes 100 samples."""
    return {
        "conv2": ConvShape(batch, 32, 32, 128, 128, 3, 1, 1),
        "conv4": ConvShape(batch, 16, 16, 256, 256, 3, 1, 1),
        "conv6": ConvShape(batch, 8, 8, 512, 512, 3, 1, 1),
        "fc1": ConvShape.dense(100, 8192, 1024),
    }


def aligned(size: int) -> np.ndarray:
    """`size` bytes that start at a multiple of 64."""
    block = np.zeros(size + 64, np.uint8)
    start = -block.ctypes.data % 64
    return block[start : start + size]


class NativeLayer:
    """One layer's inputs and calls for one instruction set. Weights are prepared inside each call."""

    def __init__(self, table: KernelTable, shape: ConvShape) -> None:
        self.table, self.s = table, shape
        rng = np.random.default_rng(1)
        self.pixels = shape.images * shape.height * shape.width
        words = shape.in_channels // 64
        self.x = rng.integers(0, 2**64, (self.pixels, words), np.uint64)
        self.w = rng.integers(0, 2**64, (shape.out_channels * shape.kernel**2, words), np.uint64)
        self.y = np.zeros((self.pixels, shape.out_channels), np.int16)
        self.dx = np.zeros((self.pixels, shape.in_channels), np.float16)
        self.dw = np.zeros_like(self.w)
        self.outputs, self.inputs = Range(0, shape.out_channels), Range(0, shape.in_channels)

    @property
    def macs(self) -> int:
        """Multiply-adds of one product; padded taps count."""
        return int(self.w.shape[0] * self.s.in_channels * self.pixels)

    def gradient(self, bits: int) -> tuple[np.ndarray, Gradient]:
        """Random rows of ∂Y of a format, and their description."""
        rng = np.random.default_rng(2)
        held: Any
        if bits == 16:
            held = rng.standard_normal(self.y.shape, np.float32).astype(np.float16)
            return held, Gradient(held.ctypes.data, 16, 4000.0 / float(abs(held).max()))
        limit = 2 ** (bits - 1) - 1
        held = rng.integers(-limit, limit + 1, self.y.shape, np.int8)
        return held, Gradient(held.ctypes.data, bits, 0.0)

    def forward(self) -> Callable[[], None]:
        """Y = X̂ ∗ Ŵ."""
        prepared = aligned(self.table.forward_prepared_bytes(self.s, self.outputs))
        scratch = aligned(self.table.forward_scratch_bytes(self.s))

        def call() -> None:
            self.table.forward_prepare(self.s, self.w.ctypes.data, self.outputs, prepared.ctypes.data)
            self.table.forward(
                self.s,
                self.x.ctypes.data,
                prepared.ctypes.data,
                self.outputs,
                self.y.ctypes.data,
                scratch.ctypes.data,
            )

        return call

    def grad_input(self, bits: int) -> Callable[[], None]:
        """∂X in float16."""
        prepared = aligned(self.table.grad_input_prepared_bytes(self.s, self.inputs))
        scratch = aligned(self.table.grad_input_scratch_bytes(self.s, bits))
        held, dy = self.gradient(bits)
        out = Output(self.dx.ctypes.data, 2, 1 / 1024)

        def call(_keep: np.ndarray = held) -> None:
            self.table.grad_input_prepare(self.s, self.w.ctypes.data, self.inputs, prepared.ctypes.data)
            self.table.grad_input(self.s, dy, prepared.ctypes.data, self.inputs, out, scratch.ctypes.data)

        return call

    def grad_weight(self, bits: int) -> Callable[[], None]:
        """The signs of ∂W."""
        scratch = aligned(self.table.grad_weight_scratch_bytes(self.s, bits))
        units = Range(0, self.table.grad_weight_units(self.s))
        held, dy = self.gradient(bits)

        def call(_keep: np.ndarray = held) -> None:
            self.table.grad_weight(
                self.s, self.x.ctypes.data, dy, units, self.dw.ctypes.data, None, scratch.ctypes.data
            )

        return call


def torch_calls(s: ConvShape) -> dict[str, Callable[[], Any]]:
    """The float32 operators autograd would run: channels-last convolutions, or matrix products."""
    if s.height == 1:
        x, w = torch.randn(s.images, s.in_channels), torch.randn(s.out_channels, s.in_channels)
        dy = torch.randn(s.images, s.out_channels)
        return {
            "forward": lambda: linear(x, w),
            "grad_input": lambda: dy @ w,
            "grad_weight": lambda: dy.t() @ x,
        }
    last = torch.channels_last
    x = torch.randn(s.images, s.in_channels, s.height, s.width).to(memory_format=last)
    w = torch.randn(s.out_channels, s.in_channels, s.kernel, s.kernel).to(memory_format=last)
    dy = torch.randn(s.images, s.out_channels, s.height, s.width).to(memory_format=last)

    def backward(mask: list[bool]) -> Any:
        ones, zeros = [1, 1], [0, 0]
        return torch.ops.aten.convolution_backward(
            dy, x, w, None, ones, [s.pad] * 2, ones, False, zeros, 1, mask
        )

    return {
        "forward": lambda: conv2d(x, w, padding=s.pad),
        "grad_input": lambda: backward([True, False, False]),
        "grad_weight": lambda: backward([False, True, False]),
    }


def seconds(call: Callable[[], Any]) -> float:
    """CPU seconds of this thread: others' load on the machine does not count."""
    start = time.thread_time_ns()
    call()
    return (time.thread_time_ns() - start) / 1e9


def peak_call(table: KernelTable) -> tuple[Callable[[], Any], int]:
    """Independent chains of FMAs, some milliseconds of them, and how many multiply-adds they are."""
    steps = 1_000_000
    return lambda: table.fma_chain(steps, 0.5), steps * int(table.fma_chain_macs())


def native_calls(layer: NativeLayer) -> dict[str, tuple[str, str, Callable[[], None]]]:
    """Row name → (torch operator, floor, call)."""
    calls = {"forward": ("forward", "forward", layer.forward())}
    for bits in (7, 6, 5, 16):
        calls[f"grad_input {bits} bit"] = ("grad_input", str(bits), layer.grad_input(bits))
        calls[f"grad_weight {bits} bit"] = ("grad_weight", str(bits), layer.grad_weight(bits))
    return calls


def measure(table: KernelTable, name: str, shape: ConvShape, rounds: int) -> list[dict[str, Any]]:
    """One row a kernel: native, torch and the float32 peak, interleaved."""
    layer = NativeLayer(table, shape)
    natives, torches = native_calls(layer), torch_calls(shape)
    peak, peak_macs = peak_call(table)
    rows: dict[str, list[tuple[float, float, float]]] = {row: [] for row in natives}
    for turn in range(rounds + 1):
        for row, (operator, _floor, call) in natives.items():
            sample = (seconds(call), seconds(torches[operator]), seconds(peak))
            if turn > 0:  # the first round warms caches and torch's own plans
                rows[row].append(sample)
    return [
        summarise(table.isa, name, row, natives[row][1], layer.macs, peak_macs, samples)
        for row, samples in rows.items()
    ]


def summarise(
    isa: str,
    name: str,
    row: str,
    floor: str,
    macs: int,
    peak_macs: int,
    samples: list[tuple[float, float, float]],
) -> dict[str, Any]:
    """Medians over samples of (native, torch, peak) seconds."""
    floors = FLOORS.get(isa)
    native_s = statistics.median(native for native, _, _ in samples)
    share = None
    if floors is not None:
        shares = [macs / n / (peak_macs / p) * floors["fma"] / floors[floor] for n, _, p in samples]
        share = round(statistics.median(shares), 3)
    return {
        "isa": isa,
        "layer": name,
        "kernel": row,
        "gmac_per_s": round(macs / native_s / 1e9, 1),
        "torch_gmac_per_s": round(macs / statistics.median(t for _, t, _ in samples) / 1e9, 1),
        "ratio_to_torch": round(statistics.median(t / n for n, t, _ in samples), 2),
        "share_of_floor": share,
    }


def machine() -> dict[str, Any]:
    """What the figures hold for."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        None,
    )
    return {"machine": platform.machine(), "processor": model, "torch": torch.__version__, "threads": 1}


def build_library(folder: Path, compiler: str | None) -> Path:
    """A release build of the core in `folder`."""
    options = [f"-DCMAKE_CXX_COMPILER={compiler}"] if compiler else []
    subprocess.run(["cmake", "-S", str(ROOT), "-B", str(folder), *options], check=True, capture_output=True)
    subprocess.run(["cmake", "--build", str(folder)], check=True, capture_output=True)
    return folder / "workloads" / "engines" / "native" / "src" / "libharness_core.so"


LINE = (
    "{isa:7} {layer:6} {kernel:19} {gmac_per_s:7.1f} GMAC/s, torch {torch_gmac_per_s:6.1f}, "
    "{ratio_to_torch:5.2f}x, share of floor {share_of_floor}"
)


def measure_all(library: ctypes.CDLL, isas: list[str], batch: int, rounds: int) -> list[dict[str, Any]]:
    """Every layer on every instruction set, printed as it comes."""
    rows = []
    for isa in isas:
        for name, shape in layers(batch).items():
            for row in measure(KernelTable(library, isa), name, shape, rounds):
                rows.append(row)
                print(LINE.format(**row), flush=True)
    return rows


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--library", type=Path, help="a built libharness_core.so; built afresh without it")
    parser.add_argument("--compiler", help="the C++ compiler to build with, e.g. clang++")
    parser.add_argument("--batch", type=int, default=20, help="images of the convolutions (fc1 takes 100)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--isa", action="append", help="instruction sets; all but generic by default")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "kernels.json")
    return parser.parse_args()


def main() -> None:
    """Measures, prints and writes the record."""
    arguments = parse_arguments()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        library = ctypes.CDLL(str(arguments.library or build_library(Path(folder), arguments.compiler)))
    isas = arguments.isa or [isa for isa in available_isas(library) if isa != "generic"]
    library.harness_compiler.restype = ctypes.c_char_p
    document = {
        "machine": machine(),
        "compiler": library.harness_compiler().decode(),
        "batch": arguments.batch,
        "rounds": arguments.rounds,
        "rows": measure_all(library, isas, arguments.batch, arguments.rounds),
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
