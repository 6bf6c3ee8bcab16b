import pytest
from hypothesis import given
from hypothesis import strategies as st

from results import format as fmt


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.012345, "0.0123"), (9.996, "10.0"), (1234.5, "1234"), (999.6, "1000"), (-2.345, "-2.35"), (0.0, "0")],
)
def test_significant(value: float, text: str) -> None:
    assert fmt.significant(value) == text


@given(st.floats(min_value=1e-9, max_value=1e9))
def test_significant_is_within_half_a_digit(value: float) -> None:
    assert float(fmt.significant(value)) == pytest.approx(value, rel=0.00501)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0 s"),
        (0.0123, "12.3 ms"),
        (0.9999, "1.00 s"),
        (5e-10, "0.500 ns"),
        (2.5e-5, "25.0 µs"),
        (119.0, "119 s"),
        (125.2, "2 min 05 s"),
        (7384.0, "2 h 03 min"),
    ],
)
def test_seconds(value: float | None, text: str) -> None:
    assert fmt.seconds(value) == text


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (None, 1.0, "–"),
        (1.4234, 0.05, "1.42 ±0.05 J"),
        (0.1365, 0.004, "136 ±4 mJ"),
        (1365.0, 40.0, "1.36 ±0.04 kJ"),
        (0.002, None, "2.00 mJ"),
        (-0.5, 0.6, "-500 ±600 mJ"),
        (0.0, None, "0 J"),
        (12.3, 0.005, "12.3 J"),
    ],
)
def test_joules(value: float | None, error: float | None, text: str) -> None:
    assert fmt.joules(value, error) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (2**20 - 1, "1.0 MiB"),
        (512 * 2**20, "512.0 MiB"),
        (3 * 2**40, "3,072.0 GiB"),
    ],
)
def test_size(value: float | None, text: str) -> None:
    assert fmt.size(value) == text


def test_the_rest() -> None:
    assert fmt.mib(138.154 * 2**20) == "138.15"
    assert fmt.ratio(3.7123) == "3.71×"
    assert fmt.percent(0.97125) == "97.1 %"
    assert fmt.change(0.958) == "-4.2 %"
    assert fmt.number(1234.0, "Hz") == "1234 Hz"
    assert fmt.mib(None) == fmt.ratio(None) == fmt.percent(None) == fmt.number(None) == "–"


@pytest.mark.parametrize(("number", "words"), [(0, "0 threads"), (1, "1 thread"), (2, "2 threads")])
def test_one_is_no_plural(number: int, words: str) -> None:
    assert fmt.counted(number, "thread") == words
