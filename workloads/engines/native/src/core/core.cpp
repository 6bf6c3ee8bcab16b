// The C face: checks what it is given, keeps the order of a step, and says what went wrong.
#include "core.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

#include "internal.h"

using namespace harness;

struct harness_core {
  Network net;
};

#define HARNESS_FACE extern "C" __attribute__((visibility("default")))

namespace {

enum { kFailed = 1, kRefused = 2 };

harness_core* allocate() {
  void* memory = calloc(1, sizeof(harness_core));
  return memory ? new (memory) harness_core() : nullptr;
}

// Every variable that is needed is there once, of exactly the bytes needed, inside the arena.
bool check_variables(const Network& net) {
  int32_t wanted = 0;
  for (int32_t role = 0; role < HARNESS_ROLES; role++)
    for (int32_t stage = -1; stage < net.config.stage_count; stage++) {
      const uint64_t bytes = variable_bytes(net, role, stage);
      if (bytes == 0) continue;
      wanted++;
      const harness_variable* found = nullptr;
      for (int32_t i = 0; i < net.variable_count; i++)
        if (net.variables[i].role == role && net.variables[i].stage == stage) found = &net.variables[i];
      if (!found) return set_error("the plan lacks variable %d of stage %d (%llu bytes)", role, stage, (unsigned long long)bytes), false;
      if (found->bytes != bytes)
        return set_error("variable %d of stage %d: the plan has %llu bytes, the core needs %llu", role, stage,
                         (unsigned long long)found->bytes, (unsigned long long)bytes), false;
      if (found->offset % 64 || found->offset + bytes > net.arena_bytes)
        return set_error("variable %d of stage %d lies outside the arena, or off a multiple of 64", role, stage), false;
    }
  if (wanted != net.variable_count) return set_error("the plan has %d variables, the core needs %d", net.variable_count, wanted), false;
  return true;
}

// NCHW bytes of the caller to NHWC, and to float32 where the recipe retains those.
void take_images(Network& net, const uint8_t* images) {
  const Stage& s = net.stages[0];
  const size_t pixels = s.in_pixels, channels = (size_t)s.in_channels, values = pixels * channels;
  net.threads.run(chunk_count(net), [&](int32_t index, int32_t) {
    const Chunk chunk = chunk_at(net, index);
    for (int32_t i = chunk.first; i < chunk.first + chunk.images; i++) {
      const uint8_t* from = images + (size_t)i * values;
      uint8_t* to = net.pixels + (size_t)i * values;
      if (channels == 1) memcpy(to, from, values);
      for (size_t p = 0; channels > 1 && p < pixels; p++)
        for (size_t c = 0; c < channels; c++) to[p * channels + c] = from[c * pixels + p];
      if (s.x) net.passes->widen_pixels(to, values, (float*)s.x + (size_t)i * values);
    }
  });
}

Stage* after(Network& net, int32_t index) { return index + 1 < net.config.stage_count ? &net.stages[index + 1] : nullptr; }

void run_forward(Network& net, const uint8_t* images, int32_t items, bool moving) {
  net.items = items;
  take_images(net, images);
  for (int32_t i = 0; i < net.config.stage_count; i++) {
    Stage& s = net.stages[i];
    place_forward(net, s);
    if (bits_kept(net))
      forward_product(net, s);
    else if (s.first)
      forward_product_float(net, s);
    else
      forward_product_signs(net, s);
    if (moving)
      normalise_moving(net, s, after(net, i));
    else
      normalise(net, s, after(net, i));
  }
}

void run_backward(Network& net, float learning_rate) {
  const bool fused = net.config.single_buffer;
  for (int32_t i = net.config.stage_count - 1; i >= 0; i--) {
    Stage& s = net.stages[i];
    place_gradients(net, s);
    norm_backward(net, s, after(net, i));
    if (bits_kept(net)) {
      weight_gradient(net, s);
      if (i > 0) pack_weight_signs(net, s), input_gradient(net, s);
    } else {
      weight_gradient_float(net, s);
      if (i > 0) input_gradient_float(net, s);
    }
    if (fused) update_stage(net, s, i, learning_rate);
  }
}

bool valid_labels(const Network& net, const uint8_t* labels, int32_t items) {
  const int32_t classes = net.stages[net.config.stage_count - 1].out_channels;
  for (int32_t i = 0; i < items; i++)
    if (labels[i] >= classes) return set_error("label %d of item %d; there are %d classes", labels[i], i, classes), false;
  return true;
}

bool valid_items(const Network& net, int32_t items) {
  if (items >= 1 && items <= net.config.batch) return true;
  set_error("%d items; the network was set up for 1 to %d", items, net.config.batch);
  return false;
}

}  // namespace

HARNESS_FACE int32_t harness_core_abi(void) { return HARNESS_CORE_ABI; }
HARNESS_FACE const char* harness_core_error(void) { return last_error(); }

#ifndef HARNESS_FLAGS
#define HARNESS_FLAGS ""
#endif
#ifndef HARNESS_BUILD_TYPE
#define HARNESS_BUILD_TYPE ""
#endif

HARNESS_FACE const char* harness_core_facts(void) {
#if defined(__clang__)
#define HARNESS_COMPILER "clang " __clang_version__
#else
#define HARNESS_COMPILER "gcc " __VERSION__
#endif
  return "compiler=" HARNESS_COMPILER "\nflags=" HARNESS_FLAGS "\nbuild_type=" HARNESS_BUILD_TYPE
         "\nfloat32_product=blocked SIMD product of this core";
}

HARNESS_FACE int32_t harness_core_scratch(const harness_config* config, harness_variable* out, int32_t capacity) {
  harness_core* core = allocate();
  if (!core) return set_error("no memory for the description"), -1;
  int32_t count = -1;
  if (describe(*config, core->net)) {
    count = 0;
    for (int32_t role = one_buffer(core->net) ? (int32_t)HARNESS_DX_Y : (int32_t)HARNESS_SCRATCH_SIGNS; role < HARNESS_ROLES; role++) {
      const uint64_t bytes = variable_bytes(core->net, role, -1);
      if (bytes && count < capacity) out[count++] = {role, -1, 0, bytes};
    }
  }
  free(core);
  return count;
}

HARNESS_FACE harness_core* harness_core_create(const harness_config* config, const harness_variable* variables, int32_t count,
                                               uint64_t arena_bytes) {
  harness_core* core = allocate();
  if (!core) return set_error("no memory for the description"), nullptr;
  Network& net = core->net;
  net.variables = (harness_variable*)calloc((size_t)count, sizeof(harness_variable));
  net.variable_count = count;
  net.arena_bytes = arena_bytes;
  if (net.variables) memcpy(net.variables, variables, (size_t)count * sizeof(harness_variable));
  if (net.variables && describe(*config, net) && check_variables(net)) return core;
  harness_core_destroy(core);
  return nullptr;
}

HARNESS_FACE int32_t harness_core_set_up(harness_core* core) {
  Network& net = core->net;
  if (net.arena) return set_error("already set up"), kFailed;
  void* memory = mmap(nullptr, net.arena_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return set_error("%llu bytes were refused", (unsigned long long)net.arena_bytes), kRefused;
#ifdef MADV_NOHUGEPAGE
  // Pages are counted as they are touched; a huge page would count neighbours that never are.
  madvise(memory, net.arena_bytes, MADV_NOHUGEPAGE);
#endif
  net.arena = (uint8_t*)memory;
  if (!net.threads.start(net.config.threads)) return set_error("cannot start %d threads", net.config.threads), kRefused;
  bind(net);
  for (int32_t i = 0; i < net.config.stage_count; i++) draw_weights(net, net.stages[i], i);
  return 0;
}

HARNESS_FACE int32_t harness_core_forward(harness_core* core, const uint8_t* images, const uint8_t* labels, float* loss) {
  Network& net = core->net;
  if (!valid_labels(net, labels, net.config.batch)) return kFailed;
  net.recalibrating = false;
  run_forward(net, images, net.config.batch, false);
  *loss = loss_and_gradient(net, labels);
  net.batches_seen++;
  net.steps++;
  return 0;
}

HARNESS_FACE int32_t harness_core_backward(harness_core* core, float learning_rate) {
  Network& net = core->net;
  net.last_rate = learning_rate;
  if (learning_rate > net.largest_rate) net.largest_rate = learning_rate;
  run_backward(net, learning_rate);
  return 0;
}

HARNESS_FACE int32_t harness_core_update(harness_core* core, float learning_rate) {
  Network& net = core->net;
  for (int32_t i = 0; !net.config.single_buffer && i < net.config.stage_count; i++) update_stage(net, net.stages[i], i, learning_rate);
  return 0;
}

HARNESS_FACE int32_t harness_core_evaluate(harness_core* core, const uint8_t* images, const uint8_t* labels, int32_t items, int32_t* correct) {
  if (!valid_items(core->net, items)) return kFailed;
  run_forward(core->net, images, items, true);
  *correct = count_correct(core->net, labels);
  return 0;
}

HARNESS_FACE int32_t harness_core_recalibrate_begin(harness_core* core) {
  core->net.batches_seen = core->net.items_averaged = 0;
  core->net.recalibrating = true;
  return 0;
}

HARNESS_FACE int32_t harness_core_recalibrate(harness_core* core, const uint8_t* images, int32_t items) {
  if (!valid_items(core->net, items)) return kFailed;
  run_forward(core->net, images, items, false);
  core->net.batches_seen++, core->net.items_averaged += (uint64_t)items;
  return 0;
}

HARNESS_FACE void harness_core_counters(const harness_core* core, uint64_t* out) {
  const float rates[2] = {core->net.last_rate, core->net.largest_rate};
  out[0] = core->net.steps, out[1] = core->net.batches_seen;
  memcpy(out + 2, rates, sizeof rates);
}

HARNESS_FACE void harness_core_resume(harness_core* core, const uint64_t* counters) {
  float rates[2];
  memcpy(rates, counters + 2, sizeof rates);
  core->net.steps = counters[0], core->net.batches_seen = counters[1];
  core->net.last_rate = rates[0], core->net.largest_rate = rates[1];
}

HARNESS_FACE uint8_t* harness_core_arena(harness_core* core) { return core->net.arena; }

HARNESS_FACE void harness_core_destroy(harness_core* core) {
  if (!core) return;
  if (core->net.arena) {
    core->net.threads.stop();
    munmap(core->net.arena, core->net.arena_bytes);
  }
  free(core->net.variables);
  free(core);
}
