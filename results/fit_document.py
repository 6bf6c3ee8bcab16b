"""The document of `harness fit`: the largest batch size that a device's memory takes, and every run behind it."""

from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec

from results.schema import Bytes, Count, Device, Energy, HarnessInfo, Host, Seconds

SCHEMA: Final = "harness.fit"
SCHEMA_VERSION: Final = 1

Outcome = Literal["ok", "out_of_memory", "invalid"]


class Attempt(msgspec.Struct, kw_only=True):
    """One run under the enforced ceiling. `needed_bytes` is what the model said it would need, baseline included."""

    batch_size: Annotated[int, msgspec.Meta(ge=1)]
    outcome: Outcome
    reason: str | None
    needed_bytes: Bytes | None
    peak_rss_bytes: Bytes | None


class FittedTrainer(msgspec.Struct, kw_only=True):
    """One trainer's answer.

    `batch_size` is the largest that was run and ended well; null, with a reason, where none did. `predicted_batch_size`
    is what honest model and measured baseline alone say. `bound` is `data` where the training set has no more items.
    The figures below belong to the run at `batch_size`. Where meters were asked for, time and energy are of one more
    run there, long enough for them; `energy` says why where `net_j_per_sample` is null (net of idle; half the 95 %
    interval beside it). With micro-batches `batch_size` is one of them.
    """

    trainer: str
    engine: str
    batch_size: int | None
    reason: str | None
    bound: Literal["memory", "data"]
    predicted_batch_size: Count
    resolution: Annotated[int, msgspec.Meta(ge=1)]
    baseline_rss_bytes: Bytes | None
    modelled_bytes: Bytes | None
    peak_rss_bytes: Bytes | None
    step_s: Seconds | None
    energy: list[Energy]
    attempts: list[Attempt]
    sample_s: Seconds | None = None
    net_j_per_sample: float | None = None
    uncertainty_j_per_sample: float | None = None

    def __post_init__(self) -> None:
        if self.batch_size is None and not self.reason:
            raise ValueError("batch_size is null without a reason")


class FitDocument(msgspec.Struct, kw_only=True):
    """What was asked, where it was tried, and the answer of each trainer."""

    schema: Literal["harness.fit"] = SCHEMA
    schema_version: Literal[1] = SCHEMA_VERSION
    created: datetime
    harness: HarnessInfo
    host: Host
    device: Device
    workload: str
    dataset_variant: str
    optimizer: str
    threads: int
    steps: int
    limit_bytes: Bytes
    reserve_bytes: Bytes
    mechanism: str
    trainers: list[FittedTrainer]
    worker: str = "python"
    accumulate: int = 1
