"""What one training cost in energy, by meter and domain, and the windows and patterns it is cut by."""

from typing import Annotated, Literal, Self

import msgspec

from results.schema.parts import Count, Integer, Provenance, Seconds, Setting, require_reason


class Energy(msgspec.Struct, kw_only=True):
    """One meter's domain over the training window, in joules: net = gross − idle power × time.

    `uncertainty_j` is half the 95 % interval of `net_j`, or of `gross_j` where there is no net. `rate_hz` is the rate
    of readings really achieved, whether or not the meter had renewed its value by then: `fresh_samples` counts those
    that differ from the one before. `provenance` says whether the values were measured or modelled; nothing else may.
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
    parent: str | None = None
    """The meter's domain that contains this one; empty where none does, null where it is not known."""
    covers: str | None = None
    """What the domain measures, in the meter's words: which rails, which side of the power supply."""
    fresh_samples: Count | None = None
    """Readings in the window that differ from the one before: new for certain (a steady power repeats itself too)."""
    longest_gap_s: Seconds | None = None
    """The longest time between two readings in the window."""
    gross_uncertainty_j: float | None = None
    """Half the 95 % interval of `gross_j`, which a constant offset of the meter widens and that of `net_j` does not."""
    terms_j: dict[str, float] = msgspec.field(default_factory=dict)
    """Standard uncertainties (one sigma) by cause that `uncertainty_j` is made of, but for `delay_j`, which is a limit;
    empty for a sum over stretches."""
    settings: dict[str, Setting] = msgspec.field(default_factory=dict)
    """What the meter was set to: its port, rails, the true shunt and what readings were multiplied by for it."""

    def __post_init__(self) -> None:
        values = (self.gross_j, self.idle_j, self.net_j, self.net_j_per_step)
        require_reason(f"energy of {self.meter}/{self.domain}", None in values, self.reason)
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
    repetitions: Integer
    window_s: Seconds | None
    provenance: Provenance
    reason: str | None

    def __post_init__(self) -> None:
        what = f"{self.phase} energy of {self.meter}/{self.domain}"
        require_reason(what, self.net_j_per_step is None, self.reason)

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


class Windows(msgspec.Struct, kw_only=True):
    """When a trial's measured window was, and the idle ones beside it: (begin, end), CLOCK_MONOTONIC of the host.

    With them a meter that records by itself can be read into the document later. In `evaluations_ns` the measured one
    was interrupted: they are no part of the energy.
    """

    measured_ns: tuple[Integer, Integer]
    idle_before_ns: tuple[Integer, Integer] | None
    idle_after_ns: tuple[Integer, Integer] | None
    evaluations_ns: list[tuple[Integer, Integer]] = msgspec.field(default_factory=list)


class Synchronisation(msgspec.Struct, kw_only=True):
    """The pattern of load that was played before the first trial and after the last, to be found in a trace.

    `code` is the pattern (1 load, -1 idle), each chip `chip_s` long, with `guard_s` of idle on both sides; `begins_ns`
    are the instants at which its code began, CLOCK_MONOTONIC of the host.
    """

    code: list[Integer]
    chip_s: Seconds
    guard_s: Seconds
    begins_ns: list[Integer]
