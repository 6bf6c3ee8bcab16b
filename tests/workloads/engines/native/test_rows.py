"""Packing, conversion, quantisation, pooling and the float32 product, against NumPy."""

from typing import Any

import numpy as np
import pytest

from workloads.engines.native.kernel_table import Rounding

CHANNELS = [1, 7, 31, 32, 33, 63, 64, 65, 100, 128, 200]
NEAREST = Rounding(0, 0, 0, 0)


def packed(bits: np.ndarray) -> np.ndarray:
    channels = bits.shape[-1]
    padded = np.zeros((*bits.shape[:-1], -(-channels // 64) * 64), bool)
    padded[..., :channels] = bits
    return np.packbits(padded, axis=-1, bitorder="little").view("<u8")


def random_values(dtype: Any, channels: int) -> np.ndarray:
    rng = np.random.default_rng(channels)
    if np.issubdtype(dtype, np.floating):
        values = rng.choice(
            np.array([0.0, -0.0, 1.0, -1.0, 6e-8, -6e-8, 1.001, -1.001, 0.5, -3.0]), (5, channels)
        )
        return values.astype(dtype)
    info = np.iinfo(dtype)
    return rng.choice(np.array([0, 1, -1, info.min, info.max, 5, -5], dtype), (5, channels))


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize(
    ("kernel", "dtype"),
    [
        ("pack_signs_f32", np.float32),
        ("pack_signs_f16", np.float16),
        ("pack_signs_i16", np.int16),
        ("pack_signs_i8", np.int8),
    ],
)
def test_signs_are_packed_and_zero_is_plus_one(kernels: Any, kernel: str, dtype: Any, channels: int) -> None:
    values = random_values(dtype, channels)
    np.testing.assert_array_equal(kernels.pack(kernel, values), packed(values >= 0))


@pytest.mark.parametrize("kernel", ["pack_signs_f32", "pack_signs_f16", "pack_signs_i16", "pack_signs_i8"])
def test_every_single_bit_lands_in_its_place(kernels: Any, kernel: str) -> None:
    dtype = {"f32": np.float32, "f16": np.float16, "i16": np.int16, "i8": np.int8}[kernel.rsplit("_", 1)[1]]
    one_hot = np.where(np.eye(130, dtype=bool), 1, -1).astype(dtype)
    np.testing.assert_array_equal(kernels.pack(kernel, one_hot), packed(np.eye(130, dtype=bool)))


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize(
    ("kernel", "dtype"), [("pack_ste_mask_f32", np.float32), ("pack_ste_mask_f16", np.float16)]
)
def test_the_clip_mask_includes_one(kernels: Any, kernel: str, dtype: Any, channels: int) -> None:
    values = random_values(dtype, channels)
    np.testing.assert_array_equal(kernels.pack(kernel, values), packed(abs(values) <= 1))


@pytest.mark.parametrize("channels", CHANNELS)
def test_unpacking_returns_the_signs(kernels: Any, channels: int) -> None:
    values = random_values(np.int8, channels)
    bits = packed(values >= 0)
    for kernel, dtype in (("unpack_signs_i8", np.int8), ("unpack_signs_f32", np.float32)):
        found = np.zeros(values.shape, dtype)
        getattr(kernels.table, kernel)(bits.ctypes.data, 5, channels, found.ctypes.data)
        np.testing.assert_array_equal(found, np.where(values >= 0, 1, -1))


def test_word_helpers(kernels: Any) -> None:
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 2**64, (2, 1001), np.uint64)
    out = np.zeros_like(a)
    kernels.table.and_words(a.ctypes.data, b.ctypes.data, len(a), out.ctypes.data)
    np.testing.assert_array_equal(out, a & b)
    ones = int(np.unpackbits(a.view(np.uint8)).sum())
    assert kernels.table.popcount_words(a.ctypes.data, len(a)) == ones


def test_every_half_converts_both_ways(kernels: Any) -> None:
    halves = np.arange(65536, dtype=np.uint16).view(np.float16)
    halves = halves[~np.isnan(halves)]
    floats = np.zeros(len(halves), np.float32)
    kernels.table.f16_to_f32(halves.ctypes.data, len(halves), floats.ctypes.data)
    np.testing.assert_array_equal(floats.view(np.uint32), halves.astype(np.float32).view(np.uint32))
    back = np.zeros_like(halves)
    kernels.table.f32_to_f16(floats.ctypes.data, len(floats), NEAREST, back.ctypes.data)
    np.testing.assert_array_equal(back.view(np.uint16), halves.view(np.uint16))


def test_floats_round_to_the_nearest_even_half(kernels: Any) -> None:
    rng = np.random.default_rng(2)
    floats = (rng.standard_normal(20_001) * np.exp2(rng.integers(-30, 18, 20_001))).astype(np.float32)
    halves = np.arange(0, 31743, dtype=np.uint16).view(np.float16).astype(np.float32)
    floats = np.concatenate([floats, (halves[:-1] + halves[1:]) / 2])  # every tie there is
    found = np.zeros(len(floats), np.float16)
    kernels.table.f32_to_f16(floats.ctypes.data, len(floats), NEAREST, found.ctypes.data)
    with np.errstate(over="ignore"):
        expected = floats.astype(np.float16)
    np.testing.assert_array_equal(found.view(np.uint16), expected.view(np.uint16))


@pytest.mark.parametrize("value", [0.3, -0.3, 1e-7, 0.70001, -2.0005])
def test_stochastic_halves_are_unbiased_neighbours(kernels: Any, value: float) -> None:
    count = 100_000
    floats = np.full(count, value, np.float32)
    found = np.zeros(count, np.float16)
    kernels.table.f32_to_f16(floats.ctypes.data, count, Rounding(1, 11, 3, 0), found.ctypes.data)
    neighbours = np.unique(found)
    assert len(neighbours) == 2 and neighbours[0] < np.float32(value) < neighbours[1]
    step = float(neighbours[1]) - float(neighbours[0])
    mean = found.astype(np.float64).mean()
    assert abs(mean - float(np.float32(value))) < 4 * 0.5 * step / np.sqrt(count)  # 4 standard errors


@pytest.mark.parametrize("limit", [15, 31, 63, 127])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_quantising_to_nearest(kernels: Any, dtype: Any, limit: int) -> None:
    rng = np.random.default_rng(limit)
    values = rng.standard_normal(1003).astype(dtype)
    inverse_step = float(np.float32(limit) / np.float32(abs(values).max()))
    found = np.zeros(len(values), np.int8)
    kernel = getattr(kernels.table, "quantize_f32" if dtype is np.float32 else "quantize_f16")
    kernel(values.ctypes.data, len(values), inverse_step * 1.1, limit, NEAREST, found.ctypes.data)
    scaled = values.astype(np.float32) * np.float32(inverse_step * 1.1)
    np.testing.assert_array_equal(found, np.rint(np.clip(scaled, -limit, limit)).astype(np.int8))


def test_stochastic_quantisation_is_unbiased_and_keeps_integers(kernels: Any) -> None:
    count = 80_000
    values = np.full(count, 3.3, np.float32)
    found = np.zeros(count, np.int8)
    kernels.table.quantize_f32(values.ctypes.data, count, 1.0, 31, Rounding(1, 5, 0, 0), found.ctypes.data)
    assert set(np.unique(found)) == {3, 4}
    assert abs(found.mean() - 3.3) < 4 * 0.46 / np.sqrt(count)
    whole = np.arange(-31, 32, dtype=np.float32).repeat(100)
    kernels.table.quantize_f32(
        whole.ctypes.data, len(whole), 1.0, 31, Rounding(1, 5, 0, 0), found.ctypes.data
    )
    np.testing.assert_array_equal(found[: len(whole)], whole.astype(np.int8))


def test_stochastic_rounding_does_not_depend_on_the_split(kernels: Any) -> None:
    values = np.random.default_rng(3).standard_normal(1000).astype(np.float32)
    whole, parts = np.zeros((2, 1000), np.int8)
    quantize = kernels.table.quantize_f32
    quantize(values.ctypes.data, 1000, 20.0, 63, Rounding(1, 9, 2, 800), whole.ctypes.data)
    for start in range(0, 1000, 200):
        quantize(
            values[start:].ctypes.data,
            200,
            20.0,
            63,
            Rounding(1, 9, 2, 800 + start),
            parts[start:].ctypes.data,
        )
    np.testing.assert_array_equal(whole, parts)
    quantize(values.ctypes.data, 1000, 20.0, 63, Rounding(1, 9, 3, 800), parts.ctypes.data)
    assert (whole != parts).any()  # another stream, other numbers


def test_max_abs(kernels: Any) -> None:
    for count in (0, 1, 5, 1000):
        values = -np.random.default_rng(count).random(count).astype(np.float32)
        largest = float(abs(values).max()) if count else 0.0
        assert kernels.table.max_abs_f32(values.ctypes.data, count) == largest
        halves = values.astype(np.float16)
        largest = float(abs(halves).max()) if count else 0.0
        assert kernels.table.max_abs_f16(halves.ctypes.data, count) == largest


@pytest.mark.parametrize("shape", [(2, 4, 6, 64), (1, 5, 7, 33), (3, 2, 2, 1), (1, 3, 3, 100)])
def test_max_pool_takes_the_first_maximum_and_unpool_returns_it(kernels: Any, shape: tuple[int, ...]) -> None:
    images, height, width, channels = shape
    y = np.random.default_rng(4).integers(-2, 3, shape, np.int16)
    blocks = y[:, : height // 2 * 2, : width // 2 * 2].reshape(
        images, height // 2, 2, width // 2, 2, channels
    )
    blocks = blocks.transpose(0, 1, 3, 5, 2, 4).reshape(images, height // 2, width // 2, channels, 4)
    pooled = np.zeros(blocks.shape[:-1], np.int16)
    codes = np.zeros((*blocks.shape[:3], -(-2 * channels // 64)), np.uint64)
    kernels.table.max_pool_i16(
        y.ctypes.data, images, height, width, channels, pooled.ctypes.data, codes.ctypes.data
    )
    np.testing.assert_array_equal(pooled, blocks.max(-1))
    c = np.arange(channels)
    found = codes[..., c // 32] >> (2 * (c % 32)).astype(np.uint64) & np.uint64(3)
    np.testing.assert_array_equal(found, blocks.argmax(-1))

    for kernel, dtype in (("unpool_i8", np.int8), ("unpool_f16", np.float16), ("unpool_f32", np.float32)):
        gradient = np.random.default_rng(5).integers(1, 9, pooled.shape).astype(dtype)
        dy = np.full(shape, 77, dtype)
        getattr(kernels.table, kernel)(
            gradient.ctypes.data, codes.ctypes.data, images, height, width, channels, dy.ctypes.data
        )
        spread = np.where(np.arange(4) == blocks.argmax(-1)[..., None], gradient[..., None], 0)
        spread = spread.reshape(images, height // 2, width // 2, channels, 2, 2).transpose(0, 1, 4, 2, 5, 3)
        expected = np.zeros(shape, dtype)
        expected[:, : height // 2 * 2, : width // 2 * 2] = spread.reshape(
            images, height // 2 * 2, width // 2 * 2, channels
        )
        np.testing.assert_array_equal(dy, expected)


def by_panels(
    kernels: Any,
    upright: bool,
    a: np.ndarray,
    b: np.ndarray,
    c: np.ndarray,
    places: np.ndarray | None = None,
) -> np.ndarray:
    """C + A B with A [rows][depth] or upright [depth][rows], a panel of B at a time."""
    table, width = kernels.table, kernels.table.panel_columns()
    (rows, depth), columns = a.shape, b.shape[1]
    found, stride, slack = c.copy(), 272, 11  # kRowStride, kRowSlack
    panel = kernels.scratch(4 * depth * width)
    if upright:
        held, left = np.ascontiguousarray(a.T), kernels.scratch(4 * table.upright_floats(rows, depth))
        table.copy_upright(held.ctypes.data, rows, rows, depth, left.ctypes.data)
    else:
        left = kernels.scratch(4 * (rows + slack) * stride)
        table.copy_rows(a.ctypes.data, depth, rows, depth, 0, left.ctypes.data, stride)
    for j in range(0, columns, width):
        count = min(width, columns - j)
        table.copy_rows(b.ctypes.data + 4 * j, columns, depth, count, 0, panel.ctypes.data, width)
        table.multiply_panel(
            upright, left.ctypes.data, rows, depth, panel.ctypes.data, count, 1,
            found.ctypes.data + 4 * j, columns, None if places is None else places.ctypes.data,
        )  # fmt: skip
    return found


@pytest.mark.parametrize(
    "size", [(1, 1, 1), (5, 7, 3), (13, 33, 129), (100, 300, 17), (130, 64, 256), (8, 31, 255)]
)
@pytest.mark.parametrize("upright", [False, True])
def test_products_by_panels_are_close_to_float64(kernels: Any, size: tuple[int, ...], upright: bool) -> None:
    m, n, k = size
    rng = np.random.default_rng([m, n, k])
    a, b, c = (rng.standard_normal(shape).astype(np.float32) for shape in ((m, k), (k, n), (m, n)))
    found = by_panels(kernels, upright, a, b, c)
    exact = a.astype(np.float64) @ b.astype(np.float64) + c
    # Higham, Accuracy and Stability, (3.13): |error| <= k u |A||B|, plus the last addition.
    bound = (k + 2) * 2.0**-24 * (abs(a.astype(np.float64)) @ abs(b.astype(np.float64)) + abs(c))
    assert (abs(found - exact) <= bound + 1e-30).all()


@pytest.mark.parametrize("upright", [False, True])
def test_products_with_signs_sum_in_order(kernels: Any, upright: bool) -> None:
    """Products with signs are exact, so every set must give the sums of a plain loop to the last bit."""
    rng = np.random.default_rng(5)
    a, c = rng.standard_normal((29, 200)).astype(np.float32), rng.standard_normal((29, 37)).astype(np.float32)
    b = rng.choice(np.array([-1, 1], np.float32), (200, 37))
    sums = np.zeros_like(c)
    for d in range(200):
        sums += a[:, d, None] * b[d]
    np.testing.assert_array_equal(by_panels(kernels, upright, a, b, c), c + sums)


@pytest.mark.parametrize(("columns", "depth"), [(1, 1), (5, 9), (7, 30), (8, 64)])
def test_panels_are_transposed_and_signed(kernels: Any, columns: int, depth: int) -> None:
    table, width = kernels.table, kernels.table.panel_columns()
    x = np.random.default_rng(depth).standard_normal((columns, depth)).astype(np.float32)
    x[0, 0] = -0.0
    panel = kernels.scratch(4 * depth * width)
    table.transpose_to_panel(x.ctypes.data, depth, columns, depth, panel.ctypes.data)
    found = panel.view(np.float32).reshape(depth, width)
    np.testing.assert_array_equal(found[:, :columns], x.T)
    assert not found[:, columns:].any()
    out = np.full((columns, depth + 3), 7, np.float32)
    table.copy_rows(x.ctypes.data, depth, columns, depth, 1, out.ctypes.data, depth + 3)
    np.testing.assert_array_equal(out[:, :depth], np.where(x >= 0, 1, -1))
    assert (out[:, depth:] == 7).all()


@pytest.mark.parametrize("columns", [64, 45])
def test_products_are_added_to_the_places_named(kernels: Any, columns: int) -> None:
    """Row i of the product to row places[i]; negative ones to none."""
    rng = np.random.default_rng(columns)
    a, b = (
        rng.integers(-4, 5, (41, 30)).astype(np.float32),
        rng.integers(-4, 5, (30, columns)).astype(np.float32),
    )
    c = rng.integers(-4, 5, (60, columns)).astype(np.float32)
    places = rng.permutation(60)[:41].astype(np.int32)
    places[::7] = -1
    expected, kept = c.copy(), places >= 0
    expected[places[kept]] += (a @ b)[kept]
    np.testing.assert_array_equal(by_panels(kernels, False, a, b, c, places), expected)
