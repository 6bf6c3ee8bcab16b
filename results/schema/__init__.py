"""The result document, version 1: what one `harness run` keeps, as strict msgspec types.

A value that was not measured is `None` beside a `reason`, never 0; the types below refuse a null
without one, when built and when read. Units stand in the names (`_s`, `_j`, `_w`, `_bytes`, `_hz`, `_c`).
Unknown fields are ignored, so that a reader of version 1 reads later additions to version 1.

One subject a module; it imports msgspec alone: no table, no report.
"""

from results.schema.accelerator import PROCESSOR, Accelerator, AcceleratorMemory, AcceleratorPeak
from results.schema.circumstances import Checkpoint, Phase, ProcessorUse, Trace, Trigger, Validity
from results.schema.document import SCHEMA, SCHEMA_VERSION, Document, Trial, json_schema, now
from results.schema.energy import Energy, PhaseEnergy, Synchronisation, Windows
from results.schema.machine import Device, HarnessInfo, Host, NativeBuild
from results.schema.measured import Ceiling, Estimate, Evaluation, Memory, Quality, Time
from results.schema.parts import (
    VARIABLES,
    Allocator,
    Bytes,
    Count,
    Engine,
    Fraction,
    Outcome,
    Provenance,
    Seconds,
    Setting,
    Worker,
)

__all__ = [
    "PROCESSOR",
    "SCHEMA",
    "SCHEMA_VERSION",
    "VARIABLES",
    "Accelerator",
    "AcceleratorMemory",
    "AcceleratorPeak",
    "Allocator",
    "Bytes",
    "Ceiling",
    "Checkpoint",
    "Count",
    "Device",
    "Document",
    "Energy",
    "Engine",
    "Estimate",
    "Evaluation",
    "Fraction",
    "HarnessInfo",
    "Host",
    "Memory",
    "NativeBuild",
    "Outcome",
    "Phase",
    "PhaseEnergy",
    "ProcessorUse",
    "Provenance",
    "Quality",
    "Seconds",
    "Setting",
    "Synchronisation",
    "Time",
    "Trace",
    "Trial",
    "Trigger",
    "Validity",
    "Windows",
    "Worker",
    "json_schema",
    "now",
]
