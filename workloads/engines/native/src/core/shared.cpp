// One buffer for Y, the gradient of X and that of Y (`lean`): what lies where, and how it gets there.
//
// The buffer has two ends. The gradient of X+ lies at one of them, in 8 bits with a scale an image; it becomes the 6-bit
// gradient of Y in place. At the other end that gradient is spread to full resolution for the product with X, where a
// pool stands before the norm; then the gradient of X takes that end, and is the next stage's gradient of X+. Where a
// pool stands after the sign, the gradient of Y is of full resolution and goes to the other end, and the gradient of X
// back to the first.
#include "internal.h"

namespace harness {

static void* end_of(const Network& net, bool high, size_t bytes) {
  const size_t filled = (bytes + 63) / 64 * 64;
  return (uint8_t*)net.dx_y + (high ? net.dx_y_bytes / 64 * 64 - filled : 0);
}

// The gradient of W, its signs and the prepared weights, above what the low end holds.
static void place_between(Network& net, Stage& s, size_t low) {
  uint8_t* at = (uint8_t*)net.dx_y + (low + 63) / 64 * 64;
  s.dw = at;
  net.signs = at += weight_gradient_bytes(net, s);
  net.prepared = at + weight_signs_bytes(net, s);
}

void place_forward(Network& net, Stage& s) {
  if (one_buffer(net)) place_between(net, s, s.streamed ? 0 : 2 * (size_t)net.config.batch * s.norm_pixels * channels_of(s));
}

void place_gradients(Network& net, Stage& s) {
  net.g = net.grad_x = net.dx_y;
  net.grad_y = net.full_y = net.dy;
  if (!one_buffer(net)) return;
  // Sizes are those of a whole batch, so that places do not depend on the items of this one.
  const size_t batch = (size_t)net.config.batch, channels = channels_of(s);
  const size_t result = batch * s.pooled_pixels * channels, outputs = batch * s.out_pixels * channels;
  const size_t inputs = s.first ? 0 : batch * s.in_pixels * (size_t)s.in_channels;
  const bool here = net.g_is_high, there = !here;
  const bool after = s.pool == HARNESS_POOL_AFTER_SIGN, before = s.pool == HARNESS_POOL_BEFORE_NORM;
  net.g = end_of(net, here, result);
  net.grad_y = after ? end_of(net, there, outputs) : net.g;
  net.full_y = before ? end_of(net, there, outputs) : net.grad_y;
  net.grad_x = end_of(net, after ? here : there, inputs);
  const size_t larger_input = inputs > result ? inputs : result, larger_output = inputs > outputs ? inputs : outputs;
  const size_t at_g = after ? larger_input : result, opposite = after ? outputs : before ? larger_output : inputs;
  place_between(net, s, here ? opposite : at_g);
  if (!after) net.g_is_high = there;
}

void store_scaled(const Network& net, const float* x, size_t count, int32_t image, uint64_t stream, int8_t* to, int32_t thread) {
  const float largest = net.kernels->max_abs_f32(x, count);
  const float inverse = largest > 0 ? 127.0f / largest : 1.0f;
  net.scales[image] = 1.0f / inverse;
  uint32_t* words = (uint32_t*)tile_of(net, thread, 4);
  const size_t padded = (count + 63) / 64 * 64;
  for (size_t done = 0; done < count; done += net.tile) {
    const size_t taken = count - done < net.tile ? count - done : net.tile;
    net.passes->random_words(net.config.seed, stream, (size_t)image * padded + done, taken, words);
    net.passes->round_i8(x + done, taken, inverse, 127.0f, words, 0, to + done);
  }
}

// The same from float16, tile by tile.
static void store_scaled_f16(const Network& net, const Half* x, size_t count, int32_t image, uint64_t stream, int8_t* to, int32_t thread) {
  const float largest = net.kernels->max_abs_f16(x, count);
  const float inverse = largest > 0 ? 127.0f / largest : 1.0f;
  net.scales[image] = 1.0f / inverse;
  float* tile = tile_of(net, thread, 0);
  uint32_t* words = (uint32_t*)tile_of(net, thread, 4);
  const size_t padded = (count + 63) / 64 * 64;
  for (size_t done = 0; done < count; done += net.tile) {
    const size_t taken = count - done < net.tile ? count - done : net.tile;
    net.kernels->f16_to_f32(x + done, taken, tile);
    net.passes->random_words(net.config.seed, stream, (size_t)image * padded + done, taken, words);
    net.passes->round_i8(tile, taken, inverse, 127.0f, words, 0, to + done);
  }
}

static const uint64_t* codes_of(const Stage& s, int32_t image) {
  return (const uint64_t*)s.pool_mask + (size_t)image * s.pooled_pixels * row_words(2 * s.out_channels);
}

void unpool_batch(Network& net, Stage& s) {
  net.threads.run(chunk_count(net), [&](int32_t index, int32_t) {
    const Chunk chunk = chunk_at(net, index);
    const size_t first = (size_t)chunk.first, channels = channels_of(s);
    net.kernels->unpool_i8((const int8_t*)net.grad_y + first * s.pooled_pixels * channels, codes_of(s, chunk.first), chunk.images,
                           s.out_height, s.out_width, s.out_channels, (int8_t*)net.full_y + first * s.out_pixels * channels);
  });
}

// One group of images: gradient of Y (spread, if it is pooled) -> float16 in scratch -> mask -> 8 bits.
static void input_gradient_group(Network& net, Stage& s, int32_t first, int32_t images, float scale, int32_t thread) {
  const size_t channels = channels_of(s), inputs = s.in_pixels * (size_t)s.in_channels, words = row_words(s.in_channels);
  Half* dx = (Half*)image_scratch(net, thread);
  const int8_t* dy = (const int8_t*)net.grad_y + (size_t)first * (s.pool == HARNESS_POOL_BEFORE_NORM ? s.pooled_pixels : s.out_pixels) * channels;
  if (s.pool == HARNESS_POOL_BEFORE_NORM) {
    int8_t* spread = (int8_t*)image_scratch(net, thread) + ((size_t)images_at_once(s) * inputs * 2 + 63) / 64 * 64;
    net.kernels->unpool_i8(dy, codes_of(s, first), images, s.out_height, s.out_width, s.out_channels, spread);
    dy = spread;
  }
  net.kernels->grad_input(shape_of(s, images), gradient_of(net, dy), net.prepared, {0, s.in_channels}, {dx, kOutFloat16, scale},
                          kernel_scratch(net, thread));
  if (s.ste) net.passes->mask_f16(dx, (size_t)images * s.in_pixels, s.in_channels, s.ste + (size_t)first * s.in_pixels * words);
  const uint64_t stream = stream_of(net, (int32_t)(&s - net.stages), kInputGradient);
  for (int32_t i = 0; i < images; i++)
    store_scaled_f16(net, dx + (size_t)i * inputs, inputs, first + i, stream, (int8_t*)net.grad_x + (size_t)(first + i) * inputs, thread);
}

void input_gradient_shared(Network& net, Stage& s) {
  const float scale = 1.0f / 64.0f;  // a 6-bit sum may be as large as 31 x 9 x 512: float16 holds a 64th of it
  const int32_t group = images_at_once(s);
  net.kernels->grad_input_prepare(shape_of(s, net.items), weight_bits(net, s), {0, s.in_channels}, net.prepared);
  net.threads.run(chunk_count(net), [&](int32_t index, int32_t thread) {
    const Chunk chunk = chunk_at(net, index);
    for (int32_t done = 0; done < chunk.images; done += group)
      input_gradient_group(net, s, chunk.first + done, chunk.images - done < group ? chunk.images - done : group, scale, thread);
  });
  net.gradient_scale *= (double)net.inverse_step * (double)scale;
}

}  // namespace harness
