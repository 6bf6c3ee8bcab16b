// One network in training in the core: the arena laid out as workloads/engines/native/plan.py does, and the calls.
#ifndef HARNESS_TRAIN_TRAINING_H
#define HARNESS_TRAIN_TRAINING_H

#include "channel.h"
#include "job.h"

namespace harness_train {

class Training {
 public:
  // Lays out the arena and has the core check it; nothing is allocated yet.
  explicit Training(const Network& network);
  ~Training();

  // Maps the arena and draws the weights; ends the process, as out of memory, with the number of bytes missing.
  void set_up();
  float forward(const uint8_t* images, const uint8_t* labels);
  void backward(float learning_rate);
  void update(float learning_rate);
  bool fused() const { return network_.config.single_buffer != 0; }  // the update is part of the backward pass
  void begin_recalibration();
  void recalibrate(const uint8_t* images, int64_t items);
  int64_t evaluate(const uint8_t* images, const uint8_t* labels, int64_t items);

  // Bytes by class of variable, in the order of network.classes: the arena's own map.
  const uint64_t* ledger() const { return ledger_; }
  // What the class "scratch" is made of; the last is what no piece has: row padding, alignment, room in shared buffers.
  const Piece* scratch() const { return scratch_; }
  int32_t scratch_count() const { return scratch_count_; }

 private:
  void lay_out();
  void name_scratch(uint64_t bytes);

  const Network& network_;
  harness_variable* placed_;
  int32_t placed_count_ = 0;
  uint64_t arena_bytes_ = 0;
  uint64_t* ledger_;
  Piece scratch_[HARNESS_ROLES];
  int32_t scratch_count_ = 0;
  harness_core* core_;
};

// The learning rate of a step: workloads/schedule.py.
double learning_rate(const Job& job, int64_t step);

}  // namespace harness_train

#endif
