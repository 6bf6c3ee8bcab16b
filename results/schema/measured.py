"""What one training cost in time and memory, and what it reached."""

from typing import Annotated, Self

import msgspec

from results.schema.accelerator import AcceleratorMemory
from results.schema.parts import Allocator, Bytes, Count, Fraction, Integer, Positive, Seconds, require_reason


class Estimate(msgspec.Struct, kw_only=True):
    """A median over `n` values with its 95 % interval; the interval is null where n is too small for one."""

    median: Seconds
    ci95: tuple[Seconds, Seconds] | None
    n: Positive


class Time(msgspec.Struct, kw_only=True):
    """Wall time of one step and the medians of its phases, in seconds (CLOCK_MONOTONIC).

    `steps_s` may hold the measured steps themselves, in order, for distributions.
    """

    step_s: Estimate | None
    forward_s: Seconds | None
    backward_s: Seconds | None
    update_s: Seconds | None
    data_s: Seconds | None
    reason: str | None = None
    steps_s: list[Seconds] = msgspec.field(default_factory=list)

    def __post_init__(self) -> None:
        phases = (self.step_s, self.forward_s, self.backward_s, self.update_s, self.data_s)
        require_reason("time", None in phases, self.reason)

    @classmethod
    def unavailable(cls, reason: str) -> Self:
        """Return a time in which nothing was measured, and why."""
        return cls(step_s=None, forward_s=None, backward_s=None, update_s=None, data_s=None, reason=reason)


class Ceiling(msgspec.Struct, kw_only=True):
    """The ceiling a worker ran under; `mechanism` is null, with a reason, where nothing enforced it.

    Of a trial on an accelerator it is what the engine's allocator there may reserve; the host has none then.
    """

    limit_bytes: Bytes
    mechanism: str | None
    reason: str | None = None

    def __post_init__(self) -> None:
        require_reason("ceiling.mechanism", self.mechanism is None, self.reason)


class Memory(msgspec.Struct, kw_only=True):
    """The worker's memory: the kernel's exact peaks, the model's figure, and the ledger between the two.

    `training_peak_bytes` is the peak RSS of training less the RSS before setup. `by_phase` holds the peak
    RSS of each phase, `ledger_by_variable` the bytes of each class of `VARIABLES` as really allocated,
    `scratch_by_name` what its `scratch` is made of (empty where the engine does not know),
    `library_bytes` what the ledger cannot name (the rest of the training peak). `anon_bytes` and
    `file_bytes` are RssAnon and RssFile at the end of training.
    """

    baseline_rss_bytes: Bytes | None
    peak_rss_bytes: Bytes | None
    training_peak_bytes: Integer | None
    by_phase: dict[str, Bytes | None]
    modelled_bytes: Bytes | None
    modelled_by_variable: dict[str, Bytes]
    ledger_by_variable: dict[str, Bytes]
    allocator: Allocator
    scratch_by_name: dict[str, Bytes] = {}
    anon_bytes: Bytes | None = None
    file_bytes: Bytes | None = None
    library_bytes: Integer | None = None
    ceiling: Ceiling | None = None
    accelerator: AcceleratorMemory | None = None
    """What lay on the accelerator; null for a trial on the processor. All other figures are the host's."""
    reason: str | None = None

    def __post_init__(self) -> None:
        measured = (self.baseline_rss_bytes, self.peak_rss_bytes, self.training_peak_bytes)
        missing = None in measured or self.modelled_bytes is None
        require_reason("memory", missing, self.reason)

    @classmethod
    def unavailable(cls, reason: str, allocator: Allocator = "stock") -> Self:
        """Return a memory in which nothing was measured, and why."""
        return cls(
            baseline_rss_bytes=None,
            peak_rss_bytes=None,
            training_peak_bytes=None,
            by_phase={},
            modelled_bytes=None,
            modelled_by_variable={},
            ledger_by_variable={},
            allocator=allocator,
            reason=reason,
        )


class Evaluation(msgspec.Struct, kw_only=True):
    """One point of the accuracy curve: the test set after `step` steps (those of the warm-up included).

    `epoch` is how often the training items had been seen. `duration_s` is no part of `time`.
    """

    step: Count
    epoch: Annotated[float, msgspec.Meta(ge=0)]
    test_accuracy: Fraction
    duration_s: Seconds


class Quality(msgspec.Struct, kw_only=True):
    """What training reached. `test_accuracy` is a fraction, 0 to 1, over `test_items` items.

    `train_loss` has one value a logged interval; null in it is a loss that was not finite.
    `statistics` says which batch-normalisation statistics the evaluation used. `evaluations` is the accuracy curve, in
    order, the end of the training its last point; empty where the test set was evaluated at the end alone.
    """

    train_loss: list[float | None]
    test_accuracy: Fraction | None
    test_items: Count
    statistics: str = "moving average"
    evaluations: list[Evaluation] = msgspec.field(default_factory=list)
    reason: str | None = None

    def __post_init__(self) -> None:
        require_reason("quality.test_accuracy", self.test_accuracy is None, self.reason)
