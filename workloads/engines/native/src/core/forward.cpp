// Y of a stage on bits: the exact integer product, its pooling, and the sums of its channels.
#include <cstring>

#include "internal.h"

namespace harness {

// Pools the images where the pool stands before the norm, and adds up Y by channel.
void finish_images(Network& net, Stage& s, Chunk images, float* sums, int32_t thread) {
  if (s.pool == HARNESS_POOL_BEFORE_NORM && !one_buffer(net))
    for (int32_t i = 0; i < images.images; i++) pool_image(net, s, images.first + i, thread);
  for_y_rows(net, s, images, thread, [&](const void* y, size_t element, size_t, size_t rows) {
    const float* values = view_values(net, y, y_type(net, s), element, rows * channels_of(s), tile_of(net, thread, 0));
    net.passes->add_rows(values, rows, channels_of(s), sums);
  });
}

void finish_product(Network& net, Stage& s, int32_t index, int32_t thread) {
  float* sums = partial(net, 0, index);
  memset(sums, 0, channels_of(s) * sizeof(float));
  finish_images(net, s, chunk_at(net, index), sums, thread);
}

// Y of the chunk to `to`, in 16 bits.
static void multiply_chunk(Network& net, Stage& s, Range outputs, Chunk chunk, void* to, int32_t thread) {
  const ConvShape shape = shape_of(s, chunk.images);
  const size_t first = (size_t)chunk.first;
  if (s.first) {
    const uint8_t* pixels = net.pixels + first * s.in_pixels * (size_t)s.in_channels;
    const Output y = {to, kOutFloat16, 1.0f / 255.0f};
    net.kernels->pixels_forward(shape, pixels, net.prepared, outputs, y, kernel_scratch(net, thread));
  } else {
    const uint64_t* x = (const uint64_t*)s.x + first * s.in_pixels * row_words(s.in_channels);
    net.kernels->forward(shape, x, net.prepared, outputs, (int16_t*)to, kernel_scratch(net, thread));
  }
}

const void* stream_image(Network& net, Stage& s, int32_t image, int32_t thread) {
  multiply_chunk(net, s, {0, s.out_channels}, {image, 1}, image_scratch(net, thread), thread);
  return image_scratch(net, thread);
}

// Where the chunk's Y goes: the buffer; image by image through the thread's scratch to the pool; or, streamed, nowhere yet.
static void place_chunk(Network& net, Stage& s, Range outputs, Chunk chunk, int32_t thread) {
  if (s.streamed) return;
  if (!one_buffer(net) || s.pool != HARNESS_POOL_BEFORE_NORM) {
    uint16_t* to = (uint16_t*)net.dx_y + (size_t)chunk.first * s.out_pixels * channels_of(s);
    return multiply_chunk(net, s, outputs, chunk, to, thread);
  }
  for (int32_t image = chunk.first; image < chunk.first + chunk.images; image++) {
    multiply_chunk(net, s, outputs, {image, 1}, image_scratch(net, thread), thread);
    pool_image(net, s, image, thread);
  }
}

void forward_product(Network& net, Stage& s) {
  pack_weight_signs(net, s);
  const int32_t block = forward_block(net, s);
  const ConvShape shape = shape_of(s, net.items);
  for (int32_t begin = 0; begin < s.out_channels; begin += block) {
    const Range outputs = {begin, begin + block < s.out_channels ? begin + block : s.out_channels};
    const bool last = outputs.end == s.out_channels;
    if (s.first)
      net.kernels->pixels_forward_prepare(shape, weight_bits(net, s), outputs, net.prepared);
    else
      net.kernels->forward_prepare(shape, weight_bits(net, s), outputs, net.prepared);
    net.threads.run(chunk_count(net), [&](int32_t index, int32_t thread) {
      place_chunk(net, s, outputs, chunk_at(net, index), thread);
      if (last) finish_product(net, s, index, thread);
    });
  }
}

}  // namespace harness
