// The bytes of every variable that a configuration needs, and the pointers into the arena.
#include "internal.h"

namespace harness {

int32_t beta_momenta_type(const harness_config& config) { return config.momentum == HARNESS_I8 ? config.statistic : config.momentum; }

size_t type_bytes(int32_t dtype, size_t elements) {
  static const uint8_t bits[] = {32, 16, 8, 8, 2, 8, 1};
  return (elements * bits[dtype] + 7) / 8;
}

// Rows of `channels` values of a type; bits fill up whole 64-bit words a row.
static size_t rows_bytes(int32_t dtype, size_t rows, size_t channels) {
  if (dtype == HARNESS_BIT) return rows * row_words((int32_t)channels) * 8;
  if (dtype == HARNESS_CODE2) return rows * row_words((int32_t)(2 * channels)) * 8;
  return type_bytes(dtype, rows * channels);
}

static size_t pool_mask_bytes(const Network& net, const Stage& s, size_t batch) {
  if (!s.pool || (s.pool == HARNESS_POOL_AFTER_SIGN && bits_kept(net))) return 0;
  const size_t pixels = net.config.pool_mask == HARNESS_CODE2 ? s.pooled_pixels : s.out_pixels;
  return rows_bytes(net.config.pool_mask, batch * pixels, channels_of(s));
}

// The largest number of channels, a multiple of 64 or all, whose prepared weights fit the block.
template <typename Bytes>
static int32_t block_of(int32_t channels, const Bytes& bytes) {
  int32_t block = channels;
  while (block > 64 && bytes(Range{0, block}) > kPreparedBytes) block = (int32_t)round_up((size_t)(block + 1) / 2, 64);
  return block;
}

// Fused pooling and 8-bit gradients need all channels of a row at once, so there is one block then.
int32_t forward_block(const Network& net, const Stage& s) {
  if (one_buffer(net)) return s.out_channels;
  const ConvShape shape = shape_of(s, net.config.batch);
  return block_of(s.out_channels, [&](Range range) {
    return s.first ? net.kernels->pixels_forward_prepared_bytes(shape, range) : net.kernels->forward_prepared_bytes(shape, range);
  });
}

int32_t grad_input_block(const Network& net, const Stage& s) {
  if (one_buffer(net)) return s.in_channels;
  const ConvShape shape = shape_of(s, net.config.batch);
  return block_of(s.in_channels, [&](Range range) { return net.kernels->grad_input_prepared_bytes(shape, range); });
}

static size_t prepared_bytes(const Network& net, const Stage& s) {
  const ConvShape shape = shape_of(s, net.config.batch);
  const Range outputs = {0, forward_block(net, s)};
  if (s.first) return net.kernels->pixels_forward_prepared_bytes(shape, outputs);
  const Range inputs = {0, grad_input_block(net, s)};
  return larger(net.kernels->forward_prepared_bytes(shape, outputs), net.kernels->grad_input_prepared_bytes(shape, inputs));
}

size_t weight_signs_bytes(const Network& net, const Stage& s) {
  return net.config.optimizer == HARNESS_BOP ? 0 : round_up(rows_bytes(HARNESS_BIT, weight_rows(s), (size_t)s.in_channels), 64);
}

size_t weight_gradient_bytes(const Network& net, const Stage& s) {
  return round_up(rows_bytes(net.config.weight_gradient, weight_rows(s), (size_t)s.in_channels), 64);
}

// What lies between the two ends of the one buffer.
static size_t between_bytes(const Network& net, const Stage& s) {
  return weight_gradient_bytes(net, s) + weight_signs_bytes(net, s) + round_up(prepared_bytes(net, s), 64);
}

// What one stage needs of the one buffer: see shared_buffer_bytes() in memory_model.py; and its signs and prepared weights.
static size_t shared_bytes(const Network& net, const Stage& s, size_t batch) {
  const size_t channels = channels_of(s), forward = s.streamed ? 0 : 2 * s.norm_pixels * channels * batch;
  const size_t result = round_up(s.pooled_pixels * channels * batch, 64), outputs = round_up(s.out_pixels * channels * batch, 64);
  const size_t inputs = s.first ? 0 : round_up(s.in_pixels * (size_t)s.in_channels * batch, 64);
  size_t backward = result + inputs + between_bytes(net, s);
  if (s.pool == HARNESS_POOL_AFTER_SIGN) backward = outputs + larger(result, inputs) + between_bytes(net, s);
  if (s.pool == HARNESS_POOL_BEFORE_NORM) backward = result + larger(outputs, inputs) + between_bytes(net, s);
  return larger(round_up(forward, 64) + between_bytes(net, s), backward);
}

static uint64_t transient_bytes(const Network& net, int32_t role) {
  size_t bytes = 0;
  const harness_config& c = net.config;
  const size_t batch = (size_t)c.batch;
  for (int32_t i = 0; i < c.stage_count; i++) {
    const Stage& s = net.stages[i];
    const size_t outputs = batch * s.out_pixels * channels_of(s), inputs = batch * s.in_pixels * (size_t)s.in_channels;
    if (one_buffer(net)) {
      if (role == HARNESS_DX_Y) bytes = larger(bytes, shared_bytes(net, s, batch));
      continue;
    }
    if (role == HARNESS_DX_Y) bytes = larger(bytes, type_bytes(c.gradient, i > 0 ? larger(outputs, inputs) : outputs));
    if (role == HARNESS_DY) bytes = larger(bytes, type_bytes(c.output_gradient, outputs));
  }
  return bytes;
}

uint64_t variable_bytes(const Network& net, int32_t role, int32_t stage) {
  const harness_config& c = net.config;
  const size_t batch = (size_t)c.batch;
  const bool shared = role == HARNESS_DX_Y || role == HARNESS_DY || (role == HARNESS_WEIGHT_GRADIENT && one_buffer(net));
  if (shared) return stage < 0 ? transient_bytes(net, role) : 0;
  if (role >= HARNESS_SCRATCH_SIGNS) return stage < 0 ? scratch_bytes(net, role) : 0;
  if (stage < 0) return 0;
  const Stage& s = net.stages[stage];
  const size_t channels = channels_of(s), inputs = s.in_pixels * batch;
  const bool latent = c.optimizer != HARNESS_BOP;
  const size_t momenta = c.optimizer == HARNESS_ADAM && c.second_moment ? 2 : 1;
  switch (role) {
    case HARNESS_INPUT: return s.first ? inputs * (size_t)s.in_channels : 0;
    case HARNESS_X:
      if (s.first) return c.image == HARNESS_U8 ? 0 : type_bytes(c.image, inputs * (size_t)s.in_channels);
      return rows_bytes(c.activation, inputs, (size_t)s.in_channels);
    case HARNESS_X_PREPOOL:
      return s.pool == HARNESS_POOL_AFTER_SIGN ? rows_bytes(c.activation, batch * s.out_pixels, channels) : 0;
    case HARNESS_LOGITS: return s.last ? rows_bytes(logits_type(net), batch, channels) : 0;
    case HARNESS_STE_MASK:
      return c.ste_mask == HARNESS_STE_KEPT && !s.first ? rows_bytes(HARNESS_BIT, inputs, (size_t)s.in_channels) : 0;
    case HARNESS_POOL_MASK: return pool_mask_bytes(net, s, batch);
    case HARNESS_STATISTICS: return type_bytes(c.statistic, (norm_by_sign(net, s) ? 3 : 2) * channels);
    case HARNESS_MOVING: return 2 * channels * sizeof(float);
    case HARNESS_BETA: return type_bytes(c.statistic, 2 * channels);
    case HARNESS_WEIGHTS:
      return latent ? type_bytes(c.weight, s.weights) : rows_bytes(HARNESS_BIT, weight_rows(s), (size_t)s.in_channels);
    case HARNESS_WEIGHT_GRADIENT: return rows_bytes(c.weight_gradient, weight_rows(s), (size_t)s.in_channels);
    case HARNESS_MOMENTA: return type_bytes(c.momentum, momenta * s.weights);
    case HARNESS_BETA_MOMENTA: return type_bytes(beta_momenta_type(c), (c.optimizer == HARNESS_SGD ? 1 : 2) * channels);
    default: return 0;
  }
}

static size_t stage_kernel_scratch(const Network& net, const Stage& s) {
  const Kernels& k = *net.kernels;
  const GradientFormat format = net.config.output_gradient == HARNESS_F16 ? kFloat16 : kInt6;
  const ConvShape shape = shape_of(s, net.config.batch);
  if (s.first) return larger(k.pixels_forward_scratch_bytes(shape), k.pixels_grad_weight_scratch_bytes(shape, format));
  const size_t backward = larger(k.grad_input_scratch_bytes(shape, format), k.grad_weight_scratch_bytes(shape, format));
  return larger(backward, k.forward_scratch_bytes(shape));
}

// Images whose gradient is computed before it is rounded to 8 bits: as many as 64 KiB of float16 hold, at least one.
int32_t images_at_once(const Stage& s) {
  const size_t inputs = s.in_pixels * (size_t)s.in_channels, fitting = 32768 / inputs;
  return fitting > 0 ? (int32_t)fitting : 1;
}

static size_t image_bytes(const Network& net) {
  size_t bytes = 0;
  for (int32_t i = 0; one_buffer(net) && i < net.config.stage_count; i++) {
    const Stage& s = net.stages[i];
    const size_t y = s.out_pixels * channels_of(s), group = (size_t)images_at_once(s);
    const bool spread = s.pool == HARNESS_POOL_BEFORE_NORM;
    if (spread || s.streamed) bytes = larger(bytes, 2 * y);
    if (!s.first) bytes = larger(bytes, round_up(2 * group * s.in_pixels * (size_t)s.in_channels, 64) + (spread ? group * y : 0));
  }
  return bytes;
}

static size_t kernel_bytes(const Network& net) {
  size_t kernel = 0;
  if (bits_kept(net))
    for (int32_t i = 0; i < net.config.stage_count; i++) kernel = larger(kernel, stage_kernel_scratch(net, net.stages[i]));
  else
    kernel = float_scratch(net);
  for (int32_t i = 1; !bits_kept(net) && i < net.config.stage_count; i++) kernel = larger(kernel, forward_signs_scratch(net, net.stages[i]));
  return round_up(kernel, 64);
}

static size_t thread_bytes(const Network& net) {
  return round_up(kTiles * net.tile * sizeof(float) + kernel_bytes(net) + image_bytes(net), 64);
}

uint64_t scratch_bytes(const Network& net, int32_t role) {
  size_t bytes = 0;
  switch (role) {
    case HARNESS_SCRATCH_SIGNS:
      if (one_buffer(net)) return 0;
      for (int32_t i = 0; i < net.config.stage_count; i++) {
        const Stage& s = net.stages[i];
        if (!bits_kept(net))
          bytes = larger(bytes, s.first ? panel_bytes(net, s) : larger(panel_bytes(net, s), forward_signs_bytes(net, s)));
        else if (net.config.optimizer != HARNESS_BOP)
          bytes = larger(bytes, rows_bytes(HARNESS_BIT, weight_rows(s), (size_t)s.in_channels));
      }
      return bytes;
    case HARNESS_SCRATCH_PREPARED:
      if (one_buffer(net)) return 0;
      for (int32_t i = 0; bits_kept(net) && i < net.config.stage_count; i++)
        bytes = larger(bytes, prepared_bytes(net, net.stages[i]));
      return bytes;
    case HARNESS_SCRATCH_PARTIALS: return 3 * kChunks * (size_t)net.widest * sizeof(float);
    case HARNESS_SCRATCH_CHANNELS: return kChannelRows * (size_t)net.widest * sizeof(float);
    case HARNESS_SCRATCH_SCALES: return one_buffer(net) ? (size_t)net.config.batch * sizeof(float) : 0;
    case HARNESS_SCRATCH_THREADS: return thread_bytes(net) * (size_t)net.config.threads;
    default: return 0;
  }
}

static void* at(const Network& net, int32_t role, int32_t stage) {
  for (int32_t i = 0; i < net.variable_count; i++)
    if (net.variables[i].role == role && net.variables[i].stage == stage) return net.arena + net.variables[i].offset;
  return nullptr;
}

bool bind(Network& net) {
  for (int32_t i = 0; i < net.config.stage_count; i++) {
    Stage& s = net.stages[i];
    s.x = at(net, HARNESS_X, i), s.prepool = at(net, HARNESS_X_PREPOOL, i);
    s.ste = (uint64_t*)at(net, HARNESS_STE_MASK, i), s.pool_mask = at(net, HARNESS_POOL_MASK, i);
    s.statistics = at(net, HARNESS_STATISTICS, i), s.moving = (float*)at(net, HARNESS_MOVING, i);
    s.beta = at(net, HARNESS_BETA, i), s.w = at(net, HARNESS_WEIGHTS, i);
    s.dw = at(net, HARNESS_WEIGHT_GRADIENT, i), s.momenta = at(net, HARNESS_MOMENTA, i);
    s.beta_momenta = at(net, HARNESS_BETA_MOMENTA, i);
  }
  net.pixels = (uint8_t*)at(net, HARNESS_INPUT, 0);
  net.logits = at(net, HARNESS_LOGITS, net.config.stage_count - 1);
  net.dx_y = at(net, HARNESS_DX_Y, -1), net.dy = at(net, HARNESS_DY, -1);
  net.signs = at(net, HARNESS_SCRATCH_SIGNS, -1), net.prepared = at(net, HARNESS_SCRATCH_PREPARED, -1);
  net.partials = (float*)at(net, HARNESS_SCRATCH_PARTIALS, -1);
  net.channels = (float*)at(net, HARNESS_SCRATCH_CHANNELS, -1);
  net.thread_scratch = (uint8_t*)at(net, HARNESS_SCRATCH_THREADS, -1);
  net.scales = (float*)at(net, HARNESS_SCRATCH_SCALES, -1);
  net.thread_bytes = thread_bytes(net);
  net.kernel_bytes = kernel_bytes(net);
  for (int32_t i = 0; i < net.variable_count; i++)
    if (net.variables[i].role == HARNESS_DX_Y) net.dx_y_bytes = net.variables[i].bytes;
  return true;
}

}  // namespace harness
