// One training from the library to the evaluation, in the phases of harness/worker.py.
#ifndef HARNESS_TRAIN_TRIAL_H
#define HARNESS_TRAIN_TRIAL_H

#include "job.h"
#include "stopwatch.h"
#include "training.h"

namespace harness_train {

class Trial {
 public:
  explicit Trial(const Job& job);
  void run();  // ends the process where anything goes wrong

 private:
  void rehearse();
  void train(Training& training, BatchReader& reader);
  void read_batch(BatchReader& reader);
  template <typename Mark>
  void step(Training& training, int64_t index, const Mark& mark);
  void edge(const char* event);
  void evaluate(Training& training);
  bool evaluation_is_due(int64_t step) const;
  void evaluate_between(Training& training, int64_t step);
  struct Counted {
    int64_t correct, items, duration_ns;
  };
  Counted count_right(Training& training);
  void stay_heard();
  template <typename Visit>
  void first_batches(const Split& split, int64_t items, const Visit& visit);

  const Job& job_;
  PhasePeaks peaks_;
  Losses losses_;
  Augmentation augmentation_;
  uint8_t *images_ = nullptr, *labels_ = nullptr;  // one batch: made once and used for every batch
  int64_t taken_ = 0;  // steps
  int64_t said_ns_ = 0;
};

}  // namespace harness_train

#endif
