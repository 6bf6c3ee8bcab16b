// Backward through the norm: gradient of X+ -> gradient of Y.
//
// With v = gradient / psi:  dY = v - mean(v) - d * factor,  factor = omega * mean(v o d), d = sign of X+
// (Wang et al. 2023, Algorithm 2), or, centred, d less its mean over the channel and factor = omega * mean(v o d) -
// beta * mean(v). omega is the mean |X+| of what gets a gradient at all: kWithinClip behind a clip, else the retained
// mean of all. In `standard` (float_norm.cpp) d is the normalised output itself and there is no omega. The last stage's
// output x = X+ - beta is known: there d = sgn(x) less its mean, and factor = mean(v o x), which is the l1 norm's
// derivative.
#include <cmath>
#include <cstring>

#include "internal.h"

namespace harness {

namespace {

// X+ - beta of `rows` rows of the last stage.
void load_output(const Network& net, const Stage& s, size_t row, size_t rows, float* x) {
  const size_t channels = channels_of(s);
  load_values(net, net.logits, logits_type(net), row * channels, rows * channels, x);
  const float* beta = channel_values(net, kNormBeta);
  for (size_t r = 0; r < rows; r++)
    for (size_t c = 0; c < channels; c++) x[r * channels + c] -= beta[c];
}

}  // namespace

void load_direction(const Network& net, const Stage& s, const Stage* next, bool before_pool, size_t row, size_t rows, float* d) {
  if (s.last) {
    load_output(net, s, row, rows, d);
    return net.passes->signs(d, rows * channels_of(s), d);
  }
  const void* from = before_pool ? s.prepool : next->x;
  net.kernels->unpack_signs_f32((const uint64_t*)from + row * row_words(s.out_channels), rows, s.out_channels, d);
}

void load_gradient(const Network& net, const Stage& s, size_t row, size_t rows, float* g) {
  const size_t channels = channels_of(s);
  if (net.config.gradient != HARNESS_I8) return load_values(net, net.g, net.config.gradient, row * channels, rows * channels, g);
  while (rows > 0) {
    const size_t image = row / s.pooled_pixels, left = (image + 1) * s.pooled_pixels - row, taken = left < rows ? left : rows;
    net.passes->widen_i8((const int8_t*)net.g + row * channels, taken * channels, net.scales[image], g);
    row += taken, rows -= taken, g += taken * channels;
  }
}

namespace {

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

// Leaves slope, mean and factor in the channel scratch and the gradient of beta in its variable.
void prepare_channels(Network& net, Stage& s) {
  const size_t channels = channels_of(s);
  const double share = 1.0 / ((double)net.items * (double)s.norm_pixels);
  float *slope = channel_values(net, kNormSlope), *mean = channel_values(net, kNormMean), *factor = channel_values(net, kNormFactor);
  float* work = channel_values(net, kNormWork);
  reduce_partials(net, 0, channels, 1.0 / net.gradient_scale, work);
  if (net.config.gradient == HARNESS_F32) reduce_partials(net, 0, channels, 1.0, work);
  bound_to_type(work, channels, net.config.statistic);
  store_values(net, work, channels, net.config.statistic, s.beta, channels);
  reduce_partials(net, 0, channels, share, mean);
  reduce_partials(net, 1, channels, share, factor);
  load_values(net, s.statistics, net.config.statistic, channels, channels, slope);
  const bool by_sign = norm_by_sign(net, s), centred = by_sign && net.config.norm == HARNESS_NORM_L1_SIGN_CENTRED;
  const bool retained = by_sign && net.config.ste_mask != HARNESS_STE_KEPT;
  if (retained) load_values(net, s.statistics, net.config.statistic, 2 * channels, channels, work);
  for (size_t c = 0; c < channels; c++) {
    const float omega = retained ? work[c] : by_sign ? kWithinClip : 1.0f;
    slope[c] = 1.0f / slope[c];
    mean[c] *= slope[c];
    factor[c] *= slope[c] * omega;
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
  store_output_gradient(net, s, next);
}

}  // namespace harness
