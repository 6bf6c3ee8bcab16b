"""How a worker is started: its command and the whole of its environment."""

import os
import sys

from harness.errors import WorkerError

# What a worker inherits of the environment; everything else could change what it does.
_INHERITED = (
    "PATH",
    "HOME",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    # Which device a number is.
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    # Which core, and which of its kernels: the parent planned with the same.
    "HARNESS_NATIVE_LIBRARY",
    "HARNESS_ISA",
)

WORKER = "from harness.worker import main; main()"


def worker_command(python: str | None = None) -> list[str]:
    """Return how a worker is started, by this interpreter or the one named.

    `-P` keeps a user's folder named `power` from shadowing ours. A module run by `-m` would bring `runpy` and
    `importlib.util` with it, a tenth of a MiB that no training needs.
    """
    return [python or sys.executable, "-P", "-c", WORKER]


def program_command() -> list[str]:
    """Return how harness-train is started. Raises WorkerError where it is gone since the plan was made."""
    from workloads.engines.native import program

    path = program.find()
    if path is None:
        raise WorkerError(program.missing() or "harness-train is missing")
    return [str(path.absolute())]


def worker_environment(threads: int, allocator: str) -> dict[str, str]:
    """Return the worker's whole environment.

    `pinned` fixes what makes the peak of identical runs differ: the allocator's moving threshold for mmap
    (mallopt(3), M_MMAP_THRESHOLD) and the hash seed; address randomisation is switched off by `launch.py`.
    Every worker has the C locale with UTF-8: a user's locale has tables of its own, that would be in the peak. So would
    what setuptools, where it is installed, has every interpreter import for those that use distutils.
    """
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    counts = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    pinned = {"MALLOC_MMAP_THRESHOLD_": "65536", "PYTHONHASHSEED": "0"} if allocator == "pinned" else {}
    locale = {"LC_ALL": "C", "PYTHONUTF8": "1"}
    bare = {"SETUPTOOLS_USE_DISTUTILS": "stdlib", "PYTHONDONTWRITEBYTECODE": "1"}
    return {**inherited, **counts, **locale, **pinned, **bare}
