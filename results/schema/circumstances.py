"""What else the document keeps of a trial: who disturbed it, its pin, its checkpoints, its course over time."""

from typing import Annotated

import msgspec

from results.schema.parts import Bytes, Count, Integer, Positive, Provenance, Seconds, require_reason


class ProcessorUse(msgspec.Struct, kw_only=True):
    """Processor time in a stretch, summed over the machine's `cores`: our own and that of everybody else.

    `own_s` is this program's and its worker's. `others_s` is the rest of the time in which a processor was not idle,
    with `stolen_s`, what a hypervisor gave to another machine. Known to `resolution_s`.
    """

    duration_s: Seconds
    cores: Positive
    own_s: Seconds
    others_s: Seconds
    stolen_s: Seconds
    resolution_s: Seconds


class Validity(msgspec.Struct, kw_only=True):
    """What may spoil the figures: `throttled` and `load` (before the trial) are null where unknown, `notes` say why.

    A trial whose device slowed itself down is `invalid`, and `notes` name the causes. `load` is the load average, our
    own work of the last minutes included: it judges nothing. What others took of the processors does, before the
    trial and in its measured window; `others_reason` says why one of the two is null.
    """

    throttled: bool | None
    load: float | None
    notes: list[str] = msgspec.field(default_factory=list)
    load_after: float | None = None
    temperature_before_c: float | None = None
    temperature_after_c: float | None = None
    others_before: ProcessorUse | None = None
    others_window: ProcessorUse | None = None
    others_reason: str | None = None


class Trigger(msgspec.Struct, kw_only=True):
    """The pin that was active exactly in the measured window, for a meter that cuts its own trace.

    `edge_s` is how long driving the slower of the two edges took: so sharply are they known.
    """

    pin: Integer
    active_high: bool
    active_s: Seconds
    edge_s: Seconds


class Checkpoint(msgspec.Struct, kw_only=True):
    """The checkpoints a trial wrote, and the one it went on from.

    `resumed_at_step` is null for a trial from the beginning; of a resumed one time and energy are of this
    process's steps alone. `write_s` is the median; it is no part of `time`, but lies in the energy's window.
    """

    path: str
    every_steps: Positive
    resumed_at_step: Count | None
    last_step: Count | None
    written: Count
    bytes: Bytes | None
    write_s: Seconds | None
    reason: str | None = None

    def __post_init__(self) -> None:
        missing = None in (self.last_step, self.bytes, self.write_s)
        require_reason("checkpoint", missing, self.reason)


class Phase(msgspec.Struct, kw_only=True):
    """A named window, in seconds since the worker started; what came before is negative."""

    name: str
    start_s: float
    end_s: float


class Trace(msgspec.Struct, kw_only=True):
    """A series over time, for the eye: peaks and energies are measured otherwise.

    `quantity` has its unit (`rss_bytes`, `power_w`), `source` is a meter with its domain or `kernel`, times are as in
    `Phase`. `windows` are what a meter was read for: idle before and after, and the measured window.
    """

    quantity: str
    source: str
    t_s: list[float]
    values: list[float]
    provenance: Provenance = "measured"
    windows: list[Phase] = msgspec.field(default_factory=list)
    reader_cpu_share: Annotated[float, msgspec.Meta(ge=0)] | None = None
    """Part of one core that taking the series cost, while it was taken."""

    def __post_init__(self) -> None:
        if len(self.t_s) != len(self.values):
            raise ValueError(f"trace {self.quantity} has {len(self.t_s)} times, {len(self.values)} values")
