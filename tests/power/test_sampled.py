"""Sampled meters against the Python loop: the same samples of the same files, the same words for the same failures."""

import errno
import os
import re
from array import array
from collections.abc import Callable, Iterator
from itertools import chain
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
from power.native.sampler import TEXT_BYTES, Batch, Column, RawReading
from power.sampled import SampledMeter
from power.series import Block, Series
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


def outcome(read: Callable[[], list[Sample]]) -> object:
    """What a read gave: values by domain, or its failure's words."""
    try:
        return [(sample.domain, sample.value) for sample in read()]
    except MeterReadError as error:
        return str(error)


def outcomes(native: SampledMeter) -> list[object]:
    """What each round of a batch gave; a round that failed is the last."""
    found: list[object] = []
    try:
        for blocks in native.batch():
            assert len({len(block.t_ns) for block in blocks}) == 1
            found += [
                list(zip([block.domain for block in blocks], each, strict=True))
                for each in zip(*(block.values for block in blocks), strict=True)
            ]
    except MeterReadError as error:
        found.append(str(error))
    return found


class Scripted:
    """Stands in for the native sampler: one batch of rounds of what its files say, round r read at about r ns."""

    def __init__(self, rounds: list[list[bytes | int]]) -> None:
        odd = (i for i, each in enumerate(rounds) if not all(map(is_plain, each)))
        self.whole = next(odd, len(rounds))
        self.columns = [self._column([int(each[i]) for each in rounds[: self.whole]]) for i in range(3)]
        self.odd = [self._raw(said) for said in chain(*rounds[self.whole : self.whole + 1])]

    def run(self, waits_ns: "array[int]") -> Batch:
        return Batch(self.columns, self.odd)

    def _column(self, values: list[int]) -> Column:
        count = len(values)
        return Column(array("q", range(count)), array("q", range(2, count + 2)), array("q", values))

    def _raw(self, said: bytes | int) -> RawReading:
        if isinstance(said, int):
            return self.whole, self.whole + 2, -said, b""
        return self.whole, self.whole + 2, min(len(said), TEXT_BYTES), said[:TEXT_BYTES]

    def close(self) -> None:
        pass


def is_plain(said: bytes | int) -> bool:
    """Whether the native sampler has a reading as a number, whatever else it may be."""
    if isinstance(said, int) or len(said) >= TEXT_BYTES or not re.fullmatch(rb"-?[0-9]+\n?", said):
        return False
    return -(2**63) <= int(said) < 2**63


@given(st.lists(st.lists(st.one_of(TEXTS, CODES), min_size=3, max_size=3), min_size=1, max_size=5))
def test_a_batch_is_drained_as_python_would_have_read_it(rounds: list[list[bytes | int]]) -> None:
    native = SampledMeter(two_gauges([Said(0)] * 3), 0.01, seed=0)
    scripted = Scripted(rounds)
    native._sampler = scripted  # type: ignore[assignment]
    ours = outcomes(native)
    assert len(ours) == min(len(rounds), scripted.whole + 1)  # a round that is not of numbers ends the batch
    for said, mine in zip(rounds, ours, strict=False):
        oracle = outcome(two_gauges([Said(each) for each in said]).read)
        # A number of 44 digits may have been cut off, so it is not believed.
        too_long = any(isinstance(each, bytes) and len(each) >= TEXT_BYTES for each in said)
        assert mine == oracle or (too_long and "more than a number" in str(mine))


@given(st.lists(st.lists(st.integers(-1000, 1000), min_size=3, max_size=3), min_size=1, max_size=50))
def test_every_sample_of_a_batch_is_stamped_in_the_middle_of_its_files(values: list[list[int]]) -> None:
    native = SampledMeter(two_gauges([Said(0)] * 3), 0.01, seed=0)
    native._sampler = Scripted([[b"%d" % each for each in row] for row in values])  # type: ignore[assignment]
    ((counter, product),) = native.batch()
    assert counter == Block("counter", [i + 1 for i in range(len(values))], [1e-6 * a for a, _, _ in values])
    assert product == Block("product", counter.t_ns, [1e-6 * b * c for _, b, c in values])


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
        (ours,), oracle = outcomes(native), outcome(meter.read)
        assert ours == oracle or "more than a number" in str(ours)
    finally:
        native.close()
        meter.close()


@given(
    st.lists(st.tuples(st.integers(-99, TEXT_BYTES), st.binary(max_size=TEXT_BYTES)), min_size=3, max_size=3)
)
def test_whatever_an_odd_round_holds_is_a_sample_or_a_failed_reading(said: list[tuple[int, bytes]]) -> None:
    native = SampledMeter(two_gauges([Said(0)] * 3), 0.01, seed=0)
    scripted = Scripted([[b"1"] * 3])
    scripted.odd = [(7, 9, length, text[: max(0, length)]) for length, text in said]
    native._sampler = scripted  # type: ignore[assignment]
    first, *rest = outcomes(native)
    assert first == [("counter", 1e-6), ("product", 1e-6)]
    for each in rest:
        assert isinstance(each, list) or str(each).startswith("meter 'two': a value could not be read: ")


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
            native.wake()  # one round is enough; 1 J is 1 ms at the highest plausible power
            ((block,), (by_python,)) = next(native.batch()), meter.read()
            ours.extend([1 + i * 500_000], block.values)
            oracle.add(1 + i * 500_000, by_python.value)
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
        sizes = [len(block.t_ns) for _ in range(2) for (block,) in native.batch()]
        native.wake()
        ((block,),) = native.batch()
        native.close()
    assert sizes == [1, 500]
    assert (block.domain, list(block.values)) == ("ina3221-1", pytest.approx([2.0]))
    assert 0 < now_ns() - block.t_ns[0] < 10 * 10**9


@needs_library
def test_what_an_early_end_leaves_of_the_schedule_comes_next(tree: Path) -> None:
    with PowercapMeter(root=tree) as meter:
        native = SampledMeter(meter, 0.01, seed=0)
        kept = list(native._waits(100))
        for _ in range(3):
            native.wake()
            next(native.batch())
        assert list(native._waits(97)) == kept[3:]
        native.close()


@needs_library
def test_what_is_kept_until_it_is_drained_is_bounded(tree: Path) -> None:
    with PowercapMeter(root=tree) as meter:
        sizes = [SampledMeter(meter, period_s, seed=0)._rounds() for period_s in (30.0, 0.01, 1e-6)]
    assert sizes == [1, 1000, 16_384]


@needs_library
def test_files_that_cannot_be_opened_are_a_failed_reading(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with PowercapMeter(root=tree) as meter:
        (tree / "intel-rapl:0" / "energy_uj").unlink()
        native = SampledMeter(meter, 0.01, seed=0)
        with pytest.raises(MeterReadError, match=r"meter 'powercap'.*No such file"):
            list(native.batch())
        native.wake()
        native.close()
    assert sampled.CLOCK_NS is None
