// Batch normalisation forward: statistics by channel, then X+ = Y * slope + offset, of which the next stage
// retains what the recipe retains. l2: sigma = sqrt(mean((Y - mu)^2) + epsilon); l1: psi = mean|Y - mu|.
#include <cmath>
#include <cstring>

#include "internal.h"

namespace harness {

namespace {

float scale_of(const Network& net, float spread) {
  if (net.config.norm == HARNESS_NORM_L2) return sqrtf(spread + kEpsilon);
  return spread < kPsiFloor ? kPsiFloor : spread;
}

// slope and offset from mean and spread.
void prepare_affine(Network& net, Stage& s, const float* mean, const float* spread) {
  const size_t channels = channels_of(s);
  float *slope = channel_values(net, kSlope), *offset = channel_values(net, kOffset), *beta = channel_values(net, kBeta);
  load_values(net, s.beta, net.config.statistic, 0, channels, beta);
  for (size_t c = 0; c < channels; c++) {
    slope[c] = 1.0f / scale_of(net, spread[c]);
    offset[c] = beta[c] - mean[c] * slope[c];
  }
}

void sum_spread(Network& net, Stage& s) {
  const float* mean = channel_values(net, kMean);
  const bool squares = net.config.norm == HARNESS_NORM_L2;
  net.threads.run(chunk_count(net), [&](int32_t index, int32_t thread) {
    float* sums = partial(net, 1, index);
    memset(sums, 0, channels_of(s) * sizeof(float));
    for_y_rows(net, s, chunk_at(net, index), thread, [&](const void* y, size_t element, size_t, size_t rows) {
      const float* values = view_values(net, y, y_type(net, s), element, rows * channels_of(s), tile_of(net, thread, 0));
      const auto add = squares ? net.passes->add_squares : net.passes->add_deviations;
      add(values, rows, channels_of(s), mean, sums);
    });
  });
}

// `average_share` of schedule.py.
float average_share(const Network& net, float batch) {
  const float cooled = net.largest_rate > 0 ? net.last_rate / net.largest_rate : 1.0f;
  const float best = kFullShare * cbrtf(cooled * cooled * (float)net.items / 100.0f);
  const float share = best > kLeastShare ? best : kLeastShare;
  return 1.0f / batch > share ? 1.0f / batch : share < 1.0f ? share : 1.0f;
}

void average(const Network& net, Stage& s) {
  const size_t channels = channels_of(s);
  const float *mean = channel_values(net, kMean), *spread = channel_values(net, kSpread);
  const float items = (float)net.items, averaged = (float)net.items_averaged;
  const float share = net.recalibrating ? items / (averaged + items) : average_share(net, (float)(net.batches_seen + 1));
  for (size_t c = 0; c < channels; c++) {
    s.moving[c] += share * (mean[c] - s.moving[c]);
    s.moving[channels + c] += share * (spread[c] - s.moving[channels + c]);
  }
}

void retain_statistics(Network& net, Stage& s) {
  const size_t channels = channels_of(s);
  float* scale = channel_values(net, kBeta);
  for (size_t c = 0; c < channels; c++) scale[c] = scale_of(net, channel_values(net, kSpread)[c]);
  store_values(net, channel_values(net, kMean), channels, net.config.statistic, s.statistics, 0);
  store_values(net, scale, channels, net.config.statistic, s.statistics, channels);
}

// Rows of X+ (float32) as bits to the next stage's retained input, or as they are to the logits.
void retain(Network& net, Stage& s, Stage* next, const float* x, size_t row, size_t rows) {
  const size_t words = row_words(s.out_channels), channels = channels_of(s);
  if (!next) return store_values(net, x, rows * channels, logits_type(net), net.logits, row * channels);
  net.kernels->pack_signs_f32(x, rows, s.out_channels, (uint64_t*)next->x + row * words);
  if (next->ste) net.kernels->pack_ste_mask_f32(x, rows, s.out_channels, next->ste + row * words);
}

// The same where a pool stands after the sign: two rows of pixels at a time. x: [2 * width][channels]
void retain_pooled(Network& net, Stage& s, Stage* next, const float* x, size_t image, size_t py, int32_t thread) {
  const size_t width = (size_t)s.out_width, words = row_words(s.out_channels);
  const size_t at = image * s.out_pixels + 2 * py * width, pooled_at = image * s.pooled_pixels + py * (width / 2);
  uint64_t *signs = (uint64_t*)s.prepool + at * words, *mask = (uint64_t*)tile_of(net, thread, 1);
  net.kernels->pack_signs_f32(x, 2 * width, s.out_channels, signs);
  if (next->ste) net.kernels->pack_ste_mask_f32(x, 2 * width, s.out_channels, mask);
  pool_signs(s, signs, mask, (uint64_t*)next->x + pooled_at * words, next->ste ? next->ste + pooled_at * words : nullptr);
}

void emit_pooled(Network& net, Stage& s, Stage* next, Chunk chunk, float* magnitudes, int32_t thread) {
  const size_t width = (size_t)s.out_width, channels = channels_of(s), words = row_words(s.out_channels);
  for (size_t image = (size_t)chunk.first; image < (size_t)(chunk.first + chunk.images); image++)
    for (size_t y = 0; y < (size_t)s.out_height; y += 2) {
      const size_t rows = (y + 1 < (size_t)s.out_height ? 2 : 1) * width, at = image * s.out_pixels + y * width;
      float* tile = tile_of(net, thread, 0);
      load_values(net, net.dx_y, y_type(net, s), at * channels, rows * channels, tile);
      net.passes->scale_shift(tile, rows, channels, channel_values(net, kSlope), channel_values(net, kOffset));
      net.passes->add_magnitudes(tile, rows, channels, magnitudes);
      if (rows == 2 * width)
        retain_pooled(net, s, next, tile, image, y / 2, thread);
      else
        net.kernels->pack_signs_f32(tile, rows, s.out_channels, (uint64_t*)s.prepool + at * words);
    }
}

// X+ of the whole batch; partial 2: sums of |X+|.
void emit(Network& net, Stage& s, Stage* next) {
  const float *slope = channel_values(net, kSlope), *offset = channel_values(net, kOffset);
  if (!bits_kept(net)) return emit_float(net, s, next, slope, offset);
  net.threads.run(chunk_count(net), [&](int32_t index, int32_t thread) {
    float* magnitudes = partial(net, 2, index);
    memset(magnitudes, 0, channels_of(s) * sizeof(float));
    if (s.pool == HARNESS_POOL_AFTER_SIGN) return emit_pooled(net, s, next, chunk_at(net, index), magnitudes, thread);
    for_y_rows(net, s, chunk_at(net, index), thread, [&](const void* y, size_t element, size_t row, size_t rows) {
      const size_t channels = channels_of(s);
      float* tile = tile_of(net, thread, 0);
      load_values(net, y, y_type(net, s), element, rows * channels, tile);
      net.passes->scale_shift(tile, rows, channels, slope, offset);
      net.passes->add_magnitudes(tile, rows, channels, magnitudes);
      retain(net, s, next, tile, row, rows);
    });
  });
}

}  // namespace

void normalise(Network& net, Stage& s, Stage* next) {
  const size_t channels = channels_of(s);
  const double share = 1.0 / ((double)net.items * (double)s.norm_pixels);
  reduce_partials(net, 0, channels, share, channel_values(net, kMean));
  sum_spread(net, s);
  reduce_partials(net, 1, channels, share, channel_values(net, kSpread));
  average(net, s);
  retain_statistics(net, s);
  prepare_affine(net, s, channel_values(net, kMean), channel_values(net, kSpread));
  emit(net, s, next);
  if (!norm_by_sign(net, s)) return;
  float* omega = channel_values(net, kBeta);
  reduce_partials(net, 2, channels, share, omega);
  store_values(net, omega, channels, net.config.statistic, s.statistics, 2 * channels);
}

void normalise_moving(Network& net, Stage& s, Stage* next) {
  prepare_affine(net, s, s.moving, s.moving + channels_of(s));
  emit(net, s, next);
}

}  // namespace harness
