// What the steps share among themselves.
#ifndef HARNESS_INTERNAL_H
#define HARNESS_INTERNAL_H

#include "network.h"

namespace harness {

inline size_t larger(size_t a, size_t b) { return a > b ? a : b; }
inline size_t round_up(size_t value, size_t multiple) { return (value + multiple - 1) / multiple * multiple; }

const char* last_error();
int32_t forward_block(const Network& net, const Stage& s);
int32_t grad_input_block(const Network& net, const Stage& s);
int32_t images_at_once(const Stage& s);
size_t weight_signs_bytes(const Network& net, const Stage& s);
size_t weight_gradient_bytes(const Network& net, const Stage& s);
int32_t beta_momenta_type(const harness_config& config);
const uint64_t* weight_bits(const Network& net, const Stage& s);
size_t forward_signs_bytes(const Network& net, const Stage& s);
size_t forward_signs_scratch(const Network& net, const Stage& s);
size_t panel_bytes(const Network& net, const Stage& s);
size_t float_scratch(const Network& net);

// Y is int16 where the product is one of signs, float16 for the real-valued image, float32 in `standard`.
enum { kInt16 = 100 };
inline int32_t y_type(const Network& net, const Stage& s) {
  if (net.config.gradient == HARNESS_F32) return HARNESS_F32;
  return s.first ? (int32_t)HARNESS_F16 : (int32_t)kInt16;
}
inline size_t y_bytes(const Network& net) { return net.config.gradient == HARNESS_F32 ? 4 : 2; }

// What random numbers are for; each (step, stage, purpose) is a stream of its own.
enum Purpose { kWeightUpdate = 0, kBetaUpdate = 1, kOutputGradient = 2, kInputGradient = 3, kPurposes = 4 };  // (kInputGradient of stage 0: the logits)
inline uint64_t stream_of(const Network& net, int32_t stage, Purpose purpose) {
  return (net.steps * kMaxStages + (uint64_t)stage) * kPurposes + (uint64_t)purpose;
}

Gradient gradient_of(const Network& net, const void* values);
void unpool_batch(Network& net, Stage& s);           // one buffer: pooled 6-bit gradients to full_y
void input_gradient_shared(Network& net, Stage& s);  // the same: group by group of images, to 8 bits

// `count` float32 values of one image in 8 bits, stochastically rounded, with the image's scale.
void store_scaled(const Network& net, const float* x, size_t count, int32_t image, uint64_t stream, int8_t* to, int32_t thread);

// pool.cpp. Y of one image in place: its pooled rows come to stand at its beginning. With one buffer, Y of the image is
// in the thread's scratch, and only the pooled rows go to the buffer.
void pool_image(Network& net, Stage& s, int32_t image, int32_t thread);
// 2-bit codes of pooled row `row` of an image, from whatever the recipe keeps. codes: [width / 2][words]
void pool_codes(const Network& net, const Stage& s, int32_t image, int32_t row, uint64_t* codes);
// Signs of two rows of pixels and their masks to one pooled row each. mask: of the two rows; ste may be nullptr.
void pool_signs(const Stage& s, const uint64_t* signs, const uint64_t* mask, uint64_t* pooled, uint64_t* ste);

void finish_images(Network& net, Stage& s, Chunk images, float* sums, int32_t thread);
void finish_product(Network& net, Stage& s, int32_t index, int32_t thread);  // the images of a chunk, from sums of 0

// Rows of the channel scratch, on the way forward and on the way back.
enum { kMean = 0, kSlope = 1, kOffset = 2, kSpread = 3, kBeta = 4, kChannelRows = 5 };
enum { kNormSlope = 0, kNormMean = 1, kNormFactor = 2, kNormBeta = 3, kNormWork = 4 };

// float_norm.cpp: the norm of `standard`.
void emit_float(Network& net, Stage& s, Stage* next, const float* slope, const float* offset);
void sum_gradient_float(Network& net, Stage& s, Stage* next);
void norm_gradient_float(Network& net, Stage& s, Stage* next);

// backward.cpp, of the norm of bits. d is what stands for the normalised output: the signs that the next stage retains
// (pooled, where there is a pool), or those before the pool; of the last stage, those of its output.
void load_direction(const Network& net, const Stage& s, const Stage* next, bool before_pool, size_t row, size_t rows, float* d);
// Rows of the gradient of X+ as float32; 8-bit ones by the scale of their image.
void load_gradient(const Network& net, const Stage& s, size_t row, size_t rows, float* g);
// output_gradient.cpp: slope, mean and factor in the channel scratch -> the gradient of Y, in its type and at its place.
void store_output_gradient(Network& net, Stage& s, Stage* next);

// Y of one image of a streamed stage, computed into the thread's scratch.
const void* stream_image(Network& net, Stage& s, int32_t image, int32_t thread);

// Calls visit(Y, element of it, row of the normalised batch, rows) over the chunk's normalised rows.
template <typename Visit>
inline void for_y_rows(Network& net, Stage& s, Chunk chunk, int32_t thread, const Visit& visit) {
  const size_t channels = channels_of(s), pixels = s.norm_pixels, stride = one_buffer(net) ? pixels : s.out_pixels;
  const bool whole = stride == pixels && !s.streamed;
  const size_t spans = whole ? 1 : (size_t)chunk.images, span_rows = whole ? (size_t)chunk.images * pixels : pixels;
  for (size_t span = 0; span < spans; span++) {
    const size_t image = (size_t)chunk.first + span;
    const void* y = s.streamed ? stream_image(net, s, (int32_t)image, thread) : net.dx_y;
    const size_t base = s.streamed ? 0 : image * stride;
    for_tiles(net, span_rows, channels, [&](size_t row, size_t rows) { visit(y, (base + row) * channels, image * pixels + row, rows); });
  }
}

}  // namespace harness

#endif
