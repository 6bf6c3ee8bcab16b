"""Kernels against their floor and against torch's own float32 operators, on BinaryNet's layers and the MLP's first.

    python benchmarks/kernels.py [--library build/.../libharness_core.so] [--batch 20] [--rounds 7]

One thread. Every round times each kernel and its torch counterpart one after the other, and takes the
ratio of the two: the machine's speed changes between runs, the ratio hardly does. Reported are medians over
the rounds; the float32 peak of the same rounds (independent chains of FMAs) gives the share of the floor.
torch uses the processor's best instruction set whichever one the kernels use. The first layers (conv1, and mlp1 of
the MLP) take pixels as they are, in 8 bits, where torch takes the float32 image, converted beforehand; for them no
floor is known. Results go to benchmarks/results/kernels.json with the machine.
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

import torch
from kernel_layers import FirstLayer, NativeLayer, first_layers, layers, torch_calls

from workloads.engines.native.kernel_table import KernelTable, available_isas

ROOT = Path(__file__).parents[1]

# GMAC/s a core of the same kernels without loads beyond the inner loop, measured on a 2.5 GHz Cascade Lake
# where the float32 FMA peak is 75 (AVX-512) and 42 (AVX2): only their ratio to that peak is used.
FLOORS = {
    "avx512": {"fma": 75, "forward": 708, "7": 336, "6": 412, "5": 497, "16": 185},
    "avx2": {"fma": 42, "forward": 368, "7": 252, "6": 315, "5": 360, "16": 140},
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


def measure(table: KernelTable, name: str, layer: NativeLayer, rounds: int) -> list[dict[str, Any]]:
    """One row a kernel: native, torch and the float32 peak, interleaved."""
    natives, torches = layer.calls(), torch_calls(layer.s)
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
    floor: str | None,
    macs: int,
    peak_macs: int,
    samples: list[tuple[float, float, float]],
) -> dict[str, Any]:
    """Medians over samples of (native, torch, peak) seconds."""
    floors = FLOORS.get(isa)
    native_s = statistics.median(native for native, _, _ in samples)
    share = None
    if floors is not None and floor is not None:
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
    "{isa:7} {layer:6} {kernel:25} {gmac_per_s:7.1f} GMAC/s, torch {torch_gmac_per_s:6.1f}, "
    "{ratio_to_torch:5.2f}x, share of floor {share_of_floor}"
)


def measure_all(library: ctypes.CDLL, isas: list[str], batch: int, rounds: int) -> list[dict[str, Any]]:
    """Every layer on every instruction set, printed as it comes."""
    rows = []
    for isa in isas:
        table = KernelTable(library, isa)
        every = {name: NativeLayer(table, shape) for name, shape in layers(batch).items()}
        every |= {name: FirstLayer(table, shape) for name, shape in first_layers(batch).items()}
        for name, layer in every.items():
            for row in measure(table, name, layer, rounds):
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
