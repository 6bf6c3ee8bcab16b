"""Whether a training fits into the memory that is left, and what to say where it does not.

The arena is all that a training allocates, so its layout is judged before a byte of it is mapped. The worker imports
this only to refuse; the parent judges with it for harness-train, which has no memory model.
"""

from bisect import bisect_right

from workloads.engines.base import Job
from workloads.engines.native import scratch, training

# What a worker takes beside the arena and the batch it reads into, evaluation, the stacks of two threads and the pages
# of code that a training touches first: measured 0.2 to 0.93 MiB.
_BESIDE_BYTES = 1 << 20
# A control group counts the page tables as well: 8 bytes for every page of 4 KiB.
_PAGE_BYTES_PER_TABLE_BYTE = 512


def arena_bytes(job: Job) -> int:
    """Return what a training would map. Raises UnsupportedError, or CoreError, for what the core does not train."""
    return training.planned(job, scratch.describe(job)).arena_bytes


def refusal(job: Job, needed: int, room: int) -> str:
    """Say of a training of `needed` bytes that only `room` are left, how many are missing, and what would fit."""
    missing = f"the training needs {needed} bytes and {room} are left: {needed - room} are missing"
    batch = largest_batch(job, room)
    if batch == 0:
        return f"{missing}, and not even a batch of 1 fits; another --trainer may need less"
    return (
        f"{missing}; the largest batch that fits is {batch}: take --batch-size {batch}, or another --trainer"
    )


def largest_batch(job: Job, room: int) -> int:
    """Return the largest batch size, up to the job's, that trains in `room` bytes; 0 where not even 1 does."""
    return bisect_right(range(1, job.batch_size + 1), room, key=lambda size: _process_bytes(job, size))


def _process_bytes(job: Job, batch_size: int) -> int:
    """Return what a worker takes for a training of that batch size: the arena, the batch that is read, the rest."""
    arena = arena_bytes(job._replace(batch_size=batch_size))
    read = batch_size * (job.specification.stages[0].inputs + 1)  # uint8 images and labels
    return arena + read + arena // _PAGE_BYTES_PER_TABLE_BYTE + _BESIDE_BYTES
