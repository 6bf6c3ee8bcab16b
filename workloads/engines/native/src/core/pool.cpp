// Max-pooling of Y in place, and its masks in the three forms that recipes keep them in.
#include <cstring>

#include "internal.h"

namespace harness {

namespace {

// Every second bit of a word of 2-bit codes, gathered in the low half.
uint64_t even_bits(uint64_t word) {
  word &= 0x5555555555555555ull;
  word = (word | word >> 1) & 0x3333333333333333ull;
  word = (word | word >> 2) & 0x0f0f0f0f0f0f0f0full;
  word = (word | word >> 4) & 0x00ff00ff00ff00ffull;
  word = (word | word >> 8) & 0x0000ffff0000ffffull;
  return (word | word >> 16) & 0x00000000ffffffffull;
}

// The inverse: the low 32 bits, to every second place.
uint64_t spread_bits(uint64_t word) {
  word &= 0x00000000ffffffffull;
  word = (word | word << 16) & 0x0000ffff0000ffffull;
  word = (word | word << 8) & 0x00ff00ff00ff00ffull;
  word = (word | word << 4) & 0x0f0f0f0f0f0f0f0full;
  word = (word | word << 2) & 0x3333333333333333ull;
  return (word | word << 1) & 0x5555555555555555ull;
}

uint64_t valid_bits(int32_t channels, size_t word) {
  const int32_t left = channels - 64 * (int32_t)word;
  return left >= 64 ? ~0ull : ((uint64_t)1 << left) - 1;
}

// One bit at each of the four places, from 2-bit codes. mask: [4][words]
void codes_to_masks(const uint64_t* codes, int32_t channels, uint64_t* mask) {
  const size_t words = row_words(channels), code_words = row_words(2 * channels);
  for (size_t w = 0; w < words; w++) {
    const uint64_t a = codes[2 * w], b = 2 * w + 1 < code_words ? codes[2 * w + 1] : 0;
    const uint64_t low = even_bits(a) | even_bits(b) << 32, high = even_bits(a >> 1) | even_bits(b >> 1) << 32;
    const uint64_t valid = valid_bits(channels, w);
    mask[w] = ~low & ~high & valid;
    mask[words + w] = low & ~high;
    mask[2 * words + w] = ~low & high;
    mask[3 * words + w] = low & high;
  }
}

void bits_to_codes(uint64_t low, uint64_t high, size_t word, int32_t channels, uint64_t* codes) {
  codes[2 * word] = spread_bits(low) | spread_bits(high) << 1;
  if (2 * word + 1 < row_words(2 * channels)) codes[2 * word + 1] = spread_bits(low >> 32) | spread_bits(high >> 32) << 1;
}

// The first of the largest of four signs: 2 * (its row) + (its column), as two bit planes.
void select_sign(uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t* low, uint64_t* high) {
  const uint64_t none = ~(a | b | c | d), first = a | none;
  const uint64_t second = ~first & b, third = ~first & ~b & c, fourth = ~first & ~b & ~c & d;
  *low = second | fourth;
  *high = third | fourth;
}

void pool_image_i16(Network& net, Stage& s, int32_t image, int32_t thread) {
  const size_t channels = channels_of(s), width = (size_t)s.out_width, row = width * channels;
  const size_t half = width / 2, code_words = row_words(2 * s.out_channels), words = row_words(s.out_channels);
  int16_t* in_place = (int16_t*)net.dx_y + (size_t)image * s.out_pixels * channels;
  const int16_t* y = one_buffer(net) ? (const int16_t*)image_scratch(net, thread) : in_place;
  int16_t* to_rows = one_buffer(net) ? (int16_t*)net.dx_y + (size_t)image * s.pooled_pixels * channels : in_place;
  int16_t* pooled = (int16_t*)tile_of(net, thread, 0);
  uint64_t* codes = (uint64_t*)tile_of(net, thread, 1);
  for (int32_t py = 0; py < s.out_height / 2; py++) {
    const size_t at = (size_t)image * s.pooled_pixels + (size_t)py * half;
    const bool direct = net.config.pool_mask == HARNESS_CODE2;
    uint64_t* to = direct ? (uint64_t*)s.pool_mask + at * code_words : codes;
    net.kernels->max_pool_i16(y + 2 * (size_t)py * row, 1, 2, s.out_width, s.out_channels, pooled, to);
    memcpy(to_rows + (size_t)py * half * channels, pooled, half * channels * sizeof(int16_t));
    for (size_t p = 0; !direct && p < half; p++)
      codes_to_masks(codes + p * code_words, s.out_channels, (uint64_t*)s.pool_mask + (at + p) * 4 * words);
  }
}

void pool_image_f32(Network& net, Stage& s, int32_t image) {
  const size_t channels = channels_of(s), row = (size_t)s.out_width * channels, half = (size_t)s.out_width / 2;
  float* y = (float*)net.dx_y + (size_t)image * s.out_pixels * channels;
  float* mask = (float*)s.pool_mask + (size_t)image * s.out_pixels * channels;
  for (size_t py = 0; py < (size_t)s.out_height / 2; py++)
    net.passes->pool_row_f32(y + 2 * py * row, y + (2 * py + 1) * row, half, channels, 0, y + py * half * channels,
                             mask + 2 * py * row, mask + (2 * py + 1) * row);
}

}  // namespace

void pool_image(Network& net, Stage& s, int32_t image, int32_t thread) {
  if (y_type(net, s) == HARNESS_F32)
    pool_image_f32(net, s, image);
  else
    pool_image_i16(net, s, image, thread);
}

void pool_codes(const Network& net, const Stage& s, int32_t image, int32_t row, uint64_t* codes) {
  const size_t words = row_words(s.out_channels), code_words = row_words(2 * s.out_channels);
  const size_t half = (size_t)s.out_width / 2, at = (size_t)image * s.pooled_pixels + (size_t)row * half;
  if (s.pool == HARNESS_POOL_BEFORE_NORM && net.config.pool_mask == HARNESS_CODE2) {
    memcpy(codes, (const uint64_t*)s.pool_mask + at * code_words, half * code_words * 8);
    return;
  }
  const size_t first = ((size_t)image * s.out_pixels + 2 * (size_t)row * (size_t)s.out_width) * words;
  for (size_t p = 0; p < half; p++, codes += code_words)
    for (size_t w = 0; w < words; w++) {
      uint64_t low, high;
      if (s.pool == HARNESS_POOL_BEFORE_NORM) {
        const uint64_t* mask = (const uint64_t*)s.pool_mask + (at + p) * 4 * words + w;
        low = mask[words] | mask[3 * words], high = mask[2 * words] | mask[3 * words];
      } else {
        const uint64_t* top = (const uint64_t*)s.prepool + first + 2 * p * words + w;
        const uint64_t* bottom = top + (size_t)s.out_width * words;
        select_sign(top[0], top[words], bottom[0], bottom[words], &low, &high);
      }
      bits_to_codes(low & valid_bits(s.out_channels, w), high, w, s.out_channels, codes);
    }
}

void pool_signs(const Stage& s, const uint64_t* signs, const uint64_t* mask, uint64_t* pooled, uint64_t* ste) {
  const size_t words = row_words(s.out_channels), below = (size_t)s.out_width * words;
  for (size_t p = 0; p < (size_t)s.out_width / 2; p++)
    for (size_t w = 0; w < words; w++) {
      const size_t at = 2 * p * words + w;
      const uint64_t a = signs[at], b = signs[at + words], c = signs[at + below], d = signs[at + below + words];
      uint64_t low, high;
      select_sign(a, b, c, d, &low, &high);
      pooled[p * words + w] = a | b | c | d;
      if (!ste) continue;
      const uint64_t top = (mask[at] & ~low) | (mask[at + words] & low);
      const uint64_t bottom = (mask[at + below] & ~low) | (mask[at + below + words] & low);
      ste[p * words + w] = (top & ~high) | (bottom & high);
    }
}

}  // namespace harness
