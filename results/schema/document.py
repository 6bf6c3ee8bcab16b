"""A trial, the document of trials, and the JSON Schema that is generated from the types."""

import inspect
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal

import msgspec

from results.schema.accelerator import Accelerator
from results.schema.circumstances import Checkpoint, Phase, Trace, Trigger, Validity
from results.schema.energy import Energy, PhaseEnergy, Synchronisation, Windows
from results.schema.machine import Device, HarnessInfo, Host
from results.schema.measured import Memory, Quality, Time
from results.schema.parts import Count, Engine, Outcome, Positive, Seconds, Setting, Worker, require_reason

SCHEMA: Final = "harness.result"

# History of the version (raised when a name changes meaning or goes; additions do not raise it):
#   1  first published version
SCHEMA_VERSION: Final = 1


class Trial(msgspec.Struct, kw_only=True):
    """One fresh worker process: what it trained, with which settings, and what that cost."""

    workload: str
    model: str
    dataset: str
    dataset_variant: str
    trainer: str
    engine: Engine
    optimizer: str
    batch_size: Positive
    threads: Positive
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
    """Learning rate, schedule, steps, warmup, epochs, ste_mask, border and what else made this trial."""
    trigger: Trigger | None = None
    worker: Worker = "python"
    """What ran the engine: a Python worker, or the program harness-train, which holds no Python."""
    checkpoint: Checkpoint | None = None
    phases: list[Phase] = msgspec.field(default_factory=list)
    traces: list[Trace] = msgspec.field(default_factory=list)
    energy_by_phase: list[PhaseEnergy] = msgspec.field(default_factory=list)
    """Energy of forward, backward and update by meter and domain; empty where it was not asked for."""
    windows: Windows | None = None
    accelerator: Accelerator | None = None
    """What was trained on; null is the processor."""

    def __post_init__(self) -> None:
        require_reason(f"outcome '{self.outcome}'", self.outcome != "ok", self.reason)


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
