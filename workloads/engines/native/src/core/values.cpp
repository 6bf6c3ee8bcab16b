// Stored values to float32 and back, sums over chunks, and the signs of the weights.
#include <cstring>

#include "network.h"

namespace harness {

void load_values(const Network& net, const void* from, int32_t dtype, size_t at, size_t count, float* to) {
  switch (dtype) {
    case HARNESS_F32: memcpy(to, (const float*)from + at, count * sizeof(float)); break;
    case HARNESS_F16: net.kernels->f16_to_f32((const Half*)from + at, count, to); break;
    case HARNESS_I8: net.passes->widen_i8((const int8_t*)from + at, count, 1.0f / 127.0f, to); break;
    default: net.passes->widen_i16((const int16_t*)from + at, count, to); break;
  }
}

void store_values(const Network& net, const float* from, size_t count, int32_t dtype, void* to, size_t at) {
  const Rounding nearest = {};
  if (dtype == HARNESS_F32)
    memcpy((float*)to + at, from, count * sizeof(float));
  else
    net.kernels->f32_to_f16(from, count, nearest, (Half*)to + at);
}

void bound_to_type(float* values, size_t count, int32_t dtype) {
  constexpr float kMost = 65504.0f;
  if (dtype != HARNESS_F16) return;
  for (size_t i = 0; i < count; i++) values[i] = values[i] > kMost ? kMost : values[i] < -kMost ? -kMost : values[i];
}

void reduce_partials(const Network& net, int32_t index, size_t channels, double scale, float* out) {
  enum { kSide = 16 };  // channels side by side; partials are as wide as a multiple of it
  const int32_t chunks = chunk_count(net);
  for (size_t first = 0; first < channels; first += kSide) {
    double sums[kSide] = {};
    for (int32_t chunk = 0; chunk < chunks; chunk++)
      for (size_t i = 0; i < kSide; i++) sums[i] += (double)partial(net, index, chunk)[first + i];
    for (size_t i = 0; i < kSide && first + i < channels; i++) out[first + i] = (float)(sums[i] * scale);
  }
}

float largest_partial(const Network& net, int32_t index) {
  float largest = 0;
  for (int32_t chunk = 0; chunk < chunk_count(net); chunk++) {
    const float value = *partial(net, index, chunk);
    largest = value > largest ? value : largest;
  }
  return largest;
}

// Packs sgn(W) for the products of this stage.
void pack_weight_signs(Network& net, Stage& s) {
  if (net.config.optimizer == HARNESS_BOP) return;
  const size_t rows = weight_rows(s), channels = (size_t)s.in_channels, most = net.tile / channels;
  net.threads.run((int32_t)((rows + most - 1) / most), [&](int32_t unit, int32_t thread) {
    const size_t row = (size_t)unit * most, count = rows - row < most ? rows - row : most;
    uint64_t* bits = (uint64_t*)net.signs + row * row_words(s.in_channels);
    if (net.config.weight == HARNESS_F16) {
      net.kernels->pack_signs_f16((const Half*)s.w + row * channels, count, s.in_channels, bits);
    } else if (net.config.weight == HARNESS_I8) {
      net.kernels->pack_signs_i8((const int8_t*)s.w + row * channels, count, s.in_channels, bits);
    } else {
      net.kernels->pack_signs_f32((const float*)s.w + row * channels, count, s.in_channels, bits);
    }
    (void)thread;
  });
}

const uint64_t* weight_bits(const Network& net, const Stage& s) {
  return net.config.optimizer == HARNESS_BOP ? (const uint64_t*)s.w : (const uint64_t*)net.signs;
}

}  // namespace harness
