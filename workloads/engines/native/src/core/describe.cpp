// What a configuration describes: the shapes of its stages, and whether they can be trained.
#include <cstdarg>
#include <cstdio>

#include "internal.h"

namespace harness {

namespace {
char g_error[512];
}  // namespace

void set_error(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(g_error, sizeof g_error, format, arguments);
  va_end(arguments);
}

const char* last_error() { return g_error; }

// Numbers that choose. One beyond its enumeration would index a table; a type that does not go with the others, and is
// as wide as the right one, would be read as this. `of_real` and `of_low`: what a float32 and a low-memory training may have.
static bool check_choices(const harness_config& c) {
  enum {
    kF32 = 1 << HARNESS_F32, kF16 = 1 << HARNESS_F16, kI8 = 1 << HARNESS_I8, kU8 = 1 << HARNESS_U8,
    kCode2 = 1 << HARNESS_CODE2, kInt6 = 1 << HARNESS_INT6, kBit = 1 << HARNESS_BIT,
    kL2 = 1 << HARNESS_NORM_L2, kSigns = 1 << HARNESS_NORM_L1_SIGN | 1 << HARNESS_NORM_L1_SIGN_CENTRED,
    kNoMask = 1 << HARNESS_STE_NONE, kKept = 1 << HARNESS_STE_KEPT, kDerived = 1 << HARNESS_STE_DERIVED,
    kAdamSgd = 1 << HARNESS_ADAM | 1 << HARNESS_SGD, kBop = 1 << HARNESS_BOP, kAny = ~0,
  };
  const bool real = c.activation == HARNESS_F32, shared = c.single_buffer != 0;
  const struct {
    const char* name;
    int32_t value, most, of_real, of_low;
  } choices[] = {
      {"activation", c.activation, HARNESS_BIT, kF32, kBit},
      {"gradient", c.gradient, HARNESS_BIT, shared ? 0 : kF32, shared ? kI8 : kF16},
      {"output_gradient", c.output_gradient, HARNESS_BIT, kF32, shared ? kInt6 : kF16 | kInt6},
      {"weight", c.weight, HARNESS_BIT, kF32, kF32 | kF16 | kI8},
      {"weight_gradient", c.weight_gradient, HARNESS_BIT, kF32, kBit},
      {"momentum", c.momentum, HARNESS_BIT, kF32, kF32 | kF16 | kI8},
      {"statistic", c.statistic, HARNESS_BIT, kF32, kF16},
      {"pool_mask", c.pool_mask, HARNESS_BIT, kF32, shared ? kCode2 : kBit | kCode2},
      {"image", c.image, HARNESS_BIT, kF32, kU8},
      {"norm", c.norm, HARNESS_NORM_L1_SIGN_CENTRED, kL2, kSigns},
      {"ste_mask", c.ste_mask, HARNESS_STE_DERIVED, kNoMask | kDerived, kNoMask | kKept},
      {"optimizer", c.optimizer, HARNESS_BOP, kAdamSgd, kAdamSgd | kBop},
      {"border", c.border, HARNESS_BORDER_CLIP, kAny, kAny},
  };
  for (const auto& each : choices)
    if (each.value < 0 || each.value > each.most) return set_error("%s is %d; 0 to %d are known", each.name, each.value, each.most), false;
  for (const auto& each : choices)
    if (!(1 << each.value & (real ? each.of_real : each.of_low)))
      return set_error("%s is %d, which does not go with activation %d%s", each.name, each.value, c.activation, shared ? " in one buffer" : ""), false;
  return true;
}

// Far beyond every network, and small enough that products of two sizes fit 32 bits.
enum { kMostPixelsAside = 16384, kMostChannels = 1 << 24, kMostKernel = 181 };

static bool check_sizes(const harness_stage& s, int32_t index) {
  if (s.in_channels > kMostChannels || s.out_channels > kMostChannels || s.in_height > kMostPixelsAside || s.in_width > kMostPixelsAside ||
      s.kernel > kMostKernel || s.padding < 0 || s.padding > kMostKernel)
    return set_error("stage %d is larger than any that can be trained", index), false;
  if (s.pool < HARNESS_POOL_NONE || s.pool > HARNESS_POOL_AFTER_SIGN) return set_error("stage %d: pool is %d; 0 to 2 are known", index, s.pool), false;
  return true;
}

static bool describe_stage(const harness_config& config, const harness_stage& from, int32_t index, Stage& s) {
  s.in_channels = from.in_channels, s.in_height = from.in_height, s.in_width = from.in_width;
  s.out_channels = from.out_channels, s.kernel = from.kernel, s.padding = from.padding, s.pool = from.pool;
  s.out_height = s.in_height + 2 * s.padding - s.kernel + 1;
  s.out_width = s.in_width + 2 * s.padding - s.kernel + 1;
  s.first = index == 0, s.last = index + 1 == config.stage_count;
  if (s.in_channels < 1 || s.out_channels < 1 || s.out_height < 1 || s.out_width < 1 || s.kernel < 1) {
    set_error("stage %d has an impossible shape", index);
    return false;
  }
  s.in_pixels = (size_t)s.in_height * (size_t)s.in_width;
  s.out_pixels = (size_t)s.out_height * (size_t)s.out_width;
  s.pooled_pixels = s.pool ? (size_t)(s.out_height / 2) * (size_t)(s.out_width / 2) : s.out_pixels;
  s.streamed = config.single_buffer && s.first && s.out_pixels > 1 && s.pool == HARNESS_POOL_NONE;
  s.norm_pixels = s.pool == HARNESS_POOL_BEFORE_NORM ? s.pooled_pixels : s.out_pixels;
  s.fan_in = (size_t)(s.kernel * s.kernel) * (size_t)s.in_channels;
  s.weights = s.fan_in * channels_of(s);
  if (s.fan_in > 32767) return set_error("stage %d: fan-in %zu is over 32767", index, s.fan_in), false;
  if (s.last && (s.pool || s.out_pixels != 1)) return set_error("the last stage must be dense"), false;
  if (s.first && s.pool == HARNESS_POOL_BEFORE_NORM && config.gradient != HARNESS_F32)
    return set_error("a pool right after the first, real-input product is not supported"), false;
  return true;
}

// The output of a stage must be the input of the next, row by row of packed bits.
static bool check_border(const Stage& s, const Stage& next, int32_t index) {
  const size_t values = s.pooled_pixels * channels_of(s);
  const bool same = s.out_channels == next.in_channels && s.pooled_pixels == next.in_pixels;
  const bool flat = next.in_pixels == 1 && (size_t)next.in_channels == values && s.out_channels % 64 == 0;
  if (!same && !flat) {
    set_error("stage %d: %d channels cannot be flattened for the dense stage after it (a multiple of 64 can)", index,
              s.out_channels);
    return false;
  }
  return true;
}

static size_t tile_floats(const Network& net) {
  size_t tile = kTileFloats;
  for (int32_t i = 0; i < net.config.stage_count; i++) {
    const Stage& s = net.stages[i];
    tile = larger(tile, larger((size_t)s.in_channels, channels_of(s)));
    if (s.pool) tile = larger(tile, 2 * (size_t)s.out_width * channels_of(s));
  }
  return round_up(tile, 64);
}

bool describe(const harness_config& config, Network& net) {
  net.config = config;
  if (config.stage_count < 1 || config.stage_count > kMaxStages) return set_error("%d stages; 1 to %d work", config.stage_count, kMaxStages), false;
  if (config.batch < 1) return set_error("a batch of %d", config.batch), false;
  if (config.threads < 1 || config.threads > kMaxThreads) return set_error("%d threads; 1 to %d work", config.threads, kMaxThreads), false;
  if (!check_choices(config)) return false;
  // A gradient that is cancelled has another magnitude than the one that stands for the root of the second moment.
  if (config.border == HARNESS_BORDER_CANCEL && !config.second_moment && config.optimizer != HARNESS_BOP)
    return set_error("border cancel needs the second moment; without it weights are clipped"), false;
  for (int32_t i = 0; i < config.stage_count; i++) {
    if (!check_sizes(config.stages[i], i)) return false;
    if (!describe_stage(config, config.stages[i], i, net.stages[i])) return false;
    if (i > 0 && !check_border(net.stages[i - 1], net.stages[i], i - 1)) return false;
    if (net.stages[i].out_channels > net.widest) net.widest = net.stages[i].out_channels;
  }
  net.widest = (int32_t)round_up((size_t)net.widest, 16);
  net.tile = tile_floats(net);
  net.kernels = select_kernels_or_null();
  if (!net.kernels) return set_error("%s", select_error()), false;
  net.passes = &passes_for(*net.kernels);
  net.config.stages = nullptr;
  return true;
}

}  // namespace harness
