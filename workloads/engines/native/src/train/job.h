// The plan of one trial: the document of harness/plan.py with the part that native/program.py adds, checked and typed.
#ifndef HARNESS_TRAIN_JOB_H
#define HARNESS_TRAIN_JOB_H

#include "../core/core.h"
#include "data.h"
#include "json.h"

namespace harness_train {

// A network as the core takes it, its variables without their places, and the bytes by class of variable.
struct Network {
  harness_config config;
  harness_variable* variables;  // scratch is missing: its size depends on the instruction set
  int32_t variable_count;
  const char** classes;
  uint64_t* class_bytes;
  int32_t class_count;
};

struct Job {
  Network network;
  Network* rehearsals;  // tiny networks that bring the core's code into memory
  int32_t rehearsal_count;
  Split train, test;
  int32_t channels, height, width;
  int64_t batch_size, steps, warmup;
  uint64_t seed;
  double learning_rate;
  bool cosine, shift, flip, recalibrated, trigger;
  const char* statistics;
  int64_t test_items;
  int64_t evaluate_every, evaluate_after;  // steps: after every so many of those after the second; 0 for never
};

// Reads the plan; `text` must outlive the job, `text[length]` be writable. Ends the process with what is wrong with it.
void read_job(char* text, size_t length, Json& json, Job& job);

}  // namespace harness_train

#endif
