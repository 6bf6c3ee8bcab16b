"""Where torch refuses memory: on the host, by its allocator on a device, or in a library that it calls."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from workloads.errors import OutOfMemoryError

# What a RuntimeError says that is no `torch.OutOfMemoryError` but means one: oneDNN and the C++ allocator; a CUDA
# context that does not fit; a handle of cuBLAS or cuDNN.
_REFUSED = ("can't allocate memory", "CUDA error: out of memory", "ALLOC_FAILED", "ALLOCATION_FAILED")
# Where torch's advice begins, to set a variable that a worker does not inherit.
_ADVICE = " If reserved but unallocated"


@contextmanager
def memory_errors() -> Iterator[None]:
    """Raise a refused allocation of torch's as OutOfMemoryError, in one line; also a decorator."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise OutOfMemoryError(_line(error)) from error
    except RuntimeError as error:
        if not any(words in str(error) for words in _REFUSED):
            raise
        raise OutOfMemoryError(_line(error)) from error


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0].partition(_ADVICE)[0]
