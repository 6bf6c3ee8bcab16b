// The last part of the way back through the norm: gradient of X+ -> gradient of Y, in its type and at its place.
//
// Six bits need to know first how far they must reach: the walk is made twice, once to measure and once to store.
#include <cmath>
#include <cstring>

#include "internal.h"

namespace harness {

namespace {

enum Mode { kMeasure, kStore };

struct Pass {
  Network& net;
  Stage& s;
  Stage* next;
  Mode mode;
  float inverse_step;  // of the 6-bit gradient
};

// Finished values of the gradient of Y (float32) to their type, at element `at` of `to`. Six bits are rounded
// stochastically: most values are below half a step, and the norm's small corrections must survive in the sums. `row`
// counts normalised rows of the batch (or pooled ones) and names the random numbers, whatever the tiles.
void store_gradient(const Pass& pass, const float* g, size_t rows, size_t row, void* to, size_t at, int32_t thread) {
  const Network& net = pass.net;
  const size_t channels = channels_of(pass.s);
  if (net.config.output_gradient != HARNESS_INT6) return store_values(net, g, rows * channels, net.config.output_gradient, to, at);
  uint32_t* words = (uint32_t*)tile_of(net, thread, 4);
  const uint64_t stream = stream_of(net, (int32_t)(&pass.s - net.stages), kOutputGradient);
  const size_t padded = (channels + 63) / 64 * 64;
  if (padded == channels) {
    net.passes->random_words(net.config.seed, stream, row * channels, rows * channels, words);
    return net.passes->round_i8(g, rows * channels, pass.inverse_step, 31.0f, words, 0, (int8_t*)to + at);
  }
  for (size_t r = 0; r < rows; r++) {
    net.passes->random_words(net.config.seed, stream, (row + r) * padded, channels, words);
    net.passes->round_i8(g + r * channels, channels, pass.inverse_step, 31.0f, words, 0, (int8_t*)to + at + r * channels);
  }
}

// g of some rows of chunk `index` becomes the gradient of Y. partial 2, first value: the largest magnitude; partial 1: the
// sums of the squares, where they are wanted.
void take_rows(const Pass& pass, float* g, const float* d, size_t rows, int32_t index) {
  const Network& net = pass.net;
  const size_t channels = channels_of(pass.s);
  float* peak = partial(net, 2, index);
  net.passes->norm_gradient(g, d, rows, channels, channel_values(net, kNormSlope), channel_values(net, kNormMean), channel_values(net, kNormFactor));
  const float largest = net.kernels->max_abs_f32(g, rows * channels);
  *peak = largest > *peak ? largest : *peak;
  if (pass.mode == kMeasure) net.passes->add_products(g, g, rows, channels, partial(net, 1, index));
}

void plain_rows(const Pass& pass, Chunk chunk, int32_t index, int32_t thread) {
  const Network& net = pass.net;
  const size_t channels = channels_of(pass.s), first = (size_t)chunk.first * pass.s.out_pixels;
  for_tiles(net, (size_t)chunk.images * pass.s.out_pixels, channels, [&](size_t row, size_t rows) {
    float *g = tile_of(net, thread, 0), *d = tile_of(net, thread, 1);
    load_gradient(net, pass.s, first + row, rows, g);
    load_direction(net, pass.s, pass.next, false, first + row, rows, d);
    take_rows(pass, g, d, rows, index);
    if (pass.mode == kStore) store_gradient(pass, g, rows, first + row, net.grad_y, (first + row) * channels, thread);
  });
}

// Spreads one pooled row (already of its type, at `pooled`) over two rows of dy.
void unpool_row(const Pass& pass, int32_t image, int32_t py, const void* pooled, void* to, int32_t thread) {
  const Network& net = pass.net;
  const Stage& s = pass.s;
  uint64_t* codes = (uint64_t*)tile_of(net, thread, 3);
  pool_codes(net, s, image, py, codes);
  if (net.config.output_gradient == HARNESS_INT6 && s.pool == HARNESS_POOL_BEFORE_NORM)
    net.kernels->unpool_i8((const int8_t*)pooled, codes, 1, 2, s.out_width, s.out_channels, (int8_t*)to);
  else if (s.pool == HARNESS_POOL_BEFORE_NORM)
    net.kernels->unpool_f16((const Half*)pooled, codes, 1, 2, s.out_width, s.out_channels, (Half*)to);
  else
    net.kernels->unpool_f32((const float*)pooled, codes, 1, 2, s.out_width, s.out_channels, (float*)to);
}

void clear_odd_row(const Pass& pass, int32_t image) {
  const Stage& s = pass.s;
  if (s.out_height % 2 == 0) return;
  const size_t row = (size_t)s.out_width * channels_of(s), at = (size_t)image * s.out_pixels * channels_of(s) + (size_t)(s.out_height - 1) * row;
  const size_t size = type_bytes(pass.net.config.output_gradient, 1);
  memset((uint8_t*)pass.net.grad_y + at * size, 0, row * size);
}

void rows_pooled_before(const Pass& pass, int32_t image, int32_t index, int32_t thread) {
  const Network& net = pass.net;
  const Stage& s = pass.s;
  const size_t channels = channels_of(s), half = (size_t)s.out_width / 2, size = type_bytes(net.config.output_gradient, 1);
  for (int32_t py = 0; py < s.out_height / 2; py++) {
    float *g = tile_of(net, thread, 0), *d = tile_of(net, thread, 1);
    const size_t row = (size_t)image * s.pooled_pixels + (size_t)py * half;
    load_gradient(net, s, row, half, g);
    load_direction(net, s, pass.next, false, row, half, d);
    take_rows(pass, g, d, half, index);
    if (pass.mode == kMeasure) continue;
    if (one_buffer(net)) {
      store_gradient(pass, g, half, row, net.grad_y, row * channels, thread);
      continue;
    }
    void* typed = tile_of(net, thread, 2);
    store_gradient(pass, g, half, row, typed, 0, thread);
    const size_t to = ((size_t)image * s.out_pixels + 2 * (size_t)py * (size_t)s.out_width) * channels;
    unpool_row(pass, image, py, typed, (uint8_t*)net.grad_y + to * size, thread);
  }
  if (pass.mode == kStore && !one_buffer(net)) clear_odd_row(pass, image);
}

void rows_pooled_after(const Pass& pass, int32_t image, int32_t index, int32_t thread) {
  const Network& net = pass.net;
  const Stage& s = pass.s;
  const size_t channels = channels_of(s), width = (size_t)s.out_width;
  for (int32_t y = 0; y < s.out_height; y += 2) {
    const size_t rows = (y + 1 < s.out_height ? 2 : 1) * width, at = (size_t)image * s.out_pixels + (size_t)y * width;
    float *pooled = tile_of(net, thread, 0), *g = tile_of(net, thread, 1), *d = tile_of(net, thread, 2);
    const size_t row = (size_t)image * s.pooled_pixels + (size_t)(y / 2) * (width / 2);
    if (rows == width) {
      memset(g, 0, rows * channels * sizeof(float));
    } else {
      load_gradient(net, s, row, width / 2, pooled);
      unpool_row(pass, image, y / 2, pooled, g, thread);
    }
    load_direction(net, s, pass.next, true, at, rows, d);
    take_rows(pass, g, d, rows, index);
    if (pass.mode == kStore) store_gradient(pass, g, rows, at, net.grad_y, at * channels, thread);
  }
}

// One walk over the gradient of Y; returns its largest magnitude.
float walk(const Pass& pass) {
  Network& net = pass.net;
  net.threads.run(chunk_count(net), [&](int32_t index, int32_t thread) {
    const Chunk chunk = chunk_at(net, index);
    *partial(net, 2, index) = 0;
    memset(partial(net, 1, index), 0, channels_of(pass.s) * sizeof(float));
    if (pass.s.pool == HARNESS_POOL_NONE) return plain_rows(pass, chunk, index, thread);
    const auto rows = pass.s.pool == HARNESS_POOL_BEFORE_NORM ? rows_pooled_before : rows_pooled_after;
    for (int32_t i = 0; i < chunk.images; i++) rows(pass, chunk.first + i, index, thread);
  });
  return largest_partial(net, 2);
}

// What 31 steps reach to: the largest magnitude of the gradient, or eight times the root of its mean square, if that is
// less. Few values are far beyond that, the ones of items that are not learned yet; for their sake all the others
// would be below a step. The mean is over as many values as the pool selects: the others are next to 0.
float int6_range(const Network& net, const Stage& s, float largest) {
  double squares = 0;
  for (int32_t chunk = 0; chunk < chunk_count(net); chunk++)
    for (size_t c = 0; c < channels_of(s); c++) squares += (double)partial(net, 1, chunk)[c];
  const float most = kMostDeviations * (float)sqrt(squares / ((double)net.items * (double)s.pooled_pixels * (double)s.out_channels));
  return most > 0 && most < largest ? most : largest;
}

}  // namespace

void store_output_gradient(Network& net, Stage& s, Stage* next) {
  if (net.config.output_gradient != HARNESS_INT6) {
    const float largest = walk({net, s, next, kStore, 0});
    net.inverse_step = largest > 0 ? (float)kTwoDigitLimit / largest : 1.0f;
    return;
  }
  const float range = int6_range(net, s, walk({net, s, next, kMeasure, 0}));
  net.inverse_step = range > 0 ? 31.0f / range : 1.0f;
  walk({net, s, next, kStore, net.inverse_step});
}

}  // namespace harness
