"""The native sampler (sampler.h) as ctypes sees it: files read at due times, without the interpreter in between."""

import ctypes
import os
import struct
import sys
import threading
import time
from collections.abc import Sequence
from ctypes import POINTER, byref, c_char, c_char_p, c_int32, c_int64, c_void_p
from functools import cache
from pathlib import Path
from typing import Any, cast

NAME = "libharness_sampler.so"
ABI = 1
#: Names the library outright, for a build of another compiler; a name that is no file has Python read instead.
VARIABLE = "HARNESS_SAMPLER_LIBRARY"
#: As much of a file as is kept (`harness_reading.text`); a text of this length may have been cut off.
TEXT_BYTES = 44

_READING = struct.Struct(f"=qqi{TEXT_BYTES}s")
_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "harness_sampler_abi": (c_int32, []),
    "harness_sampler_open": (
        c_void_p,
        [POINTER(c_char_p), c_int32, POINTER(c_int64), POINTER(c_int32)],
    ),
    "harness_sampler_run": (
        c_int32,
        [c_void_p, POINTER(c_int64), POINTER(c_int64), c_int32, POINTER(c_char)],
    ),
    "harness_sampler_wake": (None, [c_void_p]),
    "harness_sampler_close": (None, [c_void_p]),
}


#: What one file said: the instants before and after (ns), the length of the text or a negative errno, the text, padded.
RawReading = tuple[int, int, int, bytes]


def find() -> Path | None:
    """Return the library: the one HARNESS_SAMPLER_LIBRARY names, the one beside this file, or an editable install's."""
    named = os.environ.get(VARIABLE)
    if named is not None:
        return Path(named) if Path(named).is_file() else None
    inside = Path(*__name__.split(".")[:-1])
    folders = [Path(__file__).parent, *(Path(entry) / inside for entry in sys.path)]
    return next((folder / NAME for folder in folders if (folder / NAME).is_file()), None)


def missing() -> str | None:
    """Return why the library cannot be used here and what to do, or None."""
    path = find()
    if path is None:
        return f"{NAME} is not installed: this package was built without a C++ compiler"
    try:
        abi = _load(str(path)).harness_sampler_abi()
    except (OSError, AttributeError) as error:
        return f"{NAME} cannot be loaded: {error}"
    return None if abi == ABI else f"{NAME} is of another version of this package ({abi}, not {ABI})"


@cache
def _load(path: str) -> ctypes.CDLL:
    library = ctypes.CDLL(path, use_errno=True)
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class Sampler:
    """Some files, opened, and room for the readings of `rounds` rounds; `run` in one thread, `wake` from any.

    The first round is due now. `clock_ns` stands in for CLOCK_MONOTONIC in tests.
    Raises `OSError` for a file that cannot be opened; only where `missing()` is None.
    """

    def __init__(self, paths: Sequence[str], rounds: int, clock_ns: c_int64 | None = None) -> None:
        path = find()
        if path is None:
            raise FileNotFoundError(f"{NAME} is not installed")
        self._library, self._lock, self._rounds = _load(str(path)), threading.Lock(), rounds
        self._files, self._clock_ns = len(paths), clock_ns
        self._due_ns = c_int64(time.monotonic_ns() if clock_ns is None else clock_ns.value)
        self._readings = ctypes.create_string_buffer(rounds * len(paths) * _READING.size)
        names, failed = (c_char_p * len(paths))(*map(os.fsencode, paths)), c_int32()
        clock = None if clock_ns is None else byref(clock_ns)
        self._handle = self._library.harness_sampler_open(names, len(paths), clock, byref(failed))
        if not self._handle:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), paths[failed.value])

    def run(self, waits_ns: Sequence[int]) -> list[RawReading]:
        """Read all files once when due and again after each wait but the last; return the readings of whole rounds.

        At most `rounds` waits. Ends early when woken and after a reading that failed or is no integer. The interpreter
        is free meanwhile; the readings lie in a buffer that no later one overwrites, as this returns when it is full.
        """
        count = min(len(waits_ns), self._rounds)
        waits = (c_int64 * count)(*waits_ns[:count])
        done = self._library.harness_sampler_run(
            self._handle, byref(self._due_ns), waits, count, self._readings
        )
        data = memoryview(self._readings)[: done * self._files * _READING.size]
        return cast(list[RawReading], list(_READING.iter_unpack(data)))

    def wake(self) -> None:
        """Have `run` read at once and return, now or when it is called next."""
        with self._lock:
            if self._handle:
                self._library.harness_sampler_wake(self._handle)

    def close(self) -> None:
        """Close the files, in the thread that runs; may be called twice."""
        with self._lock:
            handle, self._handle = self._handle, None
            if handle:
                self._library.harness_sampler_close(handle)
