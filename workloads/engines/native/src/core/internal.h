// What the steps share among themselves.
#ifndef HARNESS_INTERNAL_H
#define HARNESS_INTERNAL_H

#include "network.h"

namespace harness {

const char* last_error();
int32_t forward_block(const Network& net, const Stage& s);
int32_t grad_input_block(const Network& net, const Stage& s);
const uint64_t* weight_bits(const Network& net, const Stage& s);

// Y is int16 where the product is one of signs, float16 for the real-valued image, float32 in `standard`.
enum { kInt16 = 100 };
inline int32_t y_type(const Network& net, const Stage& s) {
  if (net.config.gradient == HARNESS_F32) return HARNESS_F32;
  return s.first ? (int32_t)HARNESS_F16 : (int32_t)kInt16;
}
inline size_t y_bytes(const Network& net) { return net.config.gradient == HARNESS_F32 ? 4 : 2; }

// What random numbers are for; each (step, stage, purpose) is a stream of its own.
enum Purpose { kWeightUpdate = 0, kBetaUpdate = 1, kOutputGradient = 2, kInputGradient = 3, kPurposes = 4 };
inline uint64_t stream_of(const Network& net, int32_t stage, Purpose purpose) {
  return (net.steps * kMaxStages + (uint64_t)stage) * kPurposes + (uint64_t)purpose;
}

// pool.cpp. Y of one image in place: its pooled rows come to stand at its beginning.
void pool_image(Network& net, Stage& s, int32_t image, int32_t thread);
// 2-bit codes of pooled row `row` of an image, from whatever the recipe keeps. codes: [width / 2][words]
void pool_codes(const Network& net, const Stage& s, int32_t image, int32_t row, uint64_t* codes);
// Signs of two rows of pixels and their masks to one pooled row each. mask: of the two rows; ste may be nullptr.
void pool_signs(const Stage& s, const uint64_t* signs, const uint64_t* mask, uint64_t* pooled, uint64_t* ste);

// Calls visit(element of Y, row of the normalised batch, rows) over the chunk's normalised rows.
template <typename Visit>
inline void for_y_rows(const Network& net, const Stage& s, Chunk chunk, const Visit& visit) {
  const size_t channels = channels_of(s), stride = s.out_pixels, pixels = s.norm_pixels;
  const size_t spans = stride == pixels ? 1 : (size_t)chunk.images;
  const size_t span_rows = stride == pixels ? (size_t)chunk.images * pixels : pixels;
  for (size_t span = 0; span < spans; span++)
    for_tiles(net, span_rows, channels, [&](size_t row, size_t rows) {
      const size_t image = (size_t)chunk.first + span;
      visit((image * stride + row) * channels, image * pixels + row, rows);
    });
}

}  // namespace harness

#endif
