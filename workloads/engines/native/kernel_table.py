"""The C++ kernels one by one, through ctypes: for tests and benchmarks, not for training.

The signatures are read from `src/kernels.inc`, the row table that also declares the C++ functions, so a
kernel added there is callable here without another line. Arrays are passed as addresses; shapes, types and
who owns what are described at each row and in `src/kernels.h`.
"""

import ctypes
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from workloads.errors import UnknownNameError, WorkloadError

KERNEL_ROWS = Path(__file__).parent / "src" / "kernels.inc"

_ROW = re.compile(r"^HARNESS_KERNEL\((\w+), (\w+), \((.*)\)\)$", re.MULTILINE)


class ConvShape(ctypes.Structure):
    """One convolution; a dense layer has height = width = kernel = 1."""

    _fields_ = [
        (name, ctypes.c_int32)
        for name in (
            "images",
            "height",
            "width",
            "in_channels",
            "out_channels",
            "kernel",
            "pad",
            "stride",
        )
    ]

    @classmethod
    def dense(cls, batch: int, inputs: int, outputs: int) -> "ConvShape":
        """A dense layer as the kernels see it."""
        return cls(batch, 1, 1, inputs, outputs, 1, 0, 1)


class Range(ctypes.Structure):
    """The half-open range [begin, end)."""

    _fields_ = [("begin", ctypes.c_int32), ("end", ctypes.c_int32)]


class Gradient(ctypes.Structure):
    """Rows of ∂Y: format 5, 6, 7 (int8 of that many bits) or 16 (float16, times inverse_step)."""

    _fields_ = [
        ("values", ctypes.c_void_p),
        ("format", ctypes.c_int32),
        ("inverse_step", ctypes.c_float),
    ]


class Output(ctypes.Structure):
    """Where sums go: type 0 int16, 1 int32, 2 float16, 3 float32 (the float types times scale)."""

    _fields_ = [("values", ctypes.c_void_p), ("type", ctypes.c_int32), ("scale", ctypes.c_float)]


class Rounding(ctypes.Structure):
    """To nearest even, or stochastic by the Philox counter (seed, stream, element index)."""

    _fields_ = [
        ("stochastic", ctypes.c_int32),
        ("seed", ctypes.c_uint64),
        ("stream", ctypes.c_uint64),
        ("first_index", ctypes.c_uint64),
    ]


_VALUES: dict[str, Any] = {
    "void": None,
    "size_t": ctypes.c_size_t,
    "int32_t": ctypes.c_int32,
    "uint64_t": ctypes.c_uint64,
    "float": ctypes.c_float,
    "Range": Range,
    "GradientFormat": ctypes.c_int32,
}
_REFERENCES: dict[str, Any] = {
    structure.__name__: ctypes.POINTER(structure) for structure in (ConvShape, Gradient, Output, Rounding)
}


def _argument_type(declaration: str) -> Any:
    """The ctypes type of one C++ parameter, e.g. `const ConvShape& shape` or `uint64_t* dw`."""
    if "*" in declaration:
        return ctypes.c_void_p
    words = declaration.replace("const ", "").split()
    if "&" in declaration:
        return _REFERENCES[words[0].rstrip("&")]
    return _VALUES[words[0]]


def kernel_signatures(rows: Path = KERNEL_ROWS) -> Iterator[tuple[str, Any, list[Any]]]:
    """Name, result type and argument types of every row of kernels.inc, in its order."""
    for result, name, arguments in _ROW.findall(rows.read_text(encoding="utf-8")):
        declarations = [] if arguments in ("", "void") else arguments.split(", ")
        yield name, _VALUES[result], [_argument_type(declaration) for declaration in declarations]


class KernelTable:
    """The kernels of one instruction set.

    Every row of kernels.inc is an attribute: `table.popcount_words(address, words)`.
    """

    def __init__(self, library: ctypes.CDLL, isa: str) -> None:
        self.isa = isa
        if isa not in available_isas(library):
            raise UnknownNameError("instruction set", isa, available_isas(library))
        self._functions = {
            name: ctypes.CFUNCTYPE(result, *arguments)(_address(library, isa, name))
            for name, result, arguments in kernel_signatures()
        }

    def __getattr__(self, name: str) -> Callable[..., Any]:
        try:
            return self._functions[name]
        except KeyError:
            raise AttributeError(name) from None


def _address(library: ctypes.CDLL, isa: str, name: str) -> int:
    library.harness_kernel.restype = ctypes.c_void_p
    address = library.harness_kernel(isa.encode(), name.encode())
    if address is None:
        raise WorkloadError(f"the native core has no kernel '{name}': rebuild it, its kernels.inc is older")
    return int(address)


def available_isas(library: ctypes.CDLL) -> list[str]:
    """Instruction sets that the library holds and this processor runs, best last."""
    library.harness_isa_name.restype = ctypes.c_char_p
    names: list[str] = []
    while (name := library.harness_isa_name(len(names))) is not None:
        names.append(name.decode())
    return names
