#include "training.h"

#include <cmath>
#include <cstdlib>
#include <cstring>

#include "channel.h"
#include "memory.h"

namespace harness_train {

namespace {

enum { kRefused = 2 };  // what harness_core_set_up returns when memory was refused

uint64_t round_up(uint64_t value, uint64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

void check(int32_t code) {
  if (code != 0) fail("%s", harness_core_error());
}

}  // namespace

double learning_rate(const Job& job, int64_t step) {
  if (!job.cosine) return job.learning_rate;
  return job.learning_rate * 0.5 * (1 + cos(M_PI * (double)step / (double)job.steps));
}

Training::Training(const Network& network) : network_(network) {
  placed_ = (harness_variable*)allocate((size_t)(network.variable_count + HARNESS_ROLES) * sizeof(harness_variable), "the plan");
  ledger_ = (uint64_t*)allocate((size_t)network.class_count * sizeof(uint64_t), "the ledger");
  lay_out();
  core_ = harness_core_create(&network.config, placed_, placed_count_, arena_bytes_);
  if (!core_) fail("%s", harness_core_error());
}

Training::~Training() {
  harness_core_destroy(core_);
  free(placed_), free(ledger_);
}

// The model's variables in their order, each as large as the core asks where scratch lies in it too; then the scratch.
void Training::lay_out() {
  harness_variable scratch[HARNESS_ROLES];
  const int32_t scratch_count = harness_core_scratch(&network_.config, scratch, HARNESS_ROLES);
  if (scratch_count < 0) fail("%s", harness_core_error());
  uint64_t offset = 0;
  const auto place = [&](harness_variable variable) {
    variable.offset = offset;
    placed_[placed_count_++] = variable;
    offset += round_up(variable.bytes, 64);
  };
  for (int32_t i = 0; i < network_.variable_count; i++) {
    harness_variable variable = network_.variables[i];
    for (int32_t k = 0; k < scratch_count; k++) {
      if (scratch[k].role != variable.role) continue;
      if (scratch[k].bytes > variable.bytes) variable.bytes = scratch[k].bytes;
      scratch[k].bytes = 0;
    }
    place(variable);
  }
  for (int32_t k = 0; k < scratch_count; k++)
    if (scratch[k].bytes) place({scratch[k].role, -1, 0, scratch[k].bytes});
  arena_bytes_ = round_up(offset, 4096);
  uint64_t named = 0;
  for (int32_t i = 0; i < network_.class_count; i++) named += ledger_[i] = network_.class_bytes[i];
  // Scratch is all the rest of the arena: the named scratch, row padding, alignment.
  for (int32_t i = 0; i < network_.class_count; i++)
    if (strcmp(network_.classes[i], "scratch") == 0) name_scratch(ledger_[i] += arena_bytes_ - named);
}

void Training::name_scratch(uint64_t bytes) {
  static const char* const kNames[] = {"signs", "prepared", "partials", "channels", "scales", "threads"};  // from HARNESS_SCRATCH_SIGNS on
  for (int32_t i = 0; i < placed_count_; i++) {
    if (placed_[i].role < HARNESS_SCRATCH_SIGNS) continue;
    scratch_[scratch_count_++] = {kNames[placed_[i].role - HARNESS_SCRATCH_SIGNS], placed_[i].bytes};
    bytes -= placed_[i].bytes;
  }
  scratch_[scratch_count_++] = {"padding", bytes};
}

void Training::set_up() {
  const int64_t needed = (int64_t)arena_bytes_, room = available_bytes();
  if (room >= 0 && room < needed)
    fail_out_of_memory("the training needs %lld bytes and %lld are left: %lld are missing; a smaller --batch-size, or another --trainer, needs less",
                       (long long)needed, (long long)room, (long long)(needed - room));
  const int32_t code = harness_core_set_up(core_);
  if (code == kRefused) fail_out_of_memory("the training needs %lld bytes: %s", (long long)needed, harness_core_error());
  check(code);
}

float Training::forward(const uint8_t* images, const uint8_t* labels) {
  float loss = 0;
  check(harness_core_forward(core_, images, labels, &loss));
  return loss;
}

void Training::backward(float rate) { check(harness_core_backward(core_, rate)); }
void Training::update(float rate) { check(harness_core_update(core_, rate)); }
void Training::begin_recalibration() { check(harness_core_recalibrate_begin(core_)); }
void Training::recalibrate(const uint8_t* images, int64_t items) { check(harness_core_recalibrate(core_, images, (int32_t)items)); }

int64_t Training::evaluate(const uint8_t* images, const uint8_t* labels, int64_t items) {
  int32_t correct = 0;
  check(harness_core_evaluate(core_, images, labels, (int32_t)items, &correct));
  return correct;
}

}  // namespace harness_train
