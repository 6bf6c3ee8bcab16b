"""The mock plays exactly what its script says, faults included."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from power.errors import MeterReadError, MeterUnavailableError
from power.meters.mock import MockMeter, Profile, parse_script
from power.meters.none import NoneMeter

SECOND = 1_000_000_000


class Clock:
    def __init__(self) -> None:
        self.t_s = 0.0

    def __call__(self) -> int:
        return 5 * SECOND + round(self.t_s * SECOND)


def at(text: str, *times_s: float) -> list[float]:
    clock = Clock()
    meter = MockMeter(text, clock)
    meter.open()
    values = []
    for clock.t_s in times_s:
        values += [sample.value for sample in meter.read()]
    return values


def test_constant_steps_and_periodic_power() -> None:
    assert at("", 0.0, 9.0) == [5.0, 5.0]
    assert at("10W", 0.0, 9.0) == [10.0, 10.0]
    assert at("5W*1s+20W*2s", 0.5, 1.5, 2.9, 3.5, 4.5) == [5.0, 20.0, 20.0, 5.0, 20.0]


def test_a_counter_counts_and_wraps() -> None:
    assert at("10W,counter", 0.5, 1.0) == pytest.approx([5.0, 10.0])
    assert at("10W,counter,wrap=8J", 0.5, 1.0) == pytest.approx([5.0, 2.0])


def test_gain_offset_and_skew() -> None:
    assert at("10W,gain=0.1,offset=0.5W", 1.0) == pytest.approx([11.5])
    clock = Clock()
    meter = MockMeter("10W,skew=100ppm", clock)
    meter.open()
    clock.t_s = 10.0
    assert meter.read()[0].t_ns == 15 * SECOND + 1_000_000


def test_lost_readings_and_noise_are_seeded() -> None:
    times = [i / 10 for i in range(1000)]
    assert len(at("10W,dropout=0.3", *times)) == pytest.approx(700, abs=50)
    assert at("10W,noise=0.5W,seed=3", *times) == at("10W,noise=0.5W,seed=3", *times)
    assert at("10W,noise=0.5W,seed=3", *times) != at("10W,noise=0.5W,seed=4", *times)


def test_disconnected_and_back() -> None:
    clock = Clock()
    meter = MockMeter("10W,disconnect=1-2s", clock)
    meter.open()
    assert len(meter.read()) == 1
    clock.t_s = 1.5
    with pytest.raises(MeterReadError, match="disconnected"):
        meter.read()
    clock.t_s = 2.5
    meter.close()
    meter.open()
    assert meter.read()[0].t_ns == 5 * SECOND + 2_500_000_000


@pytest.mark.parametrize(
    "text", ["ten", "5W+3W", "5W*0s", "10W,wrap=0", "10W,colour=red", "10W,rate=x", "-5W"]
)
def test_a_script_that_cannot_be_read_is_named(text: str) -> None:
    probe = MockMeter(text).probe()
    assert not probe.usable
    with pytest.raises(MeterUnavailableError, match="mock:10W"):
        MockMeter(text).open()


@given(
    st.lists(st.tuples(st.floats(0.0, 100.0), st.floats(0.01, 5.0)), min_size=1, max_size=5),
    st.floats(0.0, 50.0),
)
def test_the_energy_of_a_profile_is_the_integral_of_its_power(
    stretches: list[tuple[float, float]], t_s: float
) -> None:
    profile = Profile(tuple(stretches))
    step_s = profile.period_s / 2000
    count = int(t_s / step_s) if t_s < 2 * profile.period_s else 0
    total = sum(profile.power_w((i + 0.5) * step_s) for i in range(count)) * step_s
    assert profile.energy_j(count * step_s) == pytest.approx(total, rel=0.02, abs=1.0)
    assert profile.energy_j(t_s) >= 0.0


def test_the_script_is_in_the_record_and_is_not_called_measured() -> None:
    assert MockMeter("10W").settings() == {"script": "10W"}
    assert MockMeter("10W").provenance == "modelled"
    assert parse_script("").profile.power_w(0.0) == 5.0


def test_none_says_why_and_takes_a_reason() -> None:
    assert "no meter was selected" in NoneMeter().absence
    assert NoneMeter("no meter was found").probe().reason == "no meter was found"
    assert NoneMeter().read() == []
