"""The result document, version 1: what one `harness run` keeps, as strict msgspec types.

A value that was not measured is `None` beside a `reason`, never 0; the types below refuse a null
without one, when built and when read. Units stand in the names (`_s`, `_j`, `_w`, `_bytes`, `_hz`, `_c`).
Unknown fields are ignored, so that a reader of version 1 reads later additions to version 1.

This module imports msgspec alone: no table, no report.
"""

import inspect
import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal, Self

import msgspec

SCHEMA: Final = "harness.result"

# History of the version (raised when a name changes meaning or goes; additions do not raise it):
#   1  first published version
SCHEMA_VERSION: Final = 1

Bytes = Annotated[int, msgspec.Meta(ge=0)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]

Outcome = Literal["ok", "out_of_memory", "error", "invalid"]
Provenance = Literal["measured", "modelled", "unavailable"]
Allocator = Literal["stock", "pinned"]
Engine = Literal["torch", "native"]
Worker = Literal["python", "program"]
Setting = str | int | float | bool | None

# The ledger's classes of variables, in the order in which they are shown; names of the paper's table.
VARIABLES = ("X", "dX_Y", "mu_psi", "dY", "W", "dW", "beta", "momenta", "masks", "scratch", "input")


def _require_reason(part: str, missing: bool, reason: str | None) -> None:
    """Raise ValueError where a value is missing and nothing says why."""
    if missing and not reason:
        raise ValueError(f"{part} is null without a reason")


class NativeBuild(msgspec.Struct, kw_only=True):
    """How the native core was compiled; a figure is worth nothing without it."""

    isa: str
    compiler: str
    flags: str
    build_type: str


class HarnessInfo(msgspec.Struct, kw_only=True):
    """The program that measured; `native` is null where no trial used the native core, or none could load it."""

    version: str
    native: NativeBuild | None


class Host(msgspec.Struct, kw_only=True):
    """The machine measured on, before the first trial. `reasons` maps each null field to its cause."""

    machine: str
    cpu: str
    cores: Annotated[int, msgspec.Meta(ge=1)]
    memory_bytes: Bytes
    kernel: str
    python: str
    libc: str | None
    governor: str | None
    page_size_bytes: Annotated[int, msgspec.Meta(ge=1)]
    load_before: float | None
    temperature_c: float | None
    libraries: dict[str, str] = msgspec.field(default_factory=dict)
    """Versions of the libraries that the workers used, by distribution name."""
    reasons: dict[str, str] = msgspec.field(default_factory=dict)


class Device(msgspec.Struct, kw_only=True):
    """The device profile asked for, and what was found; `emulated` profiles only cap memory and cores."""

    requested: str
    profile: str
    detected: str | None
    emulated: bool
    memory_limit_bytes: Bytes | None


class Estimate(msgspec.Struct, kw_only=True):
    """A median over `n` values with its 95 % interval; the interval is null where n is too small for one."""

    median: Seconds
    ci95: tuple[Seconds, Seconds] | None
    n: Annotated[int, msgspec.Meta(ge=1)]


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
        _require_reason("time", None in phases, self.reason)

    @classmethod
    def unavailable(cls, reason: str) -> Self:
        """Return a time in which nothing was measured, and why."""
        return cls(step_s=None, forward_s=None, backward_s=None, update_s=None, data_s=None, reason=reason)


class Ceiling(msgspec.Struct, kw_only=True):
    """The ceiling a worker ran under; `mechanism` is null, with a reason, where nothing enforced it."""

    limit_bytes: Bytes
    mechanism: str | None
    reason: str | None = None

    def __post_init__(self) -> None:
        _require_reason("ceiling.mechanism", self.mechanism is None, self.reason)


class Memory(msgspec.Struct, kw_only=True):
    """The worker's memory: the kernel's exact peaks, the model's figure, and the ledger between the two.

    `training_peak_bytes` is the peak RSS of training less the RSS before setup. `by_phase` holds the peak
    RSS of each phase, `ledger_by_variable` the bytes of each class of `VARIABLES` as really allocated,
    `library_bytes` what the ledger cannot name (the rest of the training peak). `anon_bytes` and
    `file_bytes` are RssAnon and RssFile at the end of training.
    """

    baseline_rss_bytes: Bytes | None
    peak_rss_bytes: Bytes | None
    training_peak_bytes: int | None
    by_phase: dict[str, Bytes | None]
    modelled_bytes: Bytes | None
    modelled_by_variable: dict[str, Bytes]
    ledger_by_variable: dict[str, Bytes]
    allocator: Allocator
    anon_bytes: Bytes | None = None
    file_bytes: Bytes | None = None
    library_bytes: int | None = None
    ceiling: Ceiling | None = None
    reason: str | None = None

    def __post_init__(self) -> None:
        measured = (self.baseline_rss_bytes, self.peak_rss_bytes, self.training_peak_bytes)
        missing = None in measured or self.modelled_bytes is None
        _require_reason("memory", missing, self.reason)

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


class Energy(msgspec.Struct, kw_only=True):
    """One meter's domain over the training window, in joules: net = gross − idle power × time.

    `uncertainty_j` is half the 95 % interval of `net_j`, or of `gross_j` where there is no net. `rate_hz` is the rate
    of fresh values really achieved. `provenance` says whether the values were measured or modelled; nothing else may.
    """

    meter: str
    domain: str
    gross_j: float | None
    idle_j: float | None
    net_j: float | None
    net_j_per_step: float | None
    uncertainty_j: float | None
    rate_hz: float | None
    provenance: Provenance
    reason: str | None
    window_s: Seconds | None = None
    idle_drift_w: float | None = None
    reader_cpu_share: Annotated[float, msgspec.Meta(ge=0)] | None = None
    """Part of one core that reading this meter took, over the whole run."""
    reader: Literal["native", "python"] | None = None
    """Who read it: the native sampler, or a loop in Python."""

    def __post_init__(self) -> None:
        values = (self.gross_j, self.idle_j, self.net_j, self.net_j_per_step)
        _require_reason(f"energy of {self.meter}/{self.domain}", None in values, self.reason)
        if self.provenance == "unavailable" and any(value is not None for value in values):
            raise ValueError(f"energy of {self.meter}/{self.domain} has a value but is 'unavailable'")

    @classmethod
    def unavailable(cls, meter: str, domain: str, reason: str) -> Self:
        """Return a row for a meter that gave nothing, and why."""
        return cls(
            meter=meter,
            domain=domain,
            gross_j=None,
            idle_j=None,
            net_j=None,
            net_j_per_step=None,
            uncertainty_j=None,
            rate_hz=None,
            provenance="unavailable",
            reason=reason,
        )


class PhaseEnergy(msgspec.Struct, kw_only=True):
    """Net energy of one phase of a step in one domain, from `repetitions` of it in a window of its own, in joules.

    A phase that needs the one before it is the difference of two such windows. `uncertainty_j_per_step` is half the
    95 % interval. A phase that cannot be repeated by itself is null with the reason.
    """

    meter: str
    domain: str
    phase: str
    net_j_per_step: float | None
    uncertainty_j_per_step: float | None
    repetitions: int
    window_s: Seconds | None
    provenance: Provenance
    reason: str | None

    def __post_init__(self) -> None:
        what = f"{self.phase} energy of {self.meter}/{self.domain}"
        _require_reason(what, self.net_j_per_step is None, self.reason)

    @classmethod
    def unavailable(cls, meter: str, domain: str, phase: str, reason: str) -> Self:
        """Return a row for a phase whose energy is not known, and why."""
        return cls(
            meter=meter,
            domain=domain,
            phase=phase,
            net_j_per_step=None,
            uncertainty_j_per_step=None,
            repetitions=0,
            window_s=None,
            provenance="unavailable",
            reason=reason,
        )


class Quality(msgspec.Struct, kw_only=True):
    """What training reached. `test_accuracy` is a fraction, 0 to 1, over `test_items` items.

    `train_loss` has one value a logged interval; null in it is a loss that was not finite.
    `statistics` says which batch-normalisation statistics the evaluation used.
    """

    train_loss: list[float | None]
    test_accuracy: Fraction | None
    test_items: Count
    statistics: str = "moving average"
    reason: str | None = None

    def __post_init__(self) -> None:
        _require_reason("quality.test_accuracy", self.test_accuracy is None, self.reason)


class ProcessorUse(msgspec.Struct, kw_only=True):
    """Processor time in a stretch, summed over the machine's `cores`: our own and that of everybody else.

    `own_s` is this program's and its worker's. `others_s` is the rest of the time in which a processor was not idle,
    with `stolen_s`, what a hypervisor gave to another machine. Known to `resolution_s`.
    """

    duration_s: Seconds
    cores: Annotated[int, msgspec.Meta(ge=1)]
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

    pin: int
    active_high: bool
    active_s: Seconds
    edge_s: Seconds


class Checkpoint(msgspec.Struct, kw_only=True):
    """The checkpoints a trial wrote, and the one it went on from.

    `resumed_at_step` is null for a trial from the beginning; of a resumed one time and energy are of this
    process's steps alone. `write_s` is the median; it is no part of `time`, but lies in the energy's window.
    """

    path: str
    every_steps: Annotated[int, msgspec.Meta(ge=1)]
    resumed_at_step: Count | None
    last_step: Count | None
    written: Count
    bytes: Bytes | None
    write_s: Seconds | None
    reason: str | None = None

    def __post_init__(self) -> None:
        missing = None in (self.last_step, self.bytes, self.write_s)
        _require_reason("checkpoint", missing, self.reason)


class Phase(msgspec.Struct, kw_only=True):
    """A named window, in seconds since the worker started; what came before is negative."""

    name: str
    start_s: float
    end_s: float


class Windows(msgspec.Struct, kw_only=True):
    """When a trial's measured window was, and the idle ones beside it: (begin, end), CLOCK_MONOTONIC of the host.

    With them a meter that records by itself can be read into the document later.
    """

    measured_ns: tuple[int, int]
    idle_before_ns: tuple[int, int] | None
    idle_after_ns: tuple[int, int] | None


class Synchronisation(msgspec.Struct, kw_only=True):
    """The pattern of load that was played before the first trial and after the last, to be found in a trace.

    `code` is the pattern (1 load, -1 idle), each chip `chip_s` long, with `guard_s` of idle on both sides; `begins_ns`
    are the instants at which its code began, CLOCK_MONOTONIC of the host.
    """

    code: list[int]
    chip_s: Seconds
    guard_s: Seconds
    begins_ns: list[int]


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


class Trial(msgspec.Struct, kw_only=True):
    """One fresh worker process: what it trained, with which settings, and what that cost."""

    workload: str
    model: str
    dataset: str
    dataset_variant: str
    trainer: str
    engine: Engine
    optimizer: str
    batch_size: Annotated[int, msgspec.Meta(ge=1)]
    threads: Annotated[int, msgspec.Meta(ge=1)]
    seed: int
    repeat: Count
    outcome: Outcome
    reason: str | None
    time: Time
    memory: Memory
    energy: list[Energy]
    quality: Quality
    validity: Validity
    wall_s: Seconds | None = None
    settings: dict[str, Setting] = msgspec.field(default_factory=dict)
    """Learning rate, schedule, steps, warmup, epochs, ste_mask and what else made this trial."""
    trigger: Trigger | None = None
    worker: Worker = "python"
    """What ran the engine: a Python worker, or the program harness-train, which holds no Python."""
    checkpoint: Checkpoint | None = None
    phases: list[Phase] = msgspec.field(default_factory=list)
    traces: list[Trace] = msgspec.field(default_factory=list)
    energy_by_phase: list[PhaseEnergy] = msgspec.field(default_factory=list)
    """Energy of forward, backward and update by meter and domain; empty where it was not asked for."""
    windows: Windows | None = None

    def __post_init__(self) -> None:
        _require_reason(f"outcome '{self.outcome}'", self.outcome != "ok", self.reason)


class Document(msgspec.Struct, kw_only=True):
    """One result document: the program, the machine, the device profile and the trials in running order."""

    schema: Literal["harness.result"] = SCHEMA
    schema_version: Literal[1] = SCHEMA_VERSION
    created: Annotated[datetime, msgspec.Meta(tz=True)]
    harness: HarnessInfo
    host: Host
    device: Device
    trials: list[Trial]
    synchronisation: Synchronisation | None = None

    def __post_init__(self) -> None:
        if self.created.utcoffset() != timedelta(0):
            raise ValueError("created must be in UTC")


def now() -> datetime:
    """Return the present moment in UTC, as `created` wants it."""
    return datetime.now(UTC)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of the document, generated from the types above.

    The two constants of the head are required: without them a reader cannot tell what it holds.
    """
    schema = msgspec.json.schema(Document)
    for definition in schema["$defs"].values():
        definition["description"] = inspect.cleandoc(definition["description"])
    head = schema["$defs"]["Document"]
    head["required"] = ["schema", "schema_version", *head["required"]]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"{SCHEMA} {SCHEMA_VERSION}",
        **schema,
    }


def _publish() -> None:
    """Write the schema to standard output: `python -m results.schema > results/result.schema.json`."""
    sys.stdout.write(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    _publish()
