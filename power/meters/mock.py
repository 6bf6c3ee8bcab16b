"""`mock`: a meter of scripted power, with every fault a real one has; for tests, demonstrations and CI.

    mock                         5 W
    mock:10W                     a constant
    mock:5W*0.1s+15W*0.2s        stretches of power, repeated for ever: steps or a periodic load
    mock:10W,counter,wrap=100J   an energy counter that wraps, instead of a power

Options, separated by commas: `rate` (polls a second), `counter`, `wrap` (J), `noise` (W, standard deviation
of a reading), `dropout` (share of readings lost), `disconnect=A-B` (s after opening: unplugged in between;
`A-` for good), `skew` (ppm by which its clock runs fast), `jitter` (s: a value is that of an instant up to so
much before or after its stamp), `gain` and `offset` (its errors: relative, W), `limit` (the gain error it admits
to), `seed`. Its energy is scripted, so its provenance is "modelled".
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from itertools import accumulate
from typing import Any

from power.base import Domain, Meter, Probe, Sample, Setting, now_ns
from power.errors import MeterReadError, MeterUnavailableError

_STRETCH = re.compile(r"(?P<watt>\d+(?:\.\d+)?)W?(?:\*(?P<second>\d+(?:\.\d+)?)s?)?$")
_UNIT = re.compile(r"(J|W|Hz|ppm|s)$")


@dataclass(frozen=True, slots=True)
class Profile:
    """Power over time in stretches of (W, s), repeated for ever; its energy is known exactly."""

    stretches: tuple[tuple[float, float], ...]

    def power_w(self, t_s: float) -> float:
        """Return the power at `t_s` after the start, in W."""
        rest = t_s % self.period_s
        for watt, second in self.stretches:
            if rest < second:
                return watt
            rest -= second
        return self.stretches[-1][0]

    def energy_j(self, t_s: float) -> float:
        """Return the exact energy from the start to `t_s`, in J."""
        cycles, rest = divmod(t_s, self.period_s)
        energy = cycles * sum(watt * second for watt, second in self.stretches)
        for watt, second in self.stretches:
            energy += watt * min(rest, second)
            rest = max(0.0, rest - second)
        return energy

    @property
    def highest_w(self) -> float:
        """The highest power, in W."""
        return max(watt for watt, _ in self.stretches)

    @property
    def period_s(self) -> float:
        """Length of one repetition, in s."""
        return list(accumulate(second for _, second in self.stretches))[-1]


@dataclass(frozen=True, slots=True)
class Script:
    """What a mock plays: the true power, and the faults of the meter that watches it."""

    profile: Profile = field(default_factory=lambda: Profile(((5.0, 1.0),)))
    rate: float = 50.0
    counter: bool = False
    wrap: float | None = None
    noise: float = 0.0
    dropout: float = 0.0
    disconnect: tuple[float, float] | None = None
    skew: float = 0.0
    jitter: float = 0.0
    gain: float = 0.0
    offset: float = 0.0
    limit: float = 0.0
    seed: int = 0


def parse_script(text: str) -> Script:
    """Return the script of a `mock` argument. Raises `ValueError` naming the part that is wrong."""
    profile, *options = text.split(",") if text else ["5W"]
    values: dict[str, Any] = {}
    for option in options:
        key, _, value = option.strip().partition("=")
        values[key] = _option(key, value)
    return Script(profile=_profile(profile), **values)


def _profile(text: str) -> Profile:
    stretches: list[tuple[float, float]] = []
    for part in text.split("+"):
        match = _STRETCH.match(part.strip())
        if match is None or (match["second"] is None and "+" in text):
            raise ValueError(f"'{part}' is not a stretch such as 10W*0.5s")
        stretches.append((float(match["watt"]), float(match["second"] or 1.0)))
    if any(second <= 0.0 for _, second in stretches):
        raise ValueError(f"'{text}' has a stretch of no length")
    return Profile(tuple(stretches))


def _option(key: str, value: str) -> Any:
    if key not in {f.name for f in fields(Script)} - {"profile"}:
        raise ValueError(f"'{key}' is no option of mock")
    if key == "counter":
        return True
    if key == "seed":
        return int(value)
    if key == "disconnect":
        start, _, end = value.removesuffix("s").partition("-")
        return float(start), float(end) if end else float("inf")
    number = float(_UNIT.sub("", value))
    if key in {"rate", "wrap"} and number <= 0.0:
        raise ValueError(f"'{key}' must be above 0")
    return number


class MockMeter(Meter):
    """Plays a script; `clock` (ns) can be replaced so that a simulation runs faster than time."""

    name = "mock"
    provenance = "modelled"

    def __init__(self, argument: str = "", clock: Callable[[], int] = now_ns) -> None:
        super().__init__(argument)
        self._clock = clock
        self._start_ns: int | None = None
        self.script = Script()
        self._random = random.Random(0)
        self._shown_s = 0.0

    @property
    def domains(self) -> tuple[Domain, ...]:
        """One domain, a power or a counter."""
        script = self.script
        return (
            Domain(
                "mock",
                "energy" if script.counter else "power",
                covers="a scripted load",
                update_s=1e-3 if script.counter else 0.0,
                gain_limit=script.limit,
                wrap_j=script.wrap if script.counter else None,
                max_power_w=max(1.0, 1.1 * (script.profile.highest_w * (1.0 + script.gain) + script.offset)),
            ),
        )

    def probe(self) -> Probe:
        """Say usable when the script can be read."""
        try:
            self.script = parse_script(self.argument)
        except (ValueError, TypeError) as error:
            return Probe(self.name, False, str(error), "--meter mock:10W")
        return Probe(self.name, True, domains=self.domains)

    def open(self) -> None:
        """Start the script. Raises `MeterUnavailableError` for one that cannot be read."""
        if self._start_ns is not None:
            return
        try:
            self.script = parse_script(self.argument)
        except (ValueError, TypeError) as error:
            raise MeterUnavailableError(self.name, str(error), "--meter mock:10W") from error
        self.period_s = 1.0 / self.script.rate
        self._random = random.Random(self.script.seed)
        self._start_ns = self._clock()

    def read(self) -> list[Sample]:
        """Return the scripted value of now. Raises `MeterReadError` where the script says so."""
        if self._start_ns is None:
            raise MeterReadError("meter 'mock' is not open")
        t_ns = self._clock()
        t_s = (t_ns - self._start_ns) * 1e-9
        script = self.script
        if script.disconnect is not None and script.disconnect[0] <= t_s < script.disconnect[1]:
            raise MeterReadError("meter 'mock' was disconnected, as its script says")
        if self._random.random() < script.dropout:
            return []
        stamp_ns = self._start_ns + round((t_ns - self._start_ns) * (1.0 + script.skew * 1e-6))
        if script.jitter:
            # Never an instant before the last one: a counter does not go back.
            t_s = max(self._shown_s, t_s + self._random.uniform(-script.jitter, script.jitter))
            self._shown_s = t_s
        return [self._sample(stamp_ns, t_s)]

    def _sample(self, stamp_ns: int, t_s: float) -> Sample:
        script = self.script
        if script.counter:
            energy_j = script.profile.energy_j(t_s) * (1.0 + script.gain) + script.offset * t_s
            return Sample(stamp_ns, "mock", energy_j=energy_j % script.wrap if script.wrap else energy_j)
        noise_w = self._random.gauss(0.0, script.noise) if script.noise else 0.0
        power_w = script.profile.power_w(t_s) * (1.0 + script.gain) + script.offset + noise_w
        return Sample(stamp_ns, "mock", power_w=power_w)

    def close(self) -> None:
        """Keep the script running: what is plugged in again finds the load where it is by then."""

    def settings(self) -> dict[str, Setting]:
        """Return the script."""
        return {"script": self.argument or "5W"}
