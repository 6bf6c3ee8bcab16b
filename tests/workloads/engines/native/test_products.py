"""The products of every instruction set against NumPy in int64: compared exactly, shapes with every tail."""

from collections.abc import Callable
from functools import cache, cached_property
from typing import Any

import numpy as np
import pytest

from workloads.engines.native.kernel_table import ConvShape, Gradient, Range

# images, height, width, in, out, kernel, pad, stride. Chosen for tails: channels below, at and above 16, 32,
# 64 and 128; odd heights and widths; one pixel; chunks that end inside an image; a wide image.
SHAPES = [
    (2, 5, 7, 64, 64, 3, 1, 1),
    (3, 8, 8, 128, 96, 3, 1, 1),
    (1, 1, 1, 1, 1, 3, 1, 1),
    (2, 3, 3, 3, 10, 3, 0, 1),
    (2, 9, 6, 65, 33, 3, 1, 1),
    (1, 33, 34, 17, 130, 3, 1, 1),
    (5, 4, 5, 200, 70, 3, 0, 1),
    (1, 6, 300, 31, 5, 3, 1, 1),
    (2, 7, 9, 70, 19, 1, 0, 1),
    (2, 7, 9, 70, 19, 3, 1, 2),
    (2, 6, 5, 12, 7, 5, 2, 1),
    (100, 1, 1, 300, 10, 1, 0, 1),
    (7, 1, 1, 1000, 129, 1, 0, 1),
    (1, 1, 1, 8192, 3, 1, 0, 1),
    (1100, 1, 1, 40, 20, 1, 0, 1),
    (70, 1, 1, 130, 2100, 1, 0, 1),
]
LIMITS = {5: 15, 6: 31, 7: 63}

shapes = pytest.mark.parametrize("shape", SHAPES, ids=["x".join(map(str, shape)) for shape in SHAPES])


def signs(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.choice(np.array([-1, 1], np.int8), shape)


def packed(values: np.ndarray) -> np.ndarray:
    """Bits along the last axis, 1 for +1, in little-endian 64-bit words with a clear tail."""
    channels = values.shape[-1]
    padded = np.zeros((*values.shape[:-1], -(-channels // 64) * 64), bool)
    padded[..., :channels] = values >= 0
    return np.packbits(padded, axis=-1, bitorder="little").view("<u8")


def windows(x: np.ndarray, s: ConvShape) -> np.ndarray:
    """[images, out height, out width, kernel row, kernel column, channel], padded with zeros, int64."""
    padded = np.pad(x.astype(np.int64), ((0, 0), (s.pad, s.pad), (s.pad, s.pad), (0, 0)))
    view = np.lib.stride_tricks.sliding_window_view(padded, (s.kernel, s.kernel), axis=(1, 2))
    return np.moveaxis(view[:, :: s.stride, :: s.stride], 3, -1)


def product(a: np.ndarray, b: np.ndarray, axes: Any) -> np.ndarray:
    """A tensor product of integers, exact in float64 (every sum here is far below 2^53)."""
    return np.rint(np.tensordot(a.astype(np.float64), b.astype(np.float64), axes)).astype(np.int64)


def oracle_grad_input(dy: np.ndarray, w: np.ndarray, s: ConvShape) -> np.ndarray:
    dx = np.zeros((s.images, s.height + 2 * s.pad, s.width + 2 * s.pad, s.in_channels), np.int64)
    _, height, width, _ = dy.shape
    for row in range(s.kernel):
        for column in range(s.kernel):
            at = (
                slice(None),
                slice(row, row + s.stride * height, s.stride),
                slice(column, column + s.stride * width, s.stride),
            )
            dx[at] += product(dy, w[:, row, column], 1)
    return dx[:, s.pad : s.pad + s.height, s.pad : s.pad + s.width]


Made = tuple[np.ndarray, np.ndarray, Gradient]


class Case:
    """Random inputs of a shape, unpacked and packed, and what NumPy makes of them; `case_of` makes each once."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.s = s = ConvShape(*shape)
        self._seed = [7, *shape]
        rng = np.random.default_rng(self._seed)
        self.x = signs(rng, s.images, s.height, s.width, s.in_channels)
        self.w = signs(rng, s.out_channels, s.kernel, s.kernel, s.in_channels)
        self.pixels = rng.integers(0, 256, self.x.shape, np.uint8)
        self.x_bits, self.w_bits = packed(self.x), packed(self.w)
        self._gradients: dict[int, Made] = {}
        self._sums: dict[tuple[str, int], np.ndarray] = {}

    @cached_property
    def windows(self) -> np.ndarray:
        return windows(self.x, self.s)

    @cached_property
    def pixel_windows(self) -> np.ndarray:
        return windows(2 * self.pixels.astype(np.int64) - 255, self.s)

    @cached_property
    def y(self) -> np.ndarray:
        return product(self.windows, self.w, ([3, 4, 5], [1, 2, 3]))

    def gradient(self, bits: int) -> Made:
        """The integers a gradient stands for, the array it is held in, and its description."""
        if bits not in self._gradients:
            self._gradients[bits] = self._gradient(bits)
        return self._gradients[bits]

    def _gradient(self, bits: int) -> Made:
        rng = np.random.default_rng([bits, *self._seed])
        shape = (*self.windows.shape[:3], self.s.out_channels)
        if bits == 16:
            held = (rng.standard_normal(shape) * 3).astype(np.float16)
            inverse_step = np.float32(4000) / np.float32(abs(held).max())
            integers = np.rint(held.astype(np.float32) * inverse_step).astype(np.int64)
            return integers, held, Gradient(held.ctypes.data, 16, float(inverse_step))
        limit = LIMITS[bits]
        held = rng.integers(-limit, limit + 1, shape, np.int8)
        held[rng.random(held.shape) < 0.2] = limit  # the table's bytes are fullest at the limit
        return held.astype(np.int64), held, Gradient(held.ctypes.data, bits, 0.0)

    def input_sums(self, bits: int) -> np.ndarray:
        return self._once("input", bits, lambda dy: oracle_grad_input(dy, self.w, self.s))

    def weight_sums(self, bits: int) -> np.ndarray:
        return self._once("weight", bits, lambda dy: product(dy, self.windows, ([0, 1, 2], [0, 1, 2])))

    def pixel_weight_sums(self, bits: int) -> np.ndarray:
        return self._once("pixels", bits, lambda dy: product(dy, self.pixel_windows, ([0, 1, 2], [0, 1, 2])))

    def _once(self, name: str, bits: int, oracle: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        if (name, bits) not in self._sums:
            self._sums[name, bits] = oracle(self.gradient(bits)[0])
        return self._sums[name, bits]


@cache  # every instruction set is held to the same, and the oracle takes longer than all of them
def case_of(shape: tuple[int, ...]) -> Case:
    return Case(shape)


@shapes
def test_forward_is_exact(kernels: Any, shape: tuple[int, ...]) -> None:
    case = case_of(shape)
    found = kernels.forward(case.s, case.x_bits, case.w_bits, Range(0, case.s.out_channels))
    np.testing.assert_array_equal(found, case.y)


@shapes
def test_forward_writes_only_its_range(kernels: Any, shape: tuple[int, ...]) -> None:
    case = case_of(shape)
    third = case.s.out_channels // 3
    outputs = Range(third, max(third + 1, 2 * third))
    found = kernels.forward(case.s, case.x_bits, case.w_bits, outputs)
    inside = slice(outputs.begin, outputs.end)
    np.testing.assert_array_equal(found[..., inside], case.y[..., inside])
    found[..., inside] = 0
    assert not found.any()


@shapes
@pytest.mark.parametrize("bits", [5, 6, 7, 16])
def test_grad_input_sums_are_exact(kernels: Any, shape: tuple[int, ...], bits: int) -> None:
    case = case_of(shape)
    _integers, _held, dy = case.gradient(bits)
    found = kernels.grad_input(case.s, dy, case.w_bits, Range(0, case.s.in_channels), np.int32)
    np.testing.assert_array_equal(found, case.input_sums(bits))


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float16, np.float32])
def test_grad_input_types_and_ranges(kernels: Any, dtype: Any) -> None:
    case = case_of((2, 5, 7, 200, 30, 3, 1, 1))
    _integers, _held, dy = case.gradient(6)
    found = kernels.grad_input(case.s, dy, case.w_bits, Range(64, 180), dtype, scale=1 / 512)
    exact = case.input_sums(6)[..., 64:180]
    scaled = exact.astype(np.float32) * np.float32(1 / 512)
    expected = scaled.astype(dtype) if dtype in (np.float16, np.float32) else exact.astype(dtype)
    np.testing.assert_array_equal(found[..., 64:180], expected)
    assert not found[..., :64].any() and not found[..., 180:].any()


@shapes
@pytest.mark.parametrize("bits", [5, 6, 7, 16])
def test_grad_weight_sums_and_signs_are_exact(kernels: Any, shape: tuple[int, ...], bits: int) -> None:
    case = case_of(shape)
    _integers, _held, dy = case.gradient(bits)
    signs_found, sums = kernels.grad_weight(case.s, case.x_bits, dy)
    expected = case.weight_sums(bits)
    np.testing.assert_array_equal(sums, expected)
    np.testing.assert_array_equal(signs_found.reshape(packed(expected).shape), packed(expected))


def test_a_weight_gradient_of_zero_is_plus_one(kernels: Any) -> None:
    case = case_of((2, 4, 4, 70, 66, 3, 1, 1))
    nothing = np.zeros(case.y.shape, np.int8)
    found, sums = kernels.grad_weight(case.s, case.x_bits, Gradient(nothing.ctypes.data, 6, 0.0))
    assert not sums.any()
    np.testing.assert_array_equal(found.reshape(case.w_bits.shape), packed(np.zeros(case.w.shape)))


def test_two_digits_stay_within_the_stated_error(kernels: Any) -> None:
    """float16 ∂Y is off by at most max|∂Y| / 8000 an element, so a sum of n elements by n times that."""
    case = case_of((2, 6, 6, 64, 48, 3, 1, 1))
    _integers, held, dy = case.gradient(16)
    sums = kernels.grad_input(case.s, dy, case.w_bits, Range(0, 64), np.int32) / dy.inverse_step
    exact = np.zeros_like(sums)
    for n in range(48):  # a float64 oracle, output by output
        one = np.zeros(case.y.shape)
        one[..., n] = held[..., n]
        padded = np.pad(one[..., n], ((0, 0), (1, 1), (1, 1)))
        for row in range(3):
            for column in range(3):
                part = padded[:, 2 - row : 8 - row, 2 - column : 8 - column, None]
                exact += part * case.w[n, row, column]
    bound = float(abs(held).max()) / 8000 * 9 * 48
    assert 0 < abs(sums - exact).max() <= bound


@shapes
def test_pixels_forward_is_exact(kernels: Any, shape: tuple[int, ...]) -> None:
    case = case_of(shape)
    expected = product(case.pixel_windows, case.w, ([3, 4, 5], [1, 2, 3]))
    everything = Range(0, case.s.out_channels)
    found = kernels.pixels_forward(case.s, case.pixels, case.w_bits, everything, np.int32)
    np.testing.assert_array_equal(found, expected)
    scaled = kernels.pixels_forward(case.s, case.pixels, case.w_bits, everything, np.float32, 1 / 255)
    np.testing.assert_array_equal(scaled, expected.astype(np.float32) * np.float32(1 / 255))


@shapes
@pytest.mark.parametrize("bits", [5, 6, 7, 16])
def test_pixels_grad_weight_is_exact(kernels: Any, shape: tuple[int, ...], bits: int) -> None:
    if shape[3] * shape[4] > 40_000:
        pytest.skip("a first layer of that size is covered by the smaller ones")
    case = case_of(shape)
    _integers, _held, dy = case.gradient(bits)
    expected = case.pixel_weight_sums(bits)
    found, sums = kernels.pixels_grad_weight(case.s, case.pixels, dy)
    np.testing.assert_array_equal(sums, expected)
    np.testing.assert_array_equal(found.reshape(packed(expected).shape), packed(expected))
