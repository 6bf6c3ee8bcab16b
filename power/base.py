"""The contract every meter keeps: what it is, what it covers, how good it is, and how it is read.

A meter delivers *samples*. A sample carries the instant of the reading (CLOCK_MONOTONIC, nanoseconds; the
same clock the worker stamps its marks with) and either an energy counted from an arbitrary fixed point or
a power. Everything else (windows, wraparound, uncertainty) is done once, for all meters, elsewhere in this
package: a meter only reads. All quantities are SI: joule, watt, second, with the unit in the name.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import ClassVar, Literal, NamedTuple, Self

from power.errors import MeterUnavailableError

Kind = Literal["energy", "power"]
Provenance = Literal["measured", "modelled", "unavailable"]

Setting = str | float | int | bool


#: CLOCK_MONOTONIC in nanoseconds, the one clock of samples, marks and windows.
now_ns = time.monotonic_ns


@dataclass(frozen=True, slots=True)
class Domain:
    """One thing a meter measures: a rail, a socket, a plug; and how well it measures it.

    `parent` names the domain of the same meter that already contains this one (psys contains the packages,
    a package its cores), so that a sum takes the outermost domains only and nothing is counted twice. Where it is not
    known how the outermost ones are wired, as with sensors of a board, they are not `apart`, and no sum is made.
    `gain_limit` (relative) and `offset_limit_w` are limits in the data sheet's sense: the error lies
    somewhere in ± the limit; where no data sheet states any, a gain limit is assumed that stands for the offset too, 0
    then. `update_s` is the time between fresh values inside the meter, however often it
    is polled. `wrap_j` is the range after which a counter starts again at its fixed point; None: never.
    `max_power_w` is the highest plausible power; a counter difference beyond it is a reset, not energy, and one over a
    time in which the counter could have run through its range at that power is not known.
    """

    name: str
    kind: Kind
    covers: str
    parent: str | None = None
    apart: bool = True
    update_s: float = 0.0
    resolution_j: float = 0.0
    resolution_w: float = 0.0
    gain_limit: float = 0.0
    offset_limit_w: float = 0.0
    wrap_j: float | None = None
    max_power_w: float = 2000.0


class Sample(NamedTuple):
    """One reading of one domain at `t_ns`: either `energy_j` since a fixed point or `power_w`, never both."""

    t_ns: int
    domain: str
    energy_j: float | None = None
    power_w: float | None = None

    @property
    def value(self) -> float:
        """The reading, in the unit of its domain's kind (J or W)."""
        value = self.energy_j if self.power_w is None else self.power_w
        if value is None:
            raise ValueError(f"sample of '{self.domain}' carries neither energy nor power")
        return value


@dataclass(frozen=True, slots=True)
class Probe:
    """What `doctor` says of a meter: usable, or why not and the command that mends it."""

    name: str
    usable: bool
    reason: str | None = None
    hint: str | None = None
    domains: tuple[Domain, ...] = field(default=())

    def __post_init__(self) -> None:
        if not self.usable and not self.reason:
            raise ValueError(f"probe of '{self.name}': not usable needs a reason")


class Meter(ABC):
    """A meter: constructed with the text after the colon of `--meter name:argument`, then opened and read.

    Constructing touches nothing. `open` is idempotent and raises `MeterUnavailableError`; `read` raises
    `MeterReadError` for a reading that failed (never a zero in its place) and may be called again later.
    """

    name: ClassVar[str]
    #: Chosen without being asked for: on this machine's own sensors only, never on the network.
    automatic: ClassVar[bool] = False
    #: Whether values were measured, or are scripted ("modelled") and must never pass for measured ones.
    provenance: Provenance = "measured"
    #: Mean time between polls; a stream's `read` waits for the device itself instead.
    period_s: float = 0.1
    streams: bool = False

    def __init__(self, argument: str = "") -> None:
        self.argument = argument

    def probe(self) -> Probe:
        """Say whether this meter can be used here, without raising and without changing anything: open it and look."""
        try:
            self.open()
        except MeterUnavailableError as error:
            return Probe(self.name, False, error.reason, error.hint)
        domains = self.domains
        self.close()
        return Probe(self.name, True, domains=domains)

    @abstractmethod
    def open(self) -> None:
        """Make ready to read. Raises `MeterUnavailableError` with the command that mends it."""

    @property
    @abstractmethod
    def domains(self) -> tuple[Domain, ...]:
        """What is covered; complete once the meter is open."""

    @abstractmethod
    def read(self) -> list[Sample]:
        """Return new samples: one a domain for a polled meter, any number for a stream.

        A stream waits at most about a second and then returns what there is, perhaps nothing.
        Raises `MeterReadError` for a failed or corrupt reading.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the device; may be called twice."""

    @property
    def absence(self) -> str | None:
        """Why this meter never has any energy; None for one that measures."""
        return None

    def settings(self) -> dict[str, Setting]:
        """Return what the reader of the record must know: port, shunt correction, address."""
        return {"argument": self.argument} if self.argument else {}

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def outermost(domains: Iterable[Domain]) -> tuple[Domain, ...]:
    """Return the domains contained in no other one of `domains`: what may be added up."""
    domains = tuple(domains)
    names = {domain.name for domain in domains}
    return tuple(domain for domain in domains if domain.parent not in names)


def wrap_s(domain: Domain) -> float | None:
    """Return the longest time between two readings whose modular difference is their energy, in s; None: any time.

    It is the time the counter needs to run through its range at the highest plausible power.
    """
    return None if domain.wrap_j is None else domain.wrap_j / domain.max_power_w


def wrap_poll_s(domain: Domain) -> float | None:
    """Return the longest time between two reads that cannot miss a wrap, in s; None: it never wraps.

    Half of `wrap_s`, so that a read that comes late is still in time.
    """
    limit_s = wrap_s(domain)
    return None if limit_s is None else limit_s / 2.0
