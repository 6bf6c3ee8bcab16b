// Batch normalisation in `standard`: its float32 values are read and written where they lie, without a tile between.
#include <cstring>

#include "internal.h"

namespace harness {

namespace {

// The normalised output, with beta: of the next stage, the logits, or what stands before a pool after the sign.
float* retained(const Network& net, const Stage* next) { return (float*)(next ? next->x : net.logits); }

// Two rows of pixels (an odd last one alone has no pool) after the sign.
void pool_rows(Network& net, Stage& s, Stage* next, size_t image, size_t py) {
  const size_t width = (size_t)s.out_width, channels = channels_of(s), at = (image * s.out_pixels + 2 * py * width) * channels;
  const float* x = (const float*)s.prepool + at;
  float *mask = (float*)s.pool_mask + at, *pooled = (float*)next->x + (image * s.pooled_pixels + py * (width / 2)) * channels;
  net.passes->pool_row_f32(x, x + width * channels, width / 2, channels, 1, pooled, mask, mask + width * channels);
}

void emit_pooled(Network& net, Stage& s, Stage* next, Chunk chunk, const float* slope, const float* offset) {
  const size_t width = (size_t)s.out_width, channels = channels_of(s);
  for (size_t image = (size_t)chunk.first; image < (size_t)(chunk.first + chunk.images); image++)
    for (size_t y = 0; y < (size_t)s.out_height; y += 2) {
      const size_t rows = (y + 1 < (size_t)s.out_height ? 2 : 1) * width, at = (image * s.out_pixels + y * width) * channels;
      net.passes->scale_shift_to((const float*)net.dx_y + at, rows, channels, slope, offset, (float*)s.prepool + at);
      if (rows == 2 * width) pool_rows(net, s, next, image, y / 2);
    }
}

// Rows of the gradient of Y at `to`, from those of X+ at `g` and X+ itself at `x`.
void take_rows(const Network& net, const Stage& s, const float* g, const float* x, size_t rows, float* to) {
  net.passes->norm_gradient_to(g, x, rows, channels_of(s), channel_values(net, kNormBeta), channel_values(net, kNormSlope),
                               channel_values(net, kNormMean), channel_values(net, kNormFactor), to);
}

// Spreads one pooled row over two rows of the map; an odd last column gets zeros.
void unpool_rows(const Network& net, const Stage& s, size_t image, size_t py, const float* pooled, float* to) {
  const size_t width = (size_t)s.out_width, channels = channels_of(s), row = width * channels;
  const float* mask = (const float*)s.pool_mask + (image * s.out_pixels + 2 * py * width) * channels;
  for (size_t k = 0; k < 2; k++, mask += row, to += row) {
    net.passes->unpool_row_f32(pooled, mask, width / 2, channels, to);
    if (width % 2) memset(to + row - channels, 0, channels * sizeof(float));
  }
}

// A pool before the norm: the pooled gradient is taken through the norm, then spread.
void image_pooled_before(const Network& net, const Stage& s, const Stage* next, size_t image, float* tile) {
  const size_t half = (size_t)s.out_width / 2, channels = channels_of(s), row = (size_t)s.out_width * channels;
  float* to = (float*)net.grad_y + image * s.out_pixels * channels;
  for (size_t py = 0; py < (size_t)s.out_height / 2; py++, to += 2 * row) {
    const size_t at = (image * s.pooled_pixels + py * half) * channels;
    take_rows(net, s, (const float*)net.g + at, retained(net, next) + at, half, tile);
    unpool_rows(net, s, image, py, tile, to);
  }
  if (s.out_height % 2) memset(to, 0, row * sizeof(float));
}

// A pool after the sign: spread first; where nothing was selected, the gradient of X+ is zero.
void image_pooled_after(const Network& net, const Stage& s, size_t image, float* tile) {
  const size_t width = (size_t)s.out_width, channels = channels_of(s);
  for (size_t y = 0; y < (size_t)s.out_height; y += 2) {
    const size_t rows = (y + 1 < (size_t)s.out_height ? 2 : 1) * width, at = (image * s.out_pixels + y * width) * channels;
    const size_t pooled = (image * s.pooled_pixels + y / 2 * (width / 2)) * channels;
    if (rows == width)
      memset(tile, 0, rows * channels * sizeof(float));
    else
      unpool_rows(net, s, image, y / 2, (const float*)net.g + pooled, tile);
    take_rows(net, s, tile, (const float*)s.prepool + at, rows, (float*)net.grad_y + at);
  }
}

void take_chunk(const Network& net, const Stage& s, const Stage* next, Chunk chunk, float* tile) {
  const size_t first = (size_t)chunk.first, end = first + (size_t)chunk.images, at = first * s.out_pixels * channels_of(s);
  if (s.pool == HARNESS_POOL_NONE)
    return take_rows(net, s, (const float*)net.g + at, retained(net, next) + at, (size_t)chunk.images * s.out_pixels, (float*)net.grad_y + at);
  for (size_t image = first; image < end; image++)
    if (s.pool == HARNESS_POOL_BEFORE_NORM)
      image_pooled_before(net, s, next, image, tile);
    else
      image_pooled_after(net, s, image, tile);
}

}  // namespace

void emit_float(Network& net, Stage& s, Stage* next, const float* slope, const float* offset) {
  net.threads.run(chunk_count(net), [&](int32_t index, int32_t thread) {
    const Chunk chunk = chunk_at(net, index);
    if (s.pool == HARNESS_POOL_AFTER_SIGN) return emit_pooled(net, s, next, chunk, slope, offset);
    for_y_rows(net, s, chunk, thread, [&](const void* y, size_t element, size_t row, size_t rows) {
      const size_t channels = channels_of(s);
      net.passes->scale_shift_to((const float*)y + element, rows, channels, slope, offset, retained(net, next) + row * channels);
    });
  });
}

void sum_gradient_float(Network& net, Stage& s, Stage* next) {
  const size_t channels = channels_of(s);
  net.threads.run(chunk_count(net), [&](int32_t index, int32_t) {
    const Chunk chunk = chunk_at(net, index);
    const size_t at = (size_t)chunk.first * s.pooled_pixels * channels;
    float *sums = partial(net, 0, index), *products = partial(net, 1, index);
    memset(sums, 0, channels * sizeof(float));
    memset(products, 0, channels * sizeof(float));
    net.passes->add_gradient((const float*)net.g + at, retained(net, next) + at, (size_t)chunk.images * s.pooled_pixels, channels,
                             channel_values(net, kNormBeta), sums, products);
  });
}

void norm_gradient_float(Network& net, Stage& s, Stage* next) {
  net.threads.run(chunk_count(net), [&](int32_t index, int32_t thread) { take_chunk(net, s, next, chunk_at(net, index), tile_of(net, thread, 0)); });
}

}  // namespace harness
