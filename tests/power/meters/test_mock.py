"""The mock plays exactly what its script says, faults included."""

from statistics import fmean, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from power.errors import MeterReadError, MeterUnavailableError
from power.meters.mock import MockMeter, Profile, parse_script
from power.meters.none import NoneMeter
from power.series import Series
from power.window import measure

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


def test_jitter_moves_the_instant_of_a_value_about_its_stamp_and_is_seeded() -> None:
    times = [i / 10 for i in range(1, 1001)]
    counted = at("10W,counter,jitter=0.04s,seed=3", *times)
    late_s = [energy_j / 10.0 - t_s for energy_j, t_s in zip(counted, times, strict=True)]
    assert max(map(abs, late_s)) <= 0.04
    assert fmean(late_s) == pytest.approx(0.0, abs=0.003)
    assert pstdev(late_s) == pytest.approx(0.04 / 3**0.5, rel=0.05)
    assert counted == at("10W,counter,jitter=0.04s,seed=3", *times)
    assert counted != at("10W,counter,jitter=0.04s,seed=4", *times)
    assert at("10W,counter,jitter=0s", *times) == at("10W,counter", *times)


def test_jitter_beyond_the_polls_never_has_a_counter_go_back() -> None:
    counted = at("10W,counter,jitter=0.5s", *(i / 100 for i in range(1000)))
    assert counted == sorted(counted)
    assert counted[0] >= 0.0


def test_jitter_leaves_the_stamps_alone_and_is_in_the_power_too() -> None:
    clock, stamps, powers = Clock(), [], []
    meter = MockMeter("5W*1s+20W*1s,jitter=0.1s", clock)
    meter.open()
    for clock.t_s in [i + 0.95 for i in range(200)]:  # 0.05 s before the power changes
        (sample,) = meter.read()
        stamps.append(sample.t_ns)
        powers.append(sample.value)
    assert stamps == [5 * SECOND + round((i + 0.95) * SECOND) for i in range(200)]
    early = [power_w == (5.0, 20.0)[i % 2] for i, power_w in enumerate(powers)]
    assert fmean(early) == pytest.approx(0.75, abs=0.1)


@pytest.mark.parametrize("counter", ["", ",counter,wrap=90J"])
def test_jitter_leaves_the_energy_of_a_window_within_what_it_moves(counter: str) -> None:
    clock = Clock()
    meter = MockMeter(f"5W*0.3s+20W*0.2s,jitter=0.02s{counter}", clock)
    meter.open()
    series = Series(meter.domains[0])
    for i in range(2000):
        clock.t_s = i / 50
        (sample,) = meter.read()
        series.add(sample.t_ns, sample.value)
    row = measure(series, (10 * SECOND, 40 * SECOND), meter="mock")
    assert row.gross_j == pytest.approx(30.0 * (5.0 * 0.3 + 20.0 * 0.2) / 0.5, abs=20.0 * 0.02 * 2 + 2.0)
    assert series.resets == []
    assert series.rejected == 0


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
