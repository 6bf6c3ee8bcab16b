"""The parent's side of the protocol: every line a worker may send, decoded strictly."""

from typing import Any

import msgspec


class Message(msgspec.Struct, frozen=True, tag_field="type", forbid_unknown_fields=True):
    """Root of the messages; see `protocol.py` for what each means."""


class PhaseBegun(Message, frozen=True, tag="phase"):
    """A phase begins."""

    name: str
    t_ns: int


class Peak(Message, frozen=True, tag="peak"):
    """A phase has ended with this residency; where it cannot be had, null beside the reason."""

    phase: str
    t_ns: int
    rss_bytes: int | None
    peak_rss_bytes: int | None
    anon_bytes: int | None
    file_bytes: int | None
    reason: str | None = None


class AcceleratorPeak(Message, frozen=True, tag="accelerator_peak"):
    """A phase has ended with this on the accelerator."""

    phase: str
    t_ns: int
    allocated_bytes: int
    peak_allocated_bytes: int
    reserved_bytes: int
    peak_reserved_bytes: int
    used_bytes: int


class Progress(Message, frozen=True, tag="progress"):
    """Steps done so far and the loss just now; null also from a worker that evaluates or repeats phases."""

    step: int
    steps: int
    loss: float | None


class WindowEdge(Message, frozen=True, tag="window"):
    """The measured window begins or ends, or an evaluation interrupts it (`pause`, `resume`)."""

    event: str
    t_ns: int


class Repeated(Message, frozen=True, tag="repeated"):
    """A step up to the end of a phase was repeated so many times in this window."""

    phase: str
    count: int
    begin_ns: int
    end_ns: int


class Timing(Message, frozen=True, tag="timing"):
    """Durations of the measured steps by part, in nanoseconds; None for a part that is fused into another."""

    durations_ns: dict[str, list[int] | None]


class Saved(Message, frozen=True, tag="saved"):
    """A checkpoint is on the disk."""

    step: int
    bytes: int
    duration_ns: int


class Ledger(Message, frozen=True, tag="ledger"):
    """Bytes by class of variable, as allocated, and what the class `scratch` is made of, where the engine knows."""

    allocated: dict[str, int]
    scratch: dict[str, int] = {}


class Evaluated(Message, frozen=True, tag="evaluated"):
    """The test set after so many steps: a point of the accuracy curve."""

    step: int
    correct: int
    items: int
    duration_ns: int


class Quality(Message, frozen=True, tag="quality"):
    """Losses, and the test set at the end."""

    train_loss: list[float | None]
    correct: int
    items: int
    statistics: str


class Facts(Message, frozen=True, tag="facts"):
    """What the record should say of the engine."""

    engine: dict[str, Any]


class Failure(Message, frozen=True, tag="failure"):
    """The trial failed and the worker could still say why."""

    outcome: str
    reason: str
    detail: str


class Done(Message, frozen=True, tag="done"):
    """All is said."""


AnyMessage = (
    PhaseBegun
    | Peak
    | AcceleratorPeak
    | Progress
    | WindowEdge
    | Repeated
    | Timing
    | Saved
    | Ledger
    | Evaluated
    | Quality
    | Facts
    | Failure
    | Done
)
_DECODER: msgspec.json.Decoder[AnyMessage] = msgspec.json.Decoder(AnyMessage)


def decode(line: bytes) -> AnyMessage:
    """Return the message; raises msgspec.DecodeError for anything that is not one."""
    return _DECODER.decode(line)
