// A network in training as the core sees it: stages with pointers into one arena.
#ifndef HARNESS_NETWORK_H
#define HARNESS_NETWORK_H

#include "../kernels.h"
#include "core.h"
#include "passes.h"
#include "threads.h"

namespace harness {

enum {
  kMaxStages = 64,
  kChunks = 16,        // a batch is cut in so many chunks of images, whatever the number of threads
  kTileFloats = 2048,  // values that a pass works on at a time, in float32
  kTiles = 5,          // tiles a thread has
  kBlockRows = 256,    // of a float32 product, at a time
};
constexpr size_t kPreparedBytes = 1 << 20;  // weights laid out for a kernel, at a time
constexpr size_t kPanelBytes = 4 << 20;     // weights laid out in float32, at a time
constexpr float kEpsilon = 1e-5f;           // in sigma
constexpr float kWithinClip = 0.48f;        // mean |X+| where |X+| <= 1: 0.474 for beta 0, 0.5 for a large one
constexpr float kMostDeviations = 8.0f;     // of the gradient of Y, that 6 bits reach to
constexpr float kPsiFloor = 1.0f / 256;     // least psi: a constant channel has psi 0
// Share of a new batch in the moving averages: of 100 items at the full rate, and at least; schedule.py says why.
constexpr float kFullShare = 0.2f, kLeastShare = 0.01f;

// What one stage is. Pointers are set by bind(); types are those of the configuration.
struct Stage {
  int32_t in_channels, in_height, in_width, out_channels, out_height, out_width, kernel, padding, pool;
  bool first, last;
  bool streamed;     // Y is computed image by image for every pass over it, and never stored
  size_t in_pixels, out_pixels, pooled_pixels, norm_pixels;  // of one image
  size_t weights;    // elements
  size_t fan_in;
  void* x;
  void* prepool;
  uint64_t* ste;
  void* pool_mask;
  void* statistics;
  float* moving;
  void* beta;
  void* w;
  void* dw;
  void* momenta;
  void* beta_momenta;
};

// One chunk of a batch.
struct Chunk {
  int32_t first, images;
};

struct Network {
  harness_config config;
  Stage stages[kMaxStages];
  const Kernels* kernels;
  const Passes* passes;
  Threads threads;
  uint8_t* arena;
  uint64_t arena_bytes;
  harness_variable* variables;
  int32_t variable_count;

  uint8_t* pixels;  // HARNESS_INPUT, NHWC
  void* logits;
  void* dx_y;
  void* dy;
  void* signs;
  void* prepared;
  float* partials;  // [3][kChunks][widest]
  float* channels;  // [kChannelRows][widest]
  float* scales;
  uint8_t* thread_scratch;
  size_t dx_y_bytes;
  size_t thread_bytes, kernel_bytes;
  int32_t widest;   // out_channels of the widest stage
  size_t tile;      // floats of a tile

  // Where the gradients of the stage under way lie; place_gradients() sets them.
  void* g;        // of X+
  void* grad_y;   // of Y, in the recipe's type; pooled where one buffer holds it and the pool stands before the norm
  void* full_y;   // the same at full resolution
  void* grad_x;   // of X
  bool g_is_high; // at which end of the one buffer g lies

  int32_t items;    // of the current batch
  uint64_t steps;   // updates begun
  double gradient_scale;  // stored gradient = this x gradient of the summed loss
  float inverse_step;     // of the current gradient of Y: integers = values x this
  uint64_t batches_seen;  // in the moving averages
  float last_rate, largest_rate;  // learning rates of the steps so far
  bool recalibrating;
  uint64_t items_averaged;  // by a recalibration so far; its last batch may be short
  const uint8_t* labels;
};

// ---- describe.cpp and plan.cpp: shapes, sizes, places
bool describe(const harness_config& config, Network& net);       // stages and shapes; false: set_error
uint64_t variable_bytes(const Network& net, int32_t role, int32_t stage);  // 0: not needed
uint64_t scratch_bytes(const Network& net, int32_t role);
bool bind(Network& net);  // pointers from the variables

// ---- helpers
void set_error(const char* format, ...) __attribute__((format(printf, 1, 2)));
size_t type_bytes(int32_t dtype, size_t elements);

inline ConvShape shape_of(const Stage& s, int32_t images) {
  return {images, s.in_height, s.in_width, s.in_channels, s.out_channels, s.kernel, s.padding, 1};
}
inline size_t channels_of(const Stage& s) { return (size_t)s.out_channels; }
inline size_t row_words(int32_t channels) { return (size_t)words_for(channels); }
inline size_t weight_rows(const Stage& s) { return (size_t)s.out_channels * (size_t)(s.kernel * s.kernel); }
inline bool one_buffer(const Network& net) { return net.config.single_buffer != 0; }
inline bool bits_kept(const Network& net) { return net.config.activation == HARNESS_BIT; }
// The output of the last stage is no input of another: it is retained as real numbers, and the norm's way back is exact.
inline int32_t logits_type(const Network& net) { return bits_kept(net) ? (int32_t)HARNESS_F16 : net.config.activation; }
inline bool norm_by_sign(const Network& net, const Stage& s) { return net.config.norm != HARNESS_NORM_L2 && !s.last; }

inline int32_t chunk_count(const Network& net) {
  const int32_t each = (net.items + kChunks - 1) / kChunks;
  return (net.items + each - 1) / each;
}
inline Chunk chunk_at(const Network& net, int32_t index) {
  const int32_t each = (net.items + kChunks - 1) / kChunks, first = index * each;
  return {first, net.items - first < each ? net.items - first : each};
}

inline uint8_t* scratch_of(const Network& net, int32_t thread) { return net.thread_scratch + (size_t)thread * net.thread_bytes; }
inline float* tile_of(const Network& net, int32_t thread, int32_t index) {
  return (float*)scratch_of(net, thread) + (size_t)index * net.tile;
}
inline void* kernel_scratch(const Network& net, int32_t thread) {
  return scratch_of(net, thread) + kTiles * net.tile * sizeof(float);
}
// Room for whole images of one thread: Y before its pool, or gradients before they are rounded.
inline uint8_t* image_scratch(const Network& net, int32_t thread) { return (uint8_t*)kernel_scratch(net, thread) + net.kernel_bytes; }
inline float* partial(const Network& net, int32_t index, int32_t chunk) {
  return net.partials + ((size_t)index * kChunks + (size_t)chunk) * (size_t)net.widest;
}
inline float* channel_values(const Network& net, int32_t index) { return net.channels + (size_t)index * (size_t)net.widest; }

// Calls visit(row, rows) over `total` rows of `channels` values, as many at a time as a tile holds.
template <typename Visit>
inline void for_tiles(const Network& net, size_t total, size_t channels, const Visit& visit) {
  const size_t most = net.tile / channels;
  for (size_t row = 0; row < total; row += most) visit(row, total - row < most ? total - row : most);
}

// `count` values of a stored type to float32 at `to`, and (store_values) back, rounded to nearest.
void load_values(const Network& net, const void* from, int32_t dtype, size_t at, size_t count, float* to);
// The same, but float32 values are left where they are: `to`, or their own place.
inline const float* view_values(const Network& net, const void* from, int32_t dtype, size_t at, size_t count, float* to) {
  if (dtype == HARNESS_F32) return (const float*)from + at;
  load_values(net, from, dtype, at, count, to);
  return to;
}
void store_values(const Network& net, const float* from, size_t count, int32_t dtype, void* to, size_t at);
// Keeps what a training that diverges has of beta and its gradient from becoming infinite, and what is made of it no number.
void bound_to_type(float* values, size_t count, int32_t dtype);
// Sums of the partials of every chunk, in order.
void reduce_partials(const Network& net, int32_t index, size_t channels, double scale, float* out);
float largest_partial(const Network& net, int32_t index);  // of their first values

// ---- steps, each over one stage
void pack_weight_signs(Network& net, Stage& s);
void forward_product(Network& net, Stage& s);            // Y into dx_y, pooled before the norm; partial 0: sums of Y
void forward_product_float(Network& net, Stage& s);      // of float32 pixels
void forward_product_signs(Network& net, Stage& s);      // of the signs of float32 values
void normalise(Network& net, Stage& s, Stage* next);     // training statistics; retains what the recipe retains
void normalise_moving(Network& net, Stage& s, Stage* next);
float loss_and_gradient(Network& net, const uint8_t* labels);  // leaves the logits' gradient in dx_y, g
int32_t count_correct(Network& net, const uint8_t* labels);
void place_forward(Network& net, Stage& s);
void place_gradients(Network& net, Stage& s);
void norm_backward(Network& net, Stage& s, Stage* next);  // g -> beta's gradient, grad_y
void weight_gradient(Network& net, Stage& s);
void input_gradient(Network& net, Stage& s);
void weight_gradient_float(Network& net, Stage& s);
void input_gradient_float(Network& net, Stage& s);
void update_stage(Network& net, Stage& s, int32_t index, float learning_rate);
void draw_weights(Network& net, Stage& s, int32_t index);

}  // namespace harness

#endif
