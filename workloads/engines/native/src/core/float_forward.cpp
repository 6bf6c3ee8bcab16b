// Y of `standard` beyond its first stage: the product of packed signs, widened to float32. A sum of signs is an integer
// below 2^24, which float32 holds, so this is the float32 product to the last bit, in whatever order that was summed.
#include <cstring>

#include "internal.h"

namespace harness {

namespace {

// X of so many images is packed at a time: a dense layer's are few words each, and want company.
enum { kGroupBytes = 1 << 15 };

size_t image_words(const Stage& s) { return s.in_pixels * row_words(s.in_channels); }

int32_t group_images(const Network& net, const Stage& s) {
  const size_t fitting = kGroupBytes / 8 / image_words(s), most = ((size_t)net.config.batch + kChunks - 1) / kChunks;
  return (int32_t)(fitting < 1 ? 1 : fitting < most ? fitting : most);
}

size_t group_bytes(const Network& net, const Stage& s) { return round_up(8 * image_words(s) * (size_t)group_images(net, s), 64); }
size_t weight_bits_bytes(const Stage& s) { return round_up(8 * weight_rows(s) * row_words(s.in_channels), 64); }
void* prepared_weights(const Network& net, const Stage& s) { return (uint8_t*)net.signs + weight_bits_bytes(s); }

// `count` integers, the last of which end where the last of as many floats at y will: a tile is read before it is overwritten.
void widen_in_place(const Network& net, float* y, size_t count, int32_t thread) {
  const int16_t* integers = (const int16_t*)y + count;
  float* tile = tile_of(net, thread, 0);
  for (size_t done = 0; done < count; done += net.tile) {
    const size_t taken = count - done < net.tile ? count - done : net.tile;
    load_values(net, integers, kInt16, done, taken, tile);
    store_values(net, tile, taken, HARNESS_F32, y, done);
  }
}

void multiply_group(Network& net, Stage& s, Chunk group, int32_t thread) {
  uint64_t* bits = (uint64_t*)kernel_scratch(net, thread);
  const size_t first = (size_t)group.first, images = (size_t)group.images, count = images * s.out_pixels * channels_of(s);
  const float* x = (const float*)s.x + first * s.in_pixels * (size_t)s.in_channels;
  float* y = (float*)net.dx_y + first * s.out_pixels * channels_of(s);
  net.kernels->pack_signs_f32(x, images * s.in_pixels, s.in_channels, bits);
  net.kernels->forward(shape_of(s, group.images), bits, prepared_weights(net, s), {0, s.out_channels}, (int16_t*)y + count,
                       (uint8_t*)bits + group_bytes(net, s));
  widen_in_place(net, y, count, thread);
}

}  // namespace

// Of the scratch of the stage's signs, and of a thread's.
size_t forward_signs_bytes(const Network& net, const Stage& s) {
  return weight_bits_bytes(s) + net.kernels->forward_prepared_bytes(shape_of(s, net.config.batch), {0, s.out_channels});
}
size_t forward_signs_scratch(const Network& net, const Stage& s) {
  return group_bytes(net, s) + net.kernels->forward_scratch_bytes(shape_of(s, group_images(net, s)));
}

void forward_product_signs(Network& net, Stage& s) {
  pack_weight_signs(net, s);
  net.kernels->forward_prepare(shape_of(s, net.items), weight_bits(net, s), {0, s.out_channels}, prepared_weights(net, s));
  const int32_t most = group_images(net, s);
  net.threads.run(chunk_count(net), [&](int32_t index, int32_t thread) {
    const Chunk chunk = chunk_at(net, index);
    const int32_t end = chunk.first + chunk.images;
    float* sums = partial(net, 0, index);
    memset(sums, 0, channels_of(s) * sizeof(float));
    for (int32_t image = chunk.first; image < end; image += most) {
      const Chunk group = {image, end - image < most ? end - image : most};
      multiply_group(net, s, group, thread);
      finish_images(net, s, group, sums, thread);  // while the cache holds Y
    }
  });
}

}  // namespace harness
