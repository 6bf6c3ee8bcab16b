// Backward through the norm: gradient of X+ -> gradient of Y.
//
// With v = gradient / psi:  dY = v - mean(v) - d * factor,  factor = omega * mean(v o d), d = sign of X+
// (Wang et al. 2023, Algorithm 2), or, centred, d less its mean over the channel and factor = omega * mean(v o d) -
// beta * mean(v), with the omega of what the straight-through clip lets through; in `standard` (float_norm.cpp) d is the
// normalised output itself and there is no omega. The last stage's output x = X+ - beta is known: there d = sgn(x) less
// its mean, and factor = mean(v o x), which is the l1 norm's derivative.
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

// X+ - beta of `rows` rows of the last stage.
void load_output(const Network& net, const Stage& s, size_t row, size_t rows, float* x) {
  const size_t channels = channels_of(s);
  load_values(net, net.logits, logits_type(net), row * channels, rows * channels, x);
  const float* beta = channel_values(net, kNormBeta);
  for (size_t r = 0; r < rows; r++)
    for (size_t c = 0; c < channels; c++) x[r * channels + c] -= beta[c];
}

// d of `rows` rows that the next stage retains (pooled, where there is a pool), or that stand before the pool.
void load_direction(const Network& net, const Stage& s, const Stage* next, bool before_pool, size_t row, size_t rows, float* d) {
  if (s.last) {
    load_output(net, s, row, rows, d);
    return net.passes->signs(d, rows * channels_of(s), d);
  }
  const void* from = before_pool ? s.prepool : next->x;
  net.kernels->unpack_signs_f32((const uint64_t*)from + row * row_words(s.out_channels), rows, s.out_channels, d);
}

// Rows of the gradient of X+ as float32; 8-bit ones by the scale of their image.
void load_gradient(const Network& net, const Stage& s, size_t row, size_t rows, float* g) {
  const size_t channels = channels_of(s);
  if (net.config.gradient != HARNESS_I8) return load_values(net, net.g, net.config.gradient, row * channels, rows * channels, g);
  while (rows > 0) {
    const size_t image = row / s.pooled_pixels, left = (image + 1) * s.pooled_pixels - row, taken = left < rows ? left : rows;
    net.passes->widen_i8((const int8_t*)net.g + row * channels, taken * channels, net.scales[image], g);
    row += taken, rows -= taken, g += taken * channels;
  }
}

// Sums of the gradient and of its product with d (of the last stage: with the output itself), over the gradient's own
// rows: what a pool has not selected has gradient 0. partial 2, first value: the largest magnitude.
void sum_gradient(Network& net, Stage& s, Stage* next) {
  const size_t channels = channels_of(s);
  net.threads.run(chunk_count(net), [&](int32_t index, int32_t thread) {
    const Chunk chunk = chunk_at(net, index);
    float *sums = partial(net, 0, index), *products = partial(net, 1, index), *peak = partial(net, 2, index);
    memset(sums, 0, channels * sizeof(float));
    memset(products, 0, channels * sizeof(float));
    *peak = 0;
    const size_t first = (size_t)chunk.first * s.pooled_pixels;
    for_tiles(net, (size_t)chunk.images * s.pooled_pixels, channels, [&](size_t row, size_t rows) {
      float *g = tile_of(net, thread, 0), *d = tile_of(net, thread, 1);
      load_gradient(net, s, first + row, rows, g);
      if (s.last)
        load_output(net, s, first + row, rows, d);
      else
        load_direction(net, s, next, false, first + row, rows, d);
      net.passes->add_rows(g, rows, channels, sums);
      net.passes->add_products(g, d, rows, channels, products);
      const float largest = net.kernels->max_abs_f32(g, rows * channels);
      *peak = largest > *peak ? largest : *peak;
    });
  });
}

float largest_partial(const Network& net, int32_t index) {
  float largest = 0;
  for (int32_t chunk = 0; chunk < chunk_count(net); chunk++) {
    const float value = *partial(net, index, chunk);
    largest = value > largest ? value : largest;
  }
  return largest;
}

// Leaves slope, mean and factor in the channel scratch and the gradient of beta in its variable.
void prepare_channels(Network& net, Stage& s) {
  const size_t channels = channels_of(s);
  const double share = 1.0 / ((double)net.items * (double)s.norm_pixels);
  float *slope = channel_values(net, kNormSlope), *mean = channel_values(net, kNormMean), *factor = channel_values(net, kNormFactor);
  float* work = channel_values(net, kNormWork);
  reduce_partials(net, 0, channels, 1.0 / net.gradient_scale, work);
  if (net.config.gradient == HARNESS_F32) reduce_partials(net, 0, channels, 1.0, work);
  for (size_t c = 0; c < channels && net.config.statistic == HARNESS_F16; c++)
    work[c] = work[c] > 65504.0f ? 65504.0f : work[c] < -65504.0f ? -65504.0f : work[c];
  store_values(net, work, channels, net.config.statistic, s.beta, channels);
  reduce_partials(net, 0, channels, share, mean);
  reduce_partials(net, 1, channels, share, factor);
  load_values(net, s.statistics, net.config.statistic, channels, channels, slope);
  const bool by_sign = norm_by_sign(net, s), centred = by_sign && net.config.norm == HARNESS_NORM_L1_SIGN_CENTRED;
  if (by_sign) load_values(net, s.statistics, net.config.statistic, 2 * channels, channels, work);
  if (centred && net.config.ste_mask == HARNESS_STE_KEPT)
    for (size_t c = 0; c < channels; c++) work[c] = kWithinClip;
  for (size_t c = 0; c < channels; c++) {
    slope[c] = 1.0f / slope[c];
    mean[c] *= slope[c];
    factor[c] *= slope[c] * (by_sign ? work[c] : 1.0f);
  }
  if (!centred) return;
  const float* beta = channel_values(net, kNormBeta);
  for (size_t c = 0; c < channels; c++) factor[c] -= beta[c] * mean[c];
}

// Takes the mean of d, times factor, off the mean, which so becomes that of v - (d - mean(d)) * factor: without it the gradient
// of Y has a mean that Y's own shift, which the norm takes away, cannot have caused. Sums of signs are exact in any order.
void centre_direction(Network& net, Stage& s, Stage* next) {
  const size_t channels = channels_of(s);
  net.threads.run(chunk_count(net), [&](int32_t index, int32_t thread) {
    const Chunk chunk = chunk_at(net, index);
    float* sums = partial(net, 0, index);
    memset(sums, 0, channels * sizeof(float));
    const size_t first = (size_t)chunk.first * s.norm_pixels;
    for_tiles(net, (size_t)chunk.images * s.norm_pixels, channels, [&](size_t row, size_t rows) {
      float* d = tile_of(net, thread, 0);
      load_direction(net, s, next, s.pool == HARNESS_POOL_AFTER_SIGN, first + row, rows, d);
      net.passes->add_rows(d, rows, channels, sums);
    });
  });
  float *mean = channel_values(net, kNormMean), *direction = channel_values(net, kNormWork);
  reduce_partials(net, 0, channels, 1.0 / ((double)net.items * (double)s.norm_pixels), direction);
  for (size_t c = 0; c < channels; c++) mean[c] -= channel_values(net, kNormFactor)[c] * direction[c];
}

// Scales the three so that |v| < 1: then nothing that follows leaves float16's range. A power of two costs no digit.
void rescale_channels(Network& net, Stage& s, float peak) {
  const size_t channels = channels_of(s);
  int exponent = 0;
  const float bound = peak * net.kernels->max_abs_f32(channel_values(net, kNormSlope), channels);
  if (bound > 0 && bound < INFINITY) frexpf(bound, &exponent);
  const float scale = ldexpf(1.0f, -exponent);
  for (int32_t row = kNormSlope; row <= kNormFactor; row++)
    for (size_t c = 0; c < channels; c++) channel_values(net, row)[c] *= scale;
  net.gradient_scale *= (double)scale;
}

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

void norm_backward_float(Network& net, Stage& s, Stage* next) {
  sum_gradient_float(net, s, next);
  prepare_channels(net, s);
  norm_gradient_float(net, s, next);
}

}  // namespace

void norm_backward(Network& net, Stage& s, Stage* next) {
  load_values(net, s.beta, net.config.statistic, 0, channels_of(s), channel_values(net, kNormBeta));
  if (!bits_kept(net)) return norm_backward_float(net, s, next);
  sum_gradient(net, s, next);
  const float peak = largest_partial(net, 2);
  prepare_channels(net, s);
  if (s.last || net.config.norm == HARNESS_NORM_L1_SIGN_CENTRED) centre_direction(net, s, next);
  rescale_channels(net, s, peak);
  if (net.config.output_gradient == HARNESS_INT6) {
    const float range = int6_range(net, s, walk({net, s, next, kMeasure, 0}));
    net.inverse_step = range > 0 ? 31.0f / range : 1.0f;
    walk({net, s, next, kStore, net.inverse_step});
  } else {
    const float largest = walk({net, s, next, kStore, 0});
    net.inverse_step = largest > 0 ? (float)kTwoDigitLimit / largest : 1.0f;
  }
}

}  // namespace harness
