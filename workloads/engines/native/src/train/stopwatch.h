// The program's own instruments, as harness/stopwatch.py: peaks by phase, times by part of a step, mean losses.
#ifndef HARNESS_TRAIN_STOPWATCH_H
#define HARNESS_TRAIN_STOPWATCH_H

#include "channel.h"

namespace harness_train {

enum Part : int32_t { kData, kForward, kBackward, kUpdate, kStep, kParts };

// Gives each phase a peak of its own by the kernel's resettable high-water mark. Every reset is preceded by a read, so
// the process's lifetime peak is the highest of the phases'.
class PhasePeaks {
 public:
  void begin(const char* phase);  // ends the phase before, if any
  void end();

 private:
  const char* phase_ = nullptr;
};

// Peaks of the parts of a few warm-up steps, each the highest seen: too dear for a measured step.
class StepPeaks {
 public:
  void start() { reset_peak(); }
  void mark(Part part);
  void report() const;

 private:
  Residency highest_[kParts] = {};
  bool seen_[kParts] = {};
};

// Durations of the parts of each measured step.
class StepTimer {
 public:
  explicit StepTimer(int64_t steps);
  void start() { begun_ = last_ = monotonic_ns(); }
  void lap(Part part);
  void stop();
  void report() const;

 private:
  int64_t done_ = 0, begun_ = 0, last_ = 0;
  int64_t* durations_[kParts];
  bool marked_[kParts] = {};
};

// Mean losses over at most 100 equal stretches of a training, kept as it goes.
class Losses {
 public:
  explicit Losses(int64_t steps) : stretch_(steps > 100 ? (steps + 99) / 100 : 1) {}
  void add(double loss);
  void flush();
  const double* means() const { return means_; }
  int32_t count() const { return filled_; }

 private:
  int64_t stretch_, count_ = 0;
  double sum_ = 0;
  double means_[100];
  int32_t filled_ = 0;
};

}  // namespace harness_train

#endif
