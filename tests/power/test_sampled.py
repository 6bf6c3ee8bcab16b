"""Sampled meters against the Python loop: the same samples of the same files, the same words for the same failures."""

import errno
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from power import sampled
from power.base import Domain, Sample, now_ns
from power.errors import MeterReadError
from power.meters.hwmon import HwmonMeter
from power.meters.powercap import PowercapMeter
from power.native import sampler
from power.native.sampler import TEXT_BYTES, RawReading
from power.sampled import SampledMeter
from power.series import Series
from power.sysfs import Attribute, Gauge, SysfsMeter

needs_library = pytest.mark.skipif(sampler.missing() is not None, reason=str(sampler.missing()))
over_files = settings(
    max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)

#: What files may say: counters, signs and spaces, numbers that are none, too much, nothing.
TEXTS = st.one_of(
    st.integers(-(2**70), 2**70).map(lambda number: f"{number}\n".encode()),
    st.sampled_from(
        [b"", b"\n", b" 7\n", b"+7\n", b"1_0\n", b"-\n", b"nan\n", b"1.5\n", b"9" * 44, b"0" * 60]
    ),
    st.binary(max_size=50),
)
CODES = st.sampled_from(
    [errno.EIO, errno.ENODEV, errno.ENODATA, errno.EAGAIN, errno.ETIMEDOUT, errno.ENXIO, errno.ENOENT]
)


class TwoGauges(SysfsMeter):
    """A counter of one file, and a power of two."""

    name = "two"

    def open(self) -> None:
        self.is_open = True


class Said:
    """Stands in for an attribute: says what it is told to, or fails."""

    path = "/sys/said"

    def __init__(self, said: bytes | int) -> None:
        self.said = said

    def reading(self) -> tuple[int, int, bytes]:
        if isinstance(self.said, int):
            raise OSError(self.said, os.strerror(self.said), self.path)
        return 0, 0, self.said


def two_gauges(files: list[Said | Attribute]) -> TwoGauges:
    meter = TwoGauges()
    counter = Gauge(Domain("counter", "energy", ""), (files[0],), 1e-6)  # type: ignore[arg-type]
    product = Gauge(Domain("product", "power", ""), tuple(files[1:]), 1e-6)  # type: ignore[arg-type]
    meter.gauges = (counter, product)
    return meter


def outcome(read) -> object:
    """What a read gave: values by domain, or its failure's words."""
    try:
        return [(sample.domain, sample.energy_j, sample.power_w) for sample in read()]
    except MeterReadError as error:
        return str(error)


class Scripted:
    """Stands in for the native sampler: one batch of rounds, as raw bytes of its buffer."""

    def __init__(self, rounds: list[list[bytes | int]]) -> None:
        self.rounds = rounds

    def __call__(self, paths: list[str], rounds: int, clock: object) -> "Scripted":
        return self

    def run(self, waits_ns: list[int]) -> list[RawReading]:
        batch, self.rounds = self.rounds, []
        return [self._raw(i, said) for each in batch for i, said in enumerate(each)]

    def _raw(self, i: int, said: bytes | int) -> RawReading:
        length, text = (
            (-said, b"") if isinstance(said, int) else (min(len(said), TEXT_BYTES), said[:TEXT_BYTES])
        )
        packed = struct.pack(f"=qqi{TEXT_BYTES}s", 2 * i, 2 * i + 1, length, text)
        return struct.unpack(f"=qqi{TEXT_BYTES}s", packed)

    def close(self) -> None:
        pass


@given(st.lists(st.lists(st.one_of(TEXTS, CODES), min_size=3, max_size=3), min_size=1, max_size=5))
def test_a_batch_is_drained_as_python_would_have_read_it(rounds: list[list[bytes | int]]) -> None:
    paths = ["/sys/said"] * 3
    meter = two_gauges([Said(0) for _ in paths])
    drained = SampledMeter(meter, 0.01, seed=0)
    drained._sampler = Scripted(rounds)  # type: ignore[assignment]
    following = drained.rounds()
    for each in rounds:
        oracle = outcome(two_gauges([Said(said) for said in each]).read)
        ours = outcome(lambda: next(following))
        # A number of 44 digits may have been cut off, so it is not believed.
        too_long = any(isinstance(said, bytes) and len(said) >= TEXT_BYTES for said in each)
        assert ours == oracle or (too_long and "more than a number" in str(ours))
        if isinstance(ours, str):
            break  # a round that failed ends the batch


@needs_library
@over_files
@given(st.lists(TEXTS, min_size=3, max_size=3))
def test_real_files_give_the_same_samples_or_failures_either_way(
    tmp_path: Path, contents: list[bytes]
) -> None:
    files = [tmp_path / f"file{i}" for i in range(3)]
    for path, content in zip(files, contents, strict=True):
        path.write_bytes(content)
    meter = two_gauges([Attribute(str(path)) for path in files])
    native = SampledMeter(meter, 0.01, seed=0)
    try:
        ours, oracle = outcome(lambda: next(native.rounds())), outcome(meter.read)
        assert ours == oracle or "more than a number" in str(ours)
    finally:
        native.close()
        meter.close()


@given(st.binary(max_size=64 * 6))
def test_whatever_stands_in_the_buffer_is_a_sample_or_a_failed_reading(data: bytes) -> None:
    form = struct.Struct(f"=qqi{TEXT_BYTES}s")
    raw = list(form.iter_unpack(data[: len(data) // form.size * form.size]))
    meter = two_gauges([Said(0)] * 3)
    native = SampledMeter(meter, 0.01, seed=0)
    native._sampler = Fixed(raw[: len(raw) // 3 * 3])  # type: ignore[assignment]
    try:
        for samples in native.rounds():
            assert [type(sample) for sample in samples] == [Sample, Sample]
    except MeterReadError as error:
        assert str(error).startswith("meter 'two': a value could not be read: ")


class Fixed:
    """Stands in for the native sampler: gives what it is told to."""

    def __init__(self, raw: list[RawReading]) -> None:
        self.raw = raw

    def run(self, waits_ns: list[int]) -> list[RawReading]:
        return self.raw


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    zone = tmp_path / "intel-rapl:0"
    zone.mkdir()
    for name, text in (("name", "package-0"), ("max_energy_range_uj", "1000000"), ("energy_uj", "999000")):
        (zone / name).write_text(f"{text}\n")
    yield tmp_path


@needs_library
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.integers(0, 400_000), min_size=2, max_size=20))
def test_wraps_are_corrected_in_what_is_drained_as_in_what_python_read(tree: Path, steps: list[int]) -> None:
    counter = tree / "intel-rapl:0" / "energy_uj"
    with PowercapMeter(root=tree) as meter:
        native = SampledMeter(meter, 0.01, seed=0)
        ours, oracle = Series(meter.domains[0]), Series(meter.domains[0])
        total = 999_000
        for i, step in enumerate(steps):
            total += step
            counter.write_text(f"{total % 1_000_000}\n")
            native.wake()  # one round is enough
            (sample,), (by_python,) = next(native.rounds()), meter.read()
            ours.add(1 + i * 10**9, sample.value)
            oracle.add(1 + i * 10**9, by_python.value)
        native.close()
    assert list(ours.values) == list(oracle.values)
    assert ours.values[-1] == pytest.approx(sum(steps[1:]) * 1e-6)
    assert not ours.resets


@needs_library
def test_a_power_of_two_files_is_stamped_around_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampled, "_BATCH_S", 0.5)
    chip = tmp_path / "hwmon0"
    chip.mkdir()
    for name, text in (("name", "ina3221"), ("in1_input", "5000"), ("curr1_input", "400")):
        (chip / name).write_text(f"{text}\n")
    with HwmonMeter("", tmp_path) as meter:
        native = SampledMeter(meter, 0.001, seed=0)
        assert [len(list(native.rounds())) for _ in range(2)] == [1, 500]
        native.wake()
        ((sample,),) = native.rounds()
        native.close()
    assert sample == Sample(sample.t_ns, "ina3221-1", power_w=pytest.approx(2.0))
    assert 0 < now_ns() - sample.t_ns < 10 * 10**9


@needs_library
def test_files_that_cannot_be_opened_are_a_failed_reading(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with PowercapMeter(root=tree) as meter:
        (tree / "intel-rapl:0" / "energy_uj").unlink()
        native = SampledMeter(meter, 0.01, seed=0)
        with pytest.raises(MeterReadError, match=r"meter 'powercap'.*No such file"):
            list(native.rounds())
        native.wake()
        native.close()
    assert sampled.CLOCK_NS is None
