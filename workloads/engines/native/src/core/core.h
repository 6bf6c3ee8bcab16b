// The C face of the trainer: a network in training, described by flat structs, in one arena.
//
// The caller plans the memory: it lists every variable with its place in the arena, and the core
// refuses a list that is not exactly what it needs (see plan.py, which lists the memory model's).
// Every function that can fail returns 0 on success; harness_core_error() then says what was wrong.
#ifndef HARNESS_CORE_H
#define HARNESS_CORE_H

#include <stdint.h>

#define HARNESS_CORE_ABI 6

#ifdef __cplusplus
extern "C" {
#endif

enum harness_dtype {
  HARNESS_F32 = 0, HARNESS_F16 = 1, HARNESS_I8 = 2, HARNESS_U8 = 3,
  HARNESS_CODE2 = 4, HARNESS_INT6 = 5, HARNESS_BIT = 6,
};
enum harness_pool { HARNESS_POOL_NONE = 0, HARNESS_POOL_BEFORE_NORM = 1, HARNESS_POOL_AFTER_SIGN = 2 };
enum harness_norm { HARNESS_NORM_L2 = 0, HARNESS_NORM_L1_SIGN = 1, HARNESS_NORM_L1_SIGN_CENTRED = 2 };
enum harness_ste { HARNESS_STE_NONE = 0, HARNESS_STE_KEPT = 1, HARNESS_STE_DERIVED = 2 };
enum harness_border { HARNESS_BORDER_CANCEL = 0, HARNESS_BORDER_CLIP = 1 };
enum harness_optimizer { HARNESS_ADAM = 0, HARNESS_SGD = 1, HARNESS_BOP = 2 };

// What a variable is for. [] gives its elements; C are the stage's output channels, K its fan-in.
enum harness_role {
  HARNESS_INPUT = 0,       // uint8 [batch][height][width][channels]
  HARNESS_X,               // retained input of a stage: bits or float32; of stage 0 float32 pixels
  HARNESS_X_PREPOOL,       // signs (or reals) before a pool that stands after the sign
  HARNESS_LOGITS,          // retained output of the last stage
  HARNESS_STE_MASK,        // |X| <= 1, bits as X
  HARNESS_POOL_MASK,       // float32, bits or 2-bit codes
  HARNESS_STATISTICS,      // mu, psi or sigma, [omega]: [2 or 3][C]
  HARNESS_MOVING,          // float32 mu, psi or sigma squared: [2][C]
  HARNESS_BETA,            // beta, its gradient: [2][C]
  HARNESS_WEIGHTS,         // [C][taps][in]
  HARNESS_WEIGHT_GRADIENT, // as the weights; bits in rows of 64-bit words
  HARNESS_MOMENTA,         // [momenta][C][taps][in]
  HARNESS_BETA_MOMENTA,    // [momenta][C]
  HARNESS_DX_Y,            // transient: Y, then the gradient of X+ and X; with one buffer,
                           // also that of Y and W, and the signs and prepared weights of the stage under way
  HARNESS_DY,              // transient: the gradient of Y
  HARNESS_SCRATCH_SIGNS,   // sgn(W) of one stage as the products read it
  HARNESS_SCRATCH_PREPARED,// a block of weights laid out for a kernel
  HARNESS_SCRATCH_PARTIALS,// sums over chunks of the batch
  HARNESS_SCRATCH_CHANNELS,// per-channel working values
  HARNESS_SCRATCH_SCALES,  // float32 [batch]: what one step of an 8-bit gradient of X stands for, by image
  HARNESS_SCRATCH_THREADS, // tiles and kernel scratch of every thread
  HARNESS_ROLES,
};

typedef struct harness_stage {
  int32_t in_channels, in_height, in_width;  // a dense stage has height and width 1
  int32_t out_channels, kernel, padding;
  int32_t pool;
} harness_stage;

typedef struct harness_config {
  int32_t stage_count, batch, threads;
  int32_t activation, norm, ste_mask;
  int32_t gradient, output_gradient, weight, weight_gradient, momentum, statistic, pool_mask, image;
  int32_t optimizer, second_moment, border, single_buffer;
  float beta1, beta2, epsilon, decay, weight_rate, beta_rate, bop_threshold;  // the rates are factors on the learning rate
  uint64_t seed;
  const harness_stage* stages;
} harness_config;

typedef struct harness_variable {
  int32_t role, stage;  // stage -1: shared by all
  uint64_t offset, bytes;
} harness_variable;

typedef struct harness_core harness_core;

int32_t harness_core_abi(void);
const char* harness_core_error(void);
// compiler, flags, build_type, float32_product (what multiplies real numbers): one line each, "key=value"; the
// instruction set is chosen at load.
const char* harness_core_facts(void);

// Fills `out` with the scratch this configuration needs here (with one buffer, that buffer too); returns how many, or -1.
int32_t harness_core_scratch(const harness_config* config, harness_variable* out, int32_t capacity);
// Checks configuration and variables, allocates nothing but the description. NULL: see the error.
harness_core* harness_core_create(const harness_config* config, const harness_variable* variables,
                                  int32_t count, uint64_t arena_bytes);
// Maps the arena, starts the threads, draws the initial weights. 2: the memory was refused.
int32_t harness_core_set_up(harness_core* core);
// Pixels: uint8 [batch][channels][height][width] (of `items` in evaluation); labels: uint8.
int32_t harness_core_forward(harness_core* core, const uint8_t* images, const uint8_t* labels, float* loss);
// With one buffer the update happens here, with this learning rate, and `update` does nothing.
int32_t harness_core_backward(harness_core* core, float learning_rate);
int32_t harness_core_update(harness_core* core, float learning_rate);
int32_t harness_core_evaluate(harness_core* core, const uint8_t* images, const uint8_t* labels, int32_t items,
                              int32_t* correct);
int32_t harness_core_recalibrate_begin(harness_core* core);
int32_t harness_core_recalibrate(harness_core* core, const uint8_t* images, int32_t items);
// What a training remembers beside its arena, three words: updates begun, batches in the moving averages, the bits of
// the last and of the largest learning rate. Noise is a function of the seed and of the updates begun, so a core that
// resumes with them and with the variables' bytes continues bit for bit.
void harness_core_counters(const harness_core* core, uint64_t* out);
void harness_core_resume(harness_core* core, const uint64_t* counters);
// Address of the arena, for the ledger's map, for checkpoints and for tests.
uint8_t* harness_core_arena(harness_core* core);
void harness_core_destroy(harness_core* core);

// What the data path does for every item of every batch, bit for bit as workloads/datasets (see items.h). These need no
// network and keep nothing.

// The items at `taken` positions from `start` on of a shuffled order of `count` items (shuffle.py), by its six tables.
void harness_items_order(const uint16_t* const* tables, int32_t right_bits, int64_t count, int64_t start, int32_t taken, int64_t* items);

// A column of open files: item k lies in the last part whose start is not above k, at its offset + k * stride.
typedef struct harness_column {
  const int32_t* files;
  const int64_t *offsets, *starts;
  int32_t parts;
  int64_t stride, item_bytes;
} harness_column;

// Reads items one after another and returns how many, fewer where one came short (errno 0) or failed.
int32_t harness_items_read(const harness_column* column, const int64_t* items, int32_t count, uint8_t* to);

// Noise of sources.py: a block of 65,536 bytes, and the key from which an item's bits are drawn.
typedef struct harness_noise {
  const uint8_t* block;
  uint64_t key;
  int64_t image_bytes;
  int32_t classes, label_bytes;
} harness_noise;

void harness_items_noise(const harness_noise* noise, const int64_t* items, int32_t count, uint8_t* images, uint8_t* labels);

// Shifts and mirrors of augment.py: the key of an epoch, what an image is, how far it is shifted at most; `row` is room
// for one row.
typedef struct harness_moves {
  uint64_t key;
  uint8_t* row;
  int32_t channels, height, width, max_dx, max_dy, flips;
} harness_moves;

void harness_items_move(const harness_moves* moves, const int64_t* items, int32_t count, uint8_t* images);

#ifdef __cplusplus
}
#endif
#endif
