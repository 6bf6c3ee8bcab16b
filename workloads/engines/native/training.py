"""One network in training in the C++ core: the plan, the calls, one for each phase at most."""

import ctypes
from collections.abc import Iterable

from workloads import memory_model
from workloads.engines.base import Batch, Job, Mark, Snapshot
from workloads.engines.native import library, limits, scratch
from workloads.engines.native.plan import Plan, lay_out
from workloads.engines.native.rehearsal import networks
from workloads.errors import OutOfMemoryError, UnsupportedError
from workloads.recipes import optimizer, recipe

_REFUSED = 2  # what harness_core_set_up returns when memory was refused


class NativeTraining:
    """A training whose every byte was planned before; see `workloads.engines.base.Training`."""

    def __init__(self, job: Job) -> None:
        if job.specification.has_shortcuts:
            raise UnsupportedError(
                f"engine native does not support shortcuts, which '{job.specification.name}' has; try: --engine torch"
            )
        self._job = job
        self._config = scratch.describe(job)
        self._fused = bool(self._config.single_buffer)
        self.plan: Plan = planned(job, self._config)
        self._core = library.load()
        self._item_bytes = job.specification.stages[0].inputs
        self._handle: int | None = None

    def set_up(self) -> None:
        """Map the arena and draw the weights.

        Raises OutOfMemoryError, before anything is mapped, with the bytes missing and the largest batch that fits.
        """
        needed, room = self.plan.arena_bytes, limits.available_bytes(self._job.ceiling_bytes)
        if room is not None and room < needed:
            from workloads.engines.native import fitting  # a training that fits should not pay for it

            raise OutOfMemoryError(fitting.refusal(self._job, needed, room))
        self._handle = library.create(self._config, self.plan.variables, needed)
        code = self._core.harness_core_set_up(self._handle)
        if code == _REFUSED:
            raise OutOfMemoryError(f"the training needs {needed} bytes: {library.last_error()}")
        self._check(code)

    def step(self, images: memoryview, labels: memoryview, learning_rate: float, mark: Mark) -> float:
        """Train on one batch and return its mean cross-entropy. A fused update has no mark of its own."""
        loss = ctypes.c_float()
        core, handle = self._core, self._handle
        self._check(core.harness_core_forward(handle, _address(images), _address(labels), ctypes.byref(loss)))
        mark("forward")
        self._check(core.harness_core_backward(handle, learning_rate))
        mark("backward")
        if not self._fused:
            self._check(core.harness_core_update(handle, learning_rate))
            mark("update")
        return loss.value

    def recalibrate(self, batches: Iterable[Batch]) -> None:
        """Replace the moving averages by plain averages of the statistics of these batches."""
        self._check(self._core.harness_core_recalibrate_begin(self._handle))
        for images, labels in batches:
            self._check(self._core.harness_core_recalibrate(self._handle, _address(images), len(labels)))

    def evaluate(self, images: memoryview, labels: memoryview) -> int:
        """Return how many items are classified rightly, with the moving averages."""
        correct = ctypes.c_int32()
        found = ctypes.byref(correct)
        self._check(
            self._core.harness_core_evaluate(
                self._handle, _address(images), _address(labels), len(labels), found
            )
        )
        return correct.value

    def ledger(self) -> dict[str, int]:
        """Return bytes by class of variable: the arena's own map."""
        return dict(self.plan.ledger)

    def scratch_by_name(self) -> dict[str, int]:
        """Return the arena's named scratch, and the padding; together the ledger's `scratch`."""
        return dict(self.plan.scratch)

    def snapshot(self) -> Snapshot:
        """Return a view of all that continuing bit for bit needs."""
        from workloads.engines.native.snapshot import (
            NativeSnapshot,
        )  # who keeps no checkpoint should not pay for it

        return NativeSnapshot(self)

    def counters(self) -> tuple[int, ...]:
        """Return the updates begun, the batches in the moving averages, and the learning rates seen (as bits)."""
        values = (ctypes.c_uint64 * 3)()
        self._core.harness_core_counters(self._handle, values)
        return tuple(values)

    def set_counters(self, counters: Iterable[int]) -> None:
        """Continue from these; noise is drawn from the seed and the number of steps, so it continues with them."""
        self._core.harness_core_resume(self._handle, (ctypes.c_uint64 * 3)(*counters))

    def close(self) -> None:
        """Unmap the arena and end the threads."""
        if self._handle is not None:
            self._core.harness_core_destroy(self._handle)
            self._handle = None

    def variable(self, role: str, stage: int) -> memoryview:
        """Return the bytes of one variable in the arena, to be read or written; for tests."""
        place = next(each for each in self.plan.variables if (each.role, each.stage) == (role, stage))
        arena = ctypes.cast(self._core.harness_core_arena(self._handle), ctypes.c_void_p).value or 0
        return memoryview((ctypes.c_uint8 * place.bytes).from_address(arena + place.offset)).cast("B")

    def _check(self, code: int) -> None:
        if code != 0:
            raise library.CoreError(library.last_error())


def planned(job: Job, config: library.Config) -> Plan:
    """Return where everything of a training lies; `config` is the job as the core reads it. Nothing is allocated."""
    model = memory_model.model(job.specification, job.recipe, job.optimizer, job.batch_size, "honest")
    return lay_out(job.specification, model, library.scratch(config))


def rehearse(threads: int) -> None:
    """Train and evaluate tiny networks, so that the pages of the core's code are resident, as the library's."""
    for network in networks():
        for name in ("lowmem", "lean"):
            _rehearse_one(Job(network, recipe(name), optimizer("adam"), 2, threads, 0, {}))


def _rehearse_one(job: Job) -> None:
    images = memoryview(bytearray(2 * job.specification.stages[0].inputs))
    labels = memoryview(bytearray(2))
    training = NativeTraining(job)
    training.set_up()
    training.step(images, labels, 0.0, lambda phase: None)
    training.evaluate(images, labels)
    training.close()


def _address(data: memoryview) -> "ctypes.Array[ctypes.c_char] | bytes":
    """Return what ctypes passes as a pointer: the caller's own memory where it is writable, else a copy."""
    if data.readonly:
        return bytes(data)
    return (ctypes.c_char * data.nbytes).from_buffer(data)
