"""The batches of CIFAR-10's Python version, read without running anything that a pickle may ask for.

A pickle names callables and has them called. Here only the three names that a pickled uint8 array needs
are known, and each is a stand-in of this file that stores what it is given: no numpy, no code of others.
"""

import io
import pickle
import pickletools
from collections.abc import Callable
from typing import Any, Final, cast

from workloads.errors import DataCorruptError


class _Dtype:
    """Stands for numpy.dtype; keeps the type code."""

    __slots__ = ("code",)

    def __init__(self, code: object = None, *ignored: object) -> None:
        self.code = code.decode("latin-1") if isinstance(code, bytes) else code

    def __setstate__(self, state: object) -> None:
        """Ignore byte order and alignment: they mean nothing for single bytes."""


class _Array:
    """Stands for numpy.ndarray; keeps the bytes of a C-ordered uint8 array."""

    __slots__ = ("raw", "shape")

    def __init__(self) -> None:
        self.shape: tuple[int, ...] = ()
        self.raw = b""

    def __setstate__(self, state: object) -> None:
        """Take (version, shape, dtype, is_fortran, raw bytes), as numpy's __reduce__ gives it."""
        if not isinstance(state, tuple) or len(state) != 5:
            raise pickle.UnpicklingError("an array without its five parts")
        _, shape, dtype, is_fortran, raw = state
        if not isinstance(dtype, _Dtype) or dtype.code not in ("u1", "|u1") or is_fortran:
            raise pickle.UnpicklingError("an array that is not of uint8 in C order")
        if not isinstance(raw, bytes) or not isinstance(shape, tuple):
            raise pickle.UnpicklingError("an array without its bytes")
        self.shape, self.raw = shape, raw


def _reconstruct(*ignored: object) -> _Array:
    """Stand for numpy's function of that name: an empty array whose state follows."""
    return _Array()


_KNOWN: Final[dict[tuple[str, str], Callable[..., Any]]] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
}


class _Unpickler(pickle.Unpickler):
    """Knows the names above and no other."""

    def find_class(self, module_name: str, global_name: str) -> Callable[..., Any]:
        """Return a stand-in, or refuse."""
        try:
            return _KNOWN[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}") from None


def read_batch(content: bytes, where: str) -> tuple[bytes, bytes]:
    """Return the labels (one byte each) and the pixels (3,072 bytes an image) of a pickled batch.

    Raises:
        DataCorruptError: truncated, not a batch, or a pickle that asks for anything but an array.
    """
    try:
        _check_memo(content)
        batch = _Unpickler(io.BytesIO(content), encoding="bytes").load()
        labels, array = cast(object, batch[b"labels"]), cast(object, batch[b"data"])
        if not isinstance(array, _Array) or array.shape != (len(array.raw) // 3072, 3072):
            raise pickle.UnpicklingError("its data are not rows of 3,072 bytes")
        if not isinstance(labels, list):
            raise pickle.UnpicklingError("its labels are not a list")
        return bytes(labels), array.raw
    # Hostile bytes make the unpickler raise nearly anything; whatever it is, this is no batch.
    except Exception as error:
        raise DataCorruptError(f"{where} is not a batch of CIFAR-10: {error}") from error


def _check_memo(content: bytes) -> None:
    """Refuse memo numbers that no pickle of this length has: the unpickler allocates up to the largest."""
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name in ("PUT", "LONG_BINPUT") and argument is not None and argument > len(content):
            raise pickle.UnpicklingError(f"it has memo number {argument}")
