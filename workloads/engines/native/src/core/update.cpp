// The optimizers, in units of whole weight rows that fit a tile; latent values and momenta are read to float32, updated,
// and written back with stochastic rounding where they are stored in less.
//
// Units of the gradient: one bit stands for +-1 and means +-1 / sqrt(N) (Wang et al. 2023); that factor is folded into
// step and epsilon and never multiplied in, so that momenta live near 1 and float16 loses nothing. Adam's second
// moment is kept as its square root in float16, for the same reason.
#include <cmath>

#include "internal.h"

namespace harness {

namespace {

enum { kWeightBits = 0, kSecondBits = 8, kFirstBits = 16 };  // which bits of a random word round what

// One tensor to be trained.
struct Slot {
  void* values;
  int32_t dtype;
  void* momenta;
  size_t elements;
  int32_t stage, is_beta;  // which random numbers are its own
  int32_t border;
  int32_t momenta_dtype;
  bool clips, second, bop;
  float attenuation;  // x stored gradient = gradient of the loss
};

// What one step multiplies with. For Bop `rate` is the share of the gradient in the momentum.
struct Step {
  float rate, epsilon;
};

Step step_of(const Network& net, const Slot& slot, float given_rate) {
  const harness_config& c = net.config;
  const float learning_rate = given_rate * (slot.is_beta ? c.beta_rate : c.weight_rate);
  if (slot.bop) return {learning_rate, 0};
  const double steps = (double)net.steps, first = 1.0 - pow((double)c.beta1, steps), second = sqrt(1.0 - pow((double)c.beta2, steps));
  if (slot.second) return {(float)(learning_rate * second / first), (float)(c.epsilon / slot.attenuation * second)};
  if (c.optimizer == HARNESS_SGD) return {(float)(learning_rate * slot.attenuation / (1.0 - c.decay)), 0};
  return {(float)(learning_rate / first), 0};  // Adam of a gradient of one magnitude: the root is that magnitude
}

// One 32-bit word an element serves all three tensors: each takes other 16 bits of it.
const uint32_t* draw_words(const Network& net, const Slot& slot, uint64_t index, size_t count, int32_t thread) {
  uint32_t* words = (uint32_t*)tile_of(net, thread, 4);
  net.passes->random_words(net.config.seed, stream_of(net, slot.stage, slot.is_beta ? kBetaUpdate : kWeightUpdate), index, count, words);
  return words;
}

void store_rounded(const Network& net, const float* from, size_t count, const uint32_t* words, int32_t shift, int32_t dtype, void* to, size_t at) {
  if (dtype == HARNESS_I8)
    net.passes->round_i8(from, count, 127.0f, 127.0f, words, shift, (int8_t*)to + at);
  else if (dtype == HARNESS_F16)
    net.passes->round_f16(from, count, words, shift, (Half*)to + at);
  else
    store_values(net, from, count, dtype, to, at);
}

bool rounds(const Network& net, const Slot& slot) { return slot.dtype != HARNESS_F32 || net.config.momentum != HARNESS_F32; }

// Updates `count` elements at `at`; g (float32) is in tile 3, w in tile 0 already.
void update_values(Network& net, const Slot& slot, const Step& step, size_t at, size_t count, const uint32_t* words, int32_t thread) {
  const harness_config& c = net.config;
  float *w = tile_of(net, thread, 0), *m = tile_of(net, thread, 1), *s = tile_of(net, thread, 2), *g = tile_of(net, thread, 3);
  load_values(net, slot.momenta, slot.momenta_dtype, at, count, m);
  if (slot.border) net.passes->cancel(w, count, slot.border, g);
  if (slot.second) {
    load_values(net, slot.momenta, slot.momenta_dtype, slot.elements + at, count, s);
    net.passes->adam(w, m, s, g, count, 1.0f - c.beta1, c.beta2, slot.momenta_dtype != HARNESS_F32, step.rate, step.epsilon);
    store_rounded(net, s, count, words, kSecondBits, slot.momenta_dtype, slot.momenta, slot.elements + at);
  } else if (slot.bop) {
    net.passes->bop(w, m, g, count, step.rate, c.bop_threshold);
  } else {
    net.passes->momentum(w, m, g, count, c.optimizer == HARNESS_SGD ? 1.0f - c.decay : 1.0f - c.beta1, step.rate);
  }
  if (slot.clips) net.passes->clip(w, count);
  store_rounded(net, m, count, words, kFirstBits, slot.momenta_dtype, slot.momenta, at);
}

Slot weight_slot(const Network& net, const Stage& s, int32_t index) {
  const harness_config& c = net.config;
  const bool signs = c.weight_gradient == HARNESS_BIT, bop = c.optimizer == HARNESS_BOP;
  Slot slot = {s.w, bop ? (int32_t)HARNESS_BIT : c.weight, s.momenta, s.weights, index, 0, 0, c.momentum, false, false, bop, 1.0f};
  slot.clips = !bop && c.border == HARNESS_BORDER_CLIP;
  if (!bop && c.second_moment) slot.border = slot.clips ? 2 : 1;
  slot.second = c.optimizer == HARNESS_ADAM && c.second_moment;
  slot.attenuation = signs ? 1.0f / sqrtf((float)s.fan_in) : 1.0f;
  return slot;
}

void update_weights(Network& net, Stage& s, int32_t index, float learning_rate) {
  const Slot slot = weight_slot(net, s, index);
  const Step step = step_of(net, slot, learning_rate);
  const size_t rows = weight_rows(s), channels = (size_t)s.in_channels, most = net.tile / channels, bit_words = row_words(s.in_channels);
  net.threads.run((int32_t)((rows + most - 1) / most), [&](int32_t unit, int32_t thread) {
    const size_t row = (size_t)unit * most, taken = rows - row < most ? rows - row : most, at = row * channels, count = taken * channels;
    const uint32_t* words = rounds(net, slot) ? draw_words(net, slot, (uint64_t)unit * net.tile, count, thread) : nullptr;
    float *w = tile_of(net, thread, 0), *g = tile_of(net, thread, 3);
    if (net.config.weight_gradient == HARNESS_BIT)
      net.kernels->unpack_signs_f32((const uint64_t*)s.dw + row * bit_words, taken, s.in_channels, g);
    else
      load_values(net, s.dw, net.config.weight_gradient, at, count, g);
    if (slot.bop)
      net.kernels->unpack_signs_f32((const uint64_t*)s.w + row * bit_words, taken, s.in_channels, w);
    else
      load_values(net, s.w, slot.dtype, at, count, w);
    update_values(net, slot, step, at, count, words, thread);
    if (slot.bop)
      net.kernels->pack_signs_f32(w, taken, s.in_channels, (uint64_t*)s.w + row * bit_words);
    else
      store_rounded(net, w, count, words, kWeightBits, slot.dtype, s.w, at);
  });
}

void update_beta(Network& net, Stage& s, int32_t index, float learning_rate) {
  const harness_config& c = net.config;
  const float mean = c.gradient == HARNESS_F32 ? 1.0f : 1.0f / (float)net.items;
  // Bop flips weights and leaves beta to Adam (Helwegen et al. 2019, section 4).
  const Slot slot = {s.beta, c.statistic, s.beta_momenta, channels_of(s), index, 1, 0, beta_momenta_type(c), false, c.optimizer != HARNESS_SGD, false, mean};
  load_values(net, s.beta, c.statistic, 0, slot.elements, tile_of(net, 0, 0));
  load_values(net, s.beta, c.statistic, slot.elements, slot.elements, tile_of(net, 0, 3));
  const uint32_t* words = rounds(net, slot) ? draw_words(net, slot, 0, slot.elements, 0) : nullptr;
  update_values(net, slot, step_of(net, slot, learning_rate), 0, slot.elements, words, 0);
  bound_to_type(tile_of(net, 0, 0), slot.elements, c.statistic);
  store_rounded(net, tile_of(net, 0, 0), slot.elements, words, kWeightBits, c.statistic, s.beta, 0);
}

// splitmix64 (Steele, Lea, Flood 2014) of a counter: a uniform number in [0, 1).
float uniform(uint64_t seed, uint64_t counter) {
  uint64_t z = seed + 0x9E3779B97F4A7C15ull * (counter + 1);
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ z >> 27) * 0x94D049BB133111EBull;
  return (float)((z ^ z >> 31) >> 40) * (1.0f / 16777216.0f);
}

}  // namespace

void update_stage(Network& net, Stage& s, int32_t index, float learning_rate) {
  update_weights(net, s, index, learning_rate);
  update_beta(net, s, index, learning_rate);
}

// Uniform in +-sqrt(6 / (fan-in + outputs)) (Glorot and Bengio 2010).
void draw_weights(Network& net, Stage& s, int32_t index) {
  const Slot slot = weight_slot(net, s, index);
  const float bound = sqrtf(6.0f / (float)(s.fan_in + channels_of(s)));
  const size_t rows = weight_rows(s), channels = (size_t)s.in_channels, most = net.tile / channels;
  net.threads.run((int32_t)((rows + most - 1) / most), [&](int32_t unit, int32_t thread) {
    const size_t row = (size_t)unit * most, taken = rows - row < most ? rows - row : most, count = taken * channels;
    float* w = tile_of(net, thread, 0);
    for (size_t i = 0; i < count; i++)
      w[i] = bound * (2.0f * uniform(net.config.seed, ((uint64_t)index << 40) + row * channels + i) - 1.0f);
    if (slot.bop)
      net.kernels->pack_signs_f32(w, taken, s.in_channels, (uint64_t*)s.w + row * row_words(s.in_channels));
    else
      store_rounded(net, w, count, draw_words(net, slot, (uint64_t)unit * net.tile, count, thread), kWeightBits, slot.dtype, s.w, row * channels);
  });
  for (size_t c = 0; c < channels_of(s); c++) s.moving[channels_of(s) + c] = 1.0f;
}

}  // namespace harness
