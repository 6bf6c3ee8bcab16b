"""One suite for every registered meter: it keeps the contract, or is skipped with its probe's reason."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from power import registry
from power.base import Meter, now_ns
from power.errors import MeterUnavailableError, UnknownMeterError
from power.sysfs import SysfsMeter

#: Meters that measure nothing, with the provenance of their values.
SCRIPTED = {"mock": "modelled", "none": "unavailable", "replay": "measured"}


#: Gain limit that is assumed, for offset and everything, where no data sheet states an error: RAPL, NVML, the PMIC of a
#: Raspberry Pi, sensor chips that are not known.
ASSUMED = 0.05
#: Other meters that state no offset, and why: what is assumed of their gain stands for it.
NO_OFFSET = {
    "shelly": "none is published; 2 % is assumed for all models",
    "tasmota": "as good as its calibration, of which nothing is known; 3 % is assumed",
    "joulescope": "it differs by the range that the instrument chooses; 0.5 % is assumed for all of them",
}

#: Meters whose values stand in files, which the native sampler can read.
OF_FILES = [name for name in registry.names() if isinstance(registry.make(name), SysfsMeter)]


@pytest.fixture(
    params=[
        *(f"{name}, {how}" for name in registry.names() for how in ("as it is here", "stand-in")),
        *(f"{name}, sampled" for name in OF_FILES),
    ]
)
def meter(request: pytest.FixtureRequest, bench: Any) -> Meter:
    """Every meter on this machine's hardware (or skipped with its reason), on a stand-in, and that by the sampler."""
    name, _, how = request.param.partition(", ")
    makers = {"stand-in": bench.meter, "sampled": bench.sampled}
    made: Meter = makers.get(how, registry.make)(name)
    return made


@pytest.fixture
def usable(meter: Meter) -> Iterator[Meter]:
    probe = meter.probe()
    if not probe.usable:
        pytest.skip(f"{meter.name}: {probe.reason}")
    with meter:
        yield meter


def test_a_stand_in_can_always_be_used(bench: Any) -> None:
    unusable = {
        name: probe.reason for name in registry.names() if not (probe := bench.meter(name).probe()).usable
    }
    assert unusable == {}


def test_constructing_and_probing_touch_nothing_and_never_raise(meter: Meter) -> None:
    probe = meter.probe()
    assert probe.name == meter.name
    if not probe.usable:
        assert probe.reason
        with pytest.raises(MeterUnavailableError) as caught:
            meter.open()
        assert caught.value.meter == meter.name
    meter.close()
    meter.close()


def test_domains_are_named_once_and_nested_in_each_other(usable: Meter) -> None:
    names = [domain.name for domain in usable.domains]
    assert names
    assert len(names) == len(set(names))
    assert {d.parent for d in usable.domains} <= {None, *names}
    assert all(domain.covers for domain in usable.domains)
    assert usable.period_s > 0.0
    assert all(domain.gain_limit > 0.0 for domain in usable.domains if usable.name not in SCRIPTED)
    assert usable.provenance == SCRIPTED.get(usable.name, "measured")


def test_a_meter_states_its_offset_or_is_known_to_have_none(usable: Meter) -> None:
    if usable.name in SCRIPTED or usable.name in NO_OFFSET:
        pytest.skip(NO_OFFSET.get(usable.name, "scripted"))
    for domain in usable.domains:
        assert domain.offset_limit_w > 0.0 or domain.gain_limit >= ASSUMED, domain.name


def test_samples_carry_the_time_of_the_reading_and_a_known_domain(usable: Meter) -> None:
    usable.open()  # idempotent
    kinds = {domain.name: domain.kind for domain in usable.domains}
    before_ns = now_ns()
    samples = [*usable.read()]
    time.sleep(0.05)
    samples += usable.read()
    for sample in samples:
        assert before_ns - 1_000_000_000 < sample.t_ns <= now_ns()
        assert (sample.energy_j is None) == (kinds[sample.domain] == "power")
        assert (sample.power_w is None) == (kinds[sample.domain] == "energy")
    assert samples or usable.absence is not None


def test_a_closed_meter_can_be_opened_again_and_read(usable: Meter) -> None:
    usable.close()
    usable.open()
    end_s = time.monotonic() + 60.0
    while time.monotonic() < end_s:
        if usable.read() or usable.absence is not None:
            return
        time.sleep(0.01)
    raise AssertionError("no sample after it was opened again")


def test_the_record_of_a_meter_is_plain(usable: Meter) -> None:
    for key, value in usable.settings().items():
        assert isinstance(key, str)
        assert isinstance(value, (str, int, float, bool))


def test_the_meters_of_files_are_known() -> None:
    assert OF_FILES == ["powercap", "hwmon"]


def test_every_row_can_be_imported_and_is_what_it_says() -> None:
    for name in registry.names():
        assert registry.make(name).name == name


def test_an_unknown_meter_names_those_there_are() -> None:
    with pytest.raises(UnknownMeterError, match=r"unknown meter 'wattsup'; there is: powercap, .*um25c"):
        registry.open_meter("wattsup:/dev/x")


def test_aliases_and_arguments() -> None:
    assert registry.make("rapl").name == "powercap"
    assert registry.make("mock:10W,rate=5").argument == "10W,rate=5"
    assert registry.make("replay:C:odd").argument == "C:odd"


def test_probe_all_gives_every_meter_one_row_and_probe_explains_a_bad_argument() -> None:
    assert [probe.name for probe in registry.probe_all()] == registry.names()
    assert "is not a stretch" in str(registry.probe("mock:ten").reason)


def test_the_automatic_choice_is_never_a_made_up_meter() -> None:
    assert registry.automatic() not in {"mock", "replay", "none", "shelly", "tasmota"}
