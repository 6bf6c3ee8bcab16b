// Checks every instruction set against generic on random shapes: bit for bit.
//
//   kernel_fuzz [rounds = 200] [seed = 1]
// Prints one line a set and exits with 0, or names the kernel, the shape and the seed and exits with 1.
#include <cmath>
#include <cstdio>

#include "buffers.h"

namespace {

using namespace harness;
using fuzz::Buffer;
using fuzz::Random;

const Kernels* g_generic;
const Kernels* g_tested;
ConvShape g_shape;
int32_t g_failures;

void expect(bool equal, const char* kernel, const char* detail) {
  if (equal) return;
  const ConvShape& s = g_shape;
  printf("%s %s (%s) differs from generic: images %d height %d width %d in %d out %d kernel %d pad %d stride %d\n",
         g_tested->isa, kernel, detail, s.images, s.height, s.width, s.in_channels, s.out_channels, s.kernel, s.pad, s.stride);
  g_failures++;
}

size_t in_pixels(const ConvShape& s) { return (size_t)s.images * (size_t)s.height * (size_t)s.width; }
size_t out_pixels(const ConvShape& s) { return (size_t)s.images * (size_t)out_height(s) * (size_t)out_width(s); }

int32_t random_channels(Random& random) {
  const int32_t edges[] = {1, 3, 15, 16, 17, 31, 32, 33, 63, 64, 65, 96, 127, 128, 129, 192, 200};
  return random.below(2) ? edges[random.below(17)] : random.between(1, 260);
}

ConvShape random_shape(Random& random) {
  if (random.below(4) == 0)
    return dense_shape(random.between(1, 90), random.between(1, random.below(4) ? 300 : 1500), random_channels(random));
  ConvShape s = {};
  s.kernel = random.below(4) == 0 ? 1 : random.below(8) == 0 ? 2 : random.below(8) == 0 ? 5 : 3;
  s.pad = s.kernel == 1 ? 0 : random.below(s.kernel / 2 + 1);
  s.stride = random.below(8) == 0 ? 2 : 1;
  s.images = random.between(1, 5);
  s.height = random.between(s.kernel > 2 * s.pad ? s.kernel - 2 * s.pad : 1, 12);
  s.width = random.between(s.kernel > 2 * s.pad ? s.kernel - 2 * s.pad : 1, random.below(6) ? 13 : 40);
  s.in_channels = random_channels(random);
  s.out_channels = random_channels(random);
  return s;
}

Range random_range(Random& random, int32_t count, int32_t step) {
  const int32_t begin = random.below(2) ? 0 : random.below(count) / step * step;
  return {begin, random.below(2) ? count : random.between(begin + 1, count)};
}

void run_forward(const Kernels& k, const ConvShape& s, const uint64_t* x, const uint64_t* w, Range outputs, int16_t* y) {
  Buffer<uint8_t> prepared(k.forward_prepared_bytes(s, outputs)), scratch(k.forward_scratch_bytes(s));
  k.forward_prepare(s, w, outputs, prepared);
  k.forward(s, x, prepared, outputs, y, scratch);
}

void check_forward(Random& random, const ConvShape& s, const uint64_t* x, const uint64_t* w) {
  const Range outputs = random_range(random, s.out_channels, 1);
  Buffer<int16_t> expected(out_pixels(s) * (size_t)s.out_channels), found(expected.size());
  run_forward(*g_generic, s, x, w, outputs, expected);
  run_forward(*g_tested, s, x, w, outputs, found);
  expect(expected == found, "forward", "range");
}

// A gradient of a random format; `bytes` holds either type.
Gradient random_gradient(Random& random, const ConvShape& s, Buffer<uint8_t>& bytes) {
  const GradientFormat formats[] = {kInt5, kInt6, kInt7, kFloat16};
  const GradientFormat format = formats[random.below(4)];
  const size_t count = out_pixels(s) * (size_t)s.out_channels;
  if (format == kFloat16)
    fuzz::fill_halves(random, (Half*)(uint8_t*)bytes, count);
  else
    fuzz::fill_int8(random, (int8_t*)(uint8_t*)bytes, count, (1 << (format - 1)) - 1);
  return {bytes, format, (float)random.between(100, 4000)};
}

size_t output_bytes(OutputType type) { return type == kOutInt16 || type == kOutFloat16 ? 2 : 4; }

void run_grad_input(const Kernels& k, const ConvShape& s, const Gradient& dy, const uint64_t* w, Range inputs, const Output& dx) {
  Buffer<uint8_t> prepared(k.grad_input_prepared_bytes(s, inputs)), scratch(k.grad_input_scratch_bytes(s, dy.format));
  k.grad_input_prepare(s, w, inputs, prepared);
  k.grad_input(s, dy, prepared, inputs, dx, scratch);
}

void check_grad_input(Random& random, const ConvShape& s, const Gradient& dy, const uint64_t* w) {
  const Range inputs = random_range(random, s.in_channels, 64);
  const OutputType type = (OutputType)random.below(4);
  const size_t bytes = in_pixels(s) * (size_t)s.in_channels * output_bytes(type);
  Buffer<uint8_t> expected(bytes), found(bytes);
  run_grad_input(*g_generic, s, dy, w, inputs, {expected, type, 1.0f / 1024});
  run_grad_input(*g_tested, s, dy, w, inputs, {found, type, 1.0f / 1024});
  expect(expected == found, "grad_input", dy.format == kFloat16 ? "float16" : "int8");
}

void run_grad_weight(const Kernels& k, const ConvShape& s, const uint64_t* x, const Gradient& dy, uint64_t* dw, int32_t* sums) {
  Buffer<uint8_t> scratch(k.grad_weight_scratch_bytes(s, dy.format));
  const int32_t units = k.grad_weight_units(s);  // one by one, as a pool of threads would
  for (int32_t unit = units - 1; unit >= 0; unit--) k.grad_weight(s, x, dy, {unit, unit + 1}, dw, sums, scratch);
}

void check_grad_weight(const ConvShape& s, const uint64_t* x, const Gradient& dy) {
  const size_t rows = (size_t)s.out_channels * (size_t)taps(s);
  Buffer<uint64_t> expected(rows * (size_t)words_for(s.in_channels)), found(expected.size());
  Buffer<int32_t> expected_sums(rows * (size_t)s.in_channels), found_sums(expected_sums.size());
  run_grad_weight(*g_generic, s, x, dy, expected, expected_sums);
  run_grad_weight(*g_tested, s, x, dy, found, found_sums);
  expect(expected_sums == found_sums, "grad_weight", "sums");
  expect(expected == found, "grad_weight", "signs");
}

void run_pixels(const Kernels& k, const ConvShape& s, const uint8_t* pixels, const uint64_t* w, Range outputs, const Output& y) {
  Buffer<uint8_t> prepared(k.pixels_forward_prepared_bytes(s, outputs)), scratch(k.pixels_forward_scratch_bytes(s));
  k.pixels_forward_prepare(s, w, outputs, prepared);
  k.pixels_forward(s, pixels, prepared, outputs, y, scratch);
}

void check_pixels(Random& random, const ConvShape& s, const Gradient& dy, const uint64_t* w) {
  Buffer<uint8_t> pixels(in_pixels(s) * (size_t)s.in_channels);
  for (size_t i = 0; i < pixels.size(); i++) pixels[i] = (uint8_t)(random.next() >> 40);
  const Range outputs = random_range(random, s.out_channels, 1);
  const OutputType type = (OutputType)random.below(4);
  const size_t bytes = out_pixels(s) * (size_t)s.out_channels * output_bytes(type);
  Buffer<uint8_t> expected(bytes), found(bytes);
  run_pixels(*g_generic, s, pixels, w, outputs, {expected, type, 1.0f / 4096});
  run_pixels(*g_tested, s, pixels, w, outputs, {found, type, 1.0f / 4096});
  expect(expected == found, "pixels_forward", "range");

  const size_t rows = (size_t)s.out_channels * (size_t)taps(s);
  Buffer<uint64_t> dw(rows * (size_t)words_for(s.in_channels)), found_dw(dw.size());
  Buffer<int64_t> sums(rows * (size_t)s.in_channels), found_sums(sums.size());
  for (const Kernels* k : {g_generic, g_tested}) {
    Buffer<uint8_t> scratch(k->pixels_grad_weight_scratch_bytes(s, dy.format));
    const bool tested = k == g_tested;
    for (int32_t unit = 0; unit < k->pixels_grad_weight_units(s); unit++)
      k->pixels_grad_weight(s, pixels, dy, {unit, unit + 1}, tested ? found_dw : dw, tested ? found_sums : sums, scratch);
  }
  expect(sums == found_sums, "pixels_grad_weight", "sums");
  expect(dw == found_dw, "pixels_grad_weight", "signs");
}

void check_rows(Random& random) {
  const int32_t channels = random_channels(random);
  const size_t rows = (size_t)random.between(1, 9), count = rows * (size_t)channels, words = rows * (size_t)words_for(channels);
  Buffer<Half> halves(count), expected_halves(count), found_halves(count);
  Buffer<float> floats(count), expected_floats(count), found_floats(count);
  Buffer<uint64_t> expected(words), found(words);
  fuzz::fill_halves(random, halves, count);
  for (size_t i = 0; i < count; i++) if (random.below(9) == 0) halves[i] = 0x8000;
  g_generic->f16_to_f32(halves, count, expected_floats);
  g_tested->f16_to_f32(halves, count, found_floats);
  expect(expected_floats == found_floats, "f16_to_f32", "rows");
  for (size_t i = 0; i < count; i++) floats[i] = expected_floats[i] * (1.0f + 1e-3f * (float)random.between(-9, 9));
#define CHECK_PACK(name, values)                     \
  g_generic->name(values, rows, channels, expected); \
  g_tested->name(values, rows, channels, found);     \
  expect(expected == found, #name, "rows");
  CHECK_PACK(pack_signs_f16, halves)
  CHECK_PACK(pack_ste_mask_f16, halves)
  CHECK_PACK(pack_signs_f32, floats)
  CHECK_PACK(pack_ste_mask_f32, floats)
  CHECK_PACK(pack_signs_i16, (int16_t*)(Half*)halves)
  Buffer<int8_t> bytes(count), found_bytes(count);
  fuzz::fill_int8(random, bytes, count, 127);
  CHECK_PACK(pack_signs_i8, bytes)
#undef CHECK_PACK
  for (int32_t stochastic = 0; stochastic < 2; stochastic++) {
    const Rounding rounding = {stochastic, random.next(), random.next(), random.next() / 8 * 8};
    g_generic->f32_to_f16(floats, count, rounding, expected_halves);
    g_tested->f32_to_f16(floats, count, rounding, found_halves);
    expect(expected_halves == found_halves, "f32_to_f16", stochastic ? "stochastic" : "nearest");
    g_generic->quantize_f32(floats, count, 17.0f, 31, rounding, bytes);
    g_tested->quantize_f32(floats, count, 17.0f, 31, rounding, found_bytes);
    expect(bytes == found_bytes, "quantize_f32", stochastic ? "stochastic" : "nearest");
    g_generic->quantize_f16(halves, count, 40.0f, 63, rounding, bytes);
    g_tested->quantize_f16(halves, count, 40.0f, 63, rounding, found_bytes);
    expect(bytes == found_bytes, "quantize_f16", stochastic ? "stochastic" : "nearest");
  }
  expect(g_generic->max_abs_f32(floats, count) == g_tested->max_abs_f32(floats, count), "max_abs_f32", "");
  expect(g_generic->max_abs_f16(halves, count) == g_tested->max_abs_f16(halves, count), "max_abs_f16", "");
}

void check_pool(Random& random) {
  const int32_t images = random.between(1, 3), height = random.between(2, 7), width = random.between(2, 7), channels = random_channels(random);
  const size_t full = (size_t)(images * height * width) * (size_t)channels, small = (size_t)(images * (height / 2) * (width / 2));
  Buffer<int16_t> y(full), pooled(small * (size_t)channels), found(pooled.size());
  Buffer<uint64_t> codes(small * (size_t)words_for(2 * channels)), found_codes(codes.size());
  for (size_t i = 0; i < full; i++) y[i] = (int16_t)random.between(-2, 2);
  g_generic->max_pool_i16(y, images, height, width, channels, pooled, codes);
  g_tested->max_pool_i16(y, images, height, width, channels, found, found_codes);
  expect(pooled == found && codes == found_codes, "max_pool_i16", "ties");
  Buffer<int16_t> dy(full), found_dy(full);
  g_generic->unpool_f16((Half*)(int16_t*)pooled, codes, images, height, width, channels, (Half*)(int16_t*)dy);
  g_tested->unpool_f16((Half*)(int16_t*)pooled, codes, images, height, width, channels, (Half*)(int16_t*)found_dy);
  expect(dy == found_dy, "unpool_f16", "");
}

void fill_eighths(Random& random, Buffer<float>& x) {
  for (size_t i = 0; i < x.size(); i++) x[i] = (float)random.between(-8, 8) / 8;
}

// C = A B through panels of B [depth][columns]; A is [rows][depth], or upright [depth][rows].
void multiply_by_panels(const Kernels& k, bool upright, int32_t rows, int32_t depth, int32_t columns, int32_t signs, const float* a, const float* b, float* c) {
  const int32_t width = k.panel_columns();
  Buffer<float> left(upright ? k.upright_floats(rows, depth) : (size_t)(rows + kRowSlack) * kRowStride), panel((size_t)(depth * width));
  memset(left, 0, left.size() * sizeof(float));
  memset(panel, 0, panel.size() * sizeof(float));
  if (upright)
    k.copy_upright(a, (size_t)rows, rows, depth, left);
  else
    k.copy_rows(a, (size_t)depth, rows, depth, 0, left, kRowStride);
  for (int32_t j = 0; j < columns; j += width) {
    const int32_t count = columns - j < width ? columns - j : width;
    k.copy_rows(b + j, (size_t)columns, depth, count, signs, panel, (size_t)width);
    k.multiply_panel(upright, left, rows, depth, panel, count, 1, c + j, (size_t)columns, nullptr);
  }
}

void check_panels(Random& random) {
  const int32_t rows = random.between(1, 130), columns = random.between(1, 130), depth = random.between(1, kBlockDepth);
  const int32_t upright = random.below(2), signs = random.below(2);
  Buffer<float> a((size_t)rows * (size_t)depth), b((size_t)depth * (size_t)columns), expected((size_t)rows * (size_t)columns), found(expected.size());
  fill_eighths(random, a), fill_eighths(random, b), fill_eighths(random, expected);
  memcpy(found, expected, found.size() * sizeof(float));
  multiply_by_panels(*g_generic, upright, rows, depth, columns, signs, a, b, expected);
  multiply_by_panels(*g_tested, upright, rows, depth, columns, signs, a, b, found);
  expect(expected == found, "multiply_panel", "eighths: exact in any order");
}

void one_round(Random& random) {
  g_shape = random_shape(random);
  const ConvShape s = g_shape;
  Buffer<uint64_t> x(in_pixels(s) * (size_t)words_for(s.in_channels));
  Buffer<uint64_t> w((size_t)s.out_channels * (size_t)taps(s) * (size_t)words_for(s.in_channels));
  Buffer<uint8_t> gradient(out_pixels(s) * (size_t)s.out_channels * sizeof(Half));
  fuzz::fill_bits(random, x, in_pixels(s), s.in_channels);
  fuzz::fill_bits(random, w, (size_t)s.out_channels * (size_t)taps(s), s.in_channels);
  const Gradient dy = random_gradient(random, s, gradient);
  check_forward(random, s, x, w);
  check_grad_input(random, s, dy, w);
  check_grad_weight(s, x, dy);
  check_pixels(random, s, dy, w);
  check_rows(random);
  check_pool(random);
  check_panels(random);
}

}  // namespace

int main(int argc, char** argv) {
  const int32_t rounds = argc > 1 ? atoi(argv[1]) : 200;
  const uint64_t seed = argc > 2 ? strtoull(argv[2], nullptr, 10) : 1;
  g_generic = available_kernels(0);
  for (int32_t i = 1; (g_tested = available_kernels(i)) != nullptr; i++) {
    Random random = {seed * 0x9E3779B97F4A7C15ull + 1};
    int32_t round = 0;
    for (; round < rounds && g_failures == 0; round++) one_round(random);
    if (g_failures) {
      printf("failed in round %d of seed %llu\n", round, (unsigned long long)seed);
      return 1;
    }
    printf("%s: %d rounds agree with generic\n", g_tested->isa, rounds);
  }
  return 0;
}
