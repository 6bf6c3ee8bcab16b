"""Stochastic rounding is unbiased over float16's whole range, and loses no update that rounding to nearest would."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="the torch extra is not installed")

from workloads.engines.torch.rounding import (  # noqa: E402
    FLOAT16_MAX,
    Dither,
    round_to_float16,
    saturate_into,
)
from workloads.engines.torch.scratch import Scratch  # noqa: E402


def rounded(value: torch.Tensor, seed: int = 0) -> torch.Tensor:
    dither = Dither(torch.Generator().manual_seed(seed))
    out = torch.empty(value.numel(), dtype=torch.float16)
    round_to_float16(value.clone().view(-1), dither, out, Scratch(torch.device("cpu")))
    return out.view(value.shape)


def spacing(value: float) -> float:
    """Distance of float16's neighbours around `value`."""
    exponent = math.floor(math.log2(abs(value))) if value else -14
    return 2.0 ** (max(exponent, -14) - 10)


@given(st.floats(2.0**-20, 60000, width=32), st.booleans(), st.integers(0, 1000))
def test_a_value_goes_to_a_neighbour(magnitude: float, negative: bool, seed: int) -> None:
    value = -magnitude if negative else magnitude
    result = rounded(torch.full((257,), value), seed).double()
    assert float((result - value).abs().max()) < spacing(value)


@given(st.floats(-60000, 60000, width=16), st.integers(0, 1000))
def test_a_float16_stays_what_it_is(value: float, seed: int) -> None:
    assert torch.equal(rounded(torch.full((65,), value), seed), torch.full((65,), value).half())


@pytest.mark.parametrize("value", [0.7001, -0.50003, 0.25 + 1e-5, 1.0 - 2.0**-13, 1234.567, -59999.9])
def test_the_mean_of_a_normal_value_is_the_value(value: float) -> None:
    check_mean(value)


@pytest.mark.parametrize("value", [2.0**-13 * 1.0001, 2.0**-14 * 1.00001, -(2.0**-14) * 1.3, 6.1e-5])
def test_the_mean_at_the_border_of_the_subnormals_is_the_value(value: float) -> None:
    check_mean(value)


@pytest.mark.parametrize("value", [3.3e-5, -1e-7, 2.3e-8, 1e-9])
def test_the_mean_of_a_subnormal_or_less_is_the_value(value: float) -> None:
    check_mean(value)


def check_mean(value: float) -> None:
    """The mean of 2^21 roundings lies within five standard errors."""
    count = 1 << 21
    given_value = float(torch.tensor(value))
    mean = float(rounded(torch.full((count,), value)).double().mean())
    assert abs(mean - given_value) < 5 * 0.5 * spacing(value) / math.sqrt(count) + 2.0**-14 * spacing(value)


def test_small_updates_add_up_where_rounding_to_nearest_loses_all_of_them() -> None:
    """At |w| in [0.5, 1) float16's half-ulp is 2.4e-4: an update of 1e-4 is lost by nearest, each single time."""
    start, update, steps = 0.75, 1e-4, 200
    nearest = torch.full((4096,), start).half()
    stochastic = nearest.clone()
    for step in range(steps):
        nearest = (nearest.float() - update).half()
        stochastic = rounded(stochastic.float() - update, seed=step)
    assert torch.equal(nearest, torch.full((4096,), start).half())
    # 200 roundings of at most half an ulp's standard deviation, averaged over 4,096 weights.
    error = 2.0**-11 / 2 * math.sqrt(steps) / math.sqrt(4096)
    assert abs(float(stochastic.double().mean()) - (start - steps * update)) < 5 * error


def test_the_same_seed_rounds_the_same_way() -> None:
    value = torch.randn(1001, generator=torch.Generator().manual_seed(3))
    assert torch.equal(rounded(value, 7), rounded(value, 7))
    assert not torch.equal(rounded(value, 7), rounded(value, 8))


def test_stacked_rows_are_rounded_each_without_bias() -> None:
    dither, scratch = Dither(torch.Generator().manual_seed(0)), Scratch(torch.device("cpu"))
    count = 1 << 18
    stack = torch.tensor([0.3001, -0.7001, 3e-7]).unsqueeze(1).expand(3, count).contiguous()
    expected = stack[:, 0].clone()
    with scratch:
        mean = dither.apply_(stack, scratch).half().double().mean(1)
    for row in range(3):
        assert abs(float(mean[row] - expected[row])) < 3 * spacing(float(expected[row])) / math.sqrt(count)


def test_overflow_saturates_and_is_counted() -> None:
    out = torch.empty(4, dtype=torch.float16)
    assert saturate_into(out, torch.tensor([1.0, 70000.0, -1e9, 65504.0])) == 2
    assert out.tolist() == [1.0, FLOAT16_MAX, -FLOAT16_MAX, 65504.0]


def test_nothing_saturates_in_float32() -> None:
    out = torch.empty(2)
    assert saturate_into(out, torch.tensor([1e30, -1e30])) == 0
    assert out.tolist() == pytest.approx([1e30, -1e30])
