"""The native sampler (sampler.h) as ctypes sees it: files read at due times, without the interpreter in between."""

import ctypes
import os
import sys
import threading
import time
from array import array
from collections.abc import Sequence
from ctypes import POINTER, byref, c_char, c_char_p, c_int32, c_int64, c_void_p
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

NAME = "libharness_sampler.so"
ABI = 2
#: Names the library outright, for a build of another compiler; a name that is no file has Python read instead.
VARIABLE = "HARNESS_SAMPLER_LIBRARY"
#: As much of a file as is kept (`harness_text_bytes`); a text of this length may have been cut off.
TEXT_BYTES = 44

#: Numbers of a `harness_reading`: the instants before and after it (ns), and the integer.
_NUMBERS = 3
_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "harness_sampler_abi": (c_int32, []),
    "harness_sampler_open": (
        c_void_p,
        [POINTER(c_char_p), c_int32, POINTER(c_int64), POINTER(c_int32)],
    ),
    "harness_sampler_run": (
        c_int32,
        [c_void_p, POINTER(c_int64), POINTER(c_int64), c_int32, POINTER(c_int64), POINTER(c_int32)],
    ),
    "harness_sampler_last": (c_int32, [c_void_p, c_int32, POINTER(c_char)]),
    "harness_sampler_wake": (None, [c_void_p]),
    "harness_sampler_close": (None, [c_void_p]),
}


#: What one file said: the instants before and after (ns), the length of the text or a negative errno, the text.
RawReading = tuple[int, int, int, bytes]


class Column(NamedTuple):
    """What one file said in round after round: the instants before and after each reading (ns), and the integers."""

    before_ns: "array[int]"
    after_ns: "array[int]"
    values: "array[int]"


class Batch(NamedTuple):
    """Some rounds: a column a file, all of one length, and, file by file, the last round where it is not in them.

    That round, `odd`, holds a reading that failed or is no integer.
    """

    columns: list[Column]
    odd: list[RawReading]


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
        self._readings = array("q", bytes(8 * _NUMBERS * rounds * len(paths)))
        names, failed = (c_char_p * len(paths))(*map(os.fsencode, paths)), c_int32()
        clock = None if clock_ns is None else byref(clock_ns)
        self._handle = self._library.harness_sampler_open(names, len(paths), clock, byref(failed))
        if not self._handle:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), paths[failed.value])

    def run(self, waits_ns: "array[int]") -> Batch:
        """Read all files once when due and again after each wait but the last; return the readings of whole rounds.

        At most `rounds` waits. Ends early when woken and after a reading that failed or is no integer. The interpreter
        is free meanwhile; the readings lie in a buffer that no later one overwrites, as this returns when it is full.
        """
        count, odd = min(len(waits_ns), self._rounds), c_int32()
        waits = (c_int64 * count).from_buffer(waits_ns)
        readings = (c_int64 * len(self._readings)).from_buffer(self._readings)
        done = self._library.harness_sampler_run(
            self._handle, byref(self._due_ns), waits, count, readings, byref(odd)
        )
        whole = done - odd.value
        return Batch(
            [self._column(i, whole) for i in range(self._files)], self._round(whole) if odd.value else []
        )

    def _column(self, file: int, rounds: int) -> Column:
        """Return the first rounds of a file."""
        width = _NUMBERS * self._files
        first = _NUMBERS * file
        return Column(*(self._readings[first + i : rounds * width : width] for i in range(_NUMBERS)))

    def _round(self, index: int) -> list[RawReading]:
        """Return a round, the one that was read last, with its texts."""
        text, raw = ctypes.create_string_buffer(TEXT_BYTES), []
        for file in range(self._files):
            length = self._library.harness_sampler_last(self._handle, file, text)
            first = _NUMBERS * (index * self._files + file)
            raw.append((self._readings[first], self._readings[first + 1], length, text.raw[: max(0, length)]))
        return raw

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
