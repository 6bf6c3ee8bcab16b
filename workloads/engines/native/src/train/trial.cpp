#include "trial.h"

#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstdlib>

#include "../kernels.h"

namespace harness_train {

constexpr int64_t kProgressNs = 100000000;
constexpr int64_t kAliveNs = 1000000000;
constexpr int64_t kRecalibrationItems = 10000;

Trial::Trial(const Job& job)
    : job_(job), losses_(job.steps), augmentation_(job.channels, job.height, job.width, job.flip, job.seed) {}

void Trial::run() {
  peaks_.begin("import");
  const harness::Kernels* kernels = harness::select_kernels_or_null();
  if (!kernels) fail("%s", harness::select_error());
  peaks_.begin("library");
  rehearse();
  g_channel->facts(kernels->isa, harness_core_facts());
  peaks_.begin("setup");
  images_ = (uint8_t*)allocate((size_t)(job_.batch_size * job_.train.images.item_bytes), "the images of a batch");
  labels_ = (uint8_t*)allocate((size_t)job_.batch_size, "the labels of a batch");
  BatchReader reader(job_.train, job_.batch_size, job_.seed, true);
  Training training(job_.network);
  training.set_up();
  train(training, reader);
  g_channel->ledger(job_.network.classes, training.ledger(), job_.network.class_count, training.scratch(), training.scratch_count());
  peaks_.begin("evaluate");
  evaluate(training);
  peaks_.end();
}

// Trains and evaluates tiny networks, so that the pages of the core's code are resident, as the library's.
void Trial::rehearse() {
  for (int32_t i = 0; i < job_.rehearsal_count; i++) {
    const Network& network = job_.rehearsals[i];
    const harness_stage& first = network.config.stages[0];
    const size_t items = (size_t)network.config.batch, pixels = (size_t)first.in_channels * (size_t)first.in_height * (size_t)first.in_width;
    uint8_t* batch = (uint8_t*)allocate(items * (pixels + 1), "a rehearsal");
    Training training(network);
    training.set_up();
    training.forward(batch, batch + items * pixels);
    training.backward(0);
    if (!training.fused()) training.update(0);
    training.evaluate(batch, batch + items * pixels, (int64_t)items);
    free(batch);
  }
}

void Trial::train(Training& training, BatchReader& reader) {
  StepPeaks step_peaks;
  StepTimer timer(job_.steps - job_.warmup);
  peaks_.end();
  for (int64_t index = 0; index < job_.warmup; index++) {
    step_peaks.start();
    read_batch(reader);
    step(training, index, [&](Part part) { step_peaks.mark(part); });
    if (evaluation_is_due(index + 1)) evaluate_between(training, index + 1);
  }
  step_peaks.report();
  peaks_.begin("train");
  edge("ready");
  g_channel->window("begin");
  for (int64_t index = job_.warmup; index < job_.steps; index++) {
    timer.start();
    read_batch(reader);
    timer.lap(kData);
    step(training, index, [&](Part part) { timer.lap(part); });
    timer.stop();
    if (!evaluation_is_due(index + 1)) continue;
    g_channel->window("pause");
    evaluate_between(training, index + 1);
    peaks_.begin("train");
    g_channel->window("resume");
  }
  edge("end");
  peaks_.end();
  losses_.flush();
  timer.report();
}

void Trial::read_batch(BatchReader& reader) {
  const int64_t count = reader.read(images_, labels_);
  if (job_.shift) augmentation_.apply(images_, reader.last_items(), count, reader.last_epoch());
}

template <typename Mark>
void Trial::step(Training& training, int64_t index, const Mark& mark) {
  const float rate = (float)learning_rate(job_, index);
  const float loss = training.forward(images_, labels_);
  mark(kForward);
  training.backward(rate);
  mark(kBackward);
  if (!training.fused()) {
    training.update(rate);
    mark(kUpdate);
  }
  losses_.add((double)loss);
  taken_ = index + 1;
  const int64_t now = monotonic_ns();
  if (now - said_ns_ > kProgressNs || index + 1 == job_.steps) {
    said_ns_ = now;
    g_channel->progress(index + 1, job_.steps, (double)loss);
  }
}

// Reports an edge of the window; where a trigger pin marks it, waits until the parent has set the pin.
void Trial::edge(const char* event) {
  g_channel->window(event);
  if (!job_.trigger) return;
  char byte;
  ssize_t got;
  do got = read(STDIN_FILENO, &byte, 1);
  while (got < 0 && errno == EINTR);
  if (got != 1) _exit(kFailed);  // the parent is gone
}

void Trial::evaluate(Training& training) {
  const Counted counted = count_right(training);
  if (job_.evaluate_every) g_channel->evaluated(job_.steps, counted.correct, counted.items, counted.duration_ns);  // the curve's last point
  g_channel->quality(losses_.means(), losses_.count(), counted.correct, counted.items, job_.statistics);
}

// The end of the training has its own.
bool Trial::evaluation_is_due(int64_t step) const {
  const int64_t past = step - job_.evaluate_after;
  return job_.evaluate_every > 0 && step < job_.steps && past > 0 && past % job_.evaluate_every == 0;
}

// In a phase of its own, so that neither the peaks nor the times of training know of it.
void Trial::evaluate_between(Training& training, int64_t step) {
  peaks_.begin("evaluate");
  const Counted counted = count_right(training);
  peaks_.end();
  g_channel->evaluated(step, counted.correct, counted.items, counted.duration_ns);
}

Trial::Counted Trial::count_right(Training& training) {
  const int64_t begun = monotonic_ns();
  if (job_.recalibrated) {
    training.begin_recalibration();
    first_batches(job_.train, kRecalibrationItems, [&](int64_t count) { training.recalibrate(images_, count); });
  }
  int64_t correct = 0, items = 0;
  first_batches(job_.test, job_.test_items ? job_.test_items : job_.test.count, [&](int64_t count) {
    correct += training.evaluate(images_, labels_, count);
    items += count;
  });
  return {correct, items, monotonic_ns() - begun};
}

// Says that the worker is alive, at most every second: an evaluation may take longer than the parent bears silence.
void Trial::stay_heard() {
  const int64_t now = monotonic_ns();
  if (now - said_ns_ <= kAliveNs) return;
  said_ns_ = now;
  g_channel->progress(taken_, job_.steps, (double)NAN);
}

// The first items of a split in order, through the one buffer; the last batch may be short.
template <typename Visit>
void Trial::first_batches(const Split& split, int64_t items, const Visit& visit) {
  BatchReader reader(split, job_.batch_size, 0, false);
  for (int64_t left = items < split.count ? items : split.count; left > 0;) {
    const int64_t read = reader.read(images_, labels_), count = read < left ? read : left;
    visit(count);
    stay_heard();
    left -= count;
  }
}

}  // namespace harness_train
