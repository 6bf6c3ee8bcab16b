#include "stopwatch.h"

namespace harness_train {

static const char* const kNames[kParts] = {"data", "forward", "backward", "update", "step"};

void PhasePeaks::begin(const char* phase) {
  end();
  phase_ = phase;
  g_channel->phase(phase);
  reset_peak();
}

void PhasePeaks::end() {
  if (!phase_) return;
  g_channel->peak(phase_, read_residency());
  phase_ = nullptr;
}

void StepPeaks::mark(Part part) {
  const Residency now = read_residency();
  if (now.reason) return;
  if (!seen_[part] || now.peak > highest_[part].peak) highest_[part] = now;
  seen_[part] = true;
  reset_peak();
}

void StepPeaks::report() const {
  for (int32_t part = 0; part < kParts; part++)
    if (seen_[part]) g_channel->peak(kNames[part], highest_[part]);
}

StepTimer::StepTimer(int64_t steps) {
  // Whole at once and touched step by step: a page is resident only once durations stand in it.
  for (int64_t*& each : durations_) each = (int64_t*)allocate((size_t)steps * sizeof(int64_t), "the durations of the steps");
}

void StepTimer::lap(Part part) {
  const int64_t now = monotonic_ns();
  durations_[part][done_] = now - last_;
  marked_[part] = true;
  last_ = now;
}

void StepTimer::stop() {
  durations_[kStep][done_++] = monotonic_ns() - begun_;
  marked_[kStep] = true;
}

void StepTimer::report() const {
  const int64_t* lists[kParts];
  for (int32_t part = 0; part < kParts; part++) lists[part] = marked_[part] ? durations_[part] : nullptr;
  g_channel->timing(kNames, lists, kParts, done_);
}

void Losses::add(double loss) {
  sum_ += loss;
  if (++count_ == stretch_) flush();
}

void Losses::flush() {
  if (count_ && filled_ < 100) means_[filled_++] = sum_ / (double)count_;
  sum_ = 0, count_ = 0;
}

}  // namespace harness_train
