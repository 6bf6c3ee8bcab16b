// What the program says: the messages of harness/protocol.py, one JSON object a line. Times are CLOCK_MONOTONIC ns.
#ifndef HARNESS_TRAIN_CHANNEL_H
#define HARNESS_TRAIN_CHANNEL_H

#include <cstddef>
#include <cstdint>

#include "memory.h"

namespace harness_train {

int64_t monotonic_ns();

// A named part of the arena.
struct Piece {
  const char* name;
  uint64_t bytes;
};

// How the process ends, as the Python worker does: the parent reads the status too.
enum ExitStatus { kDone = 0, kFailed = 1, kOutOfMemory = 3 };

class Channel {
 public:
  explicit Channel(int descriptor) : descriptor_(descriptor) {}

  void phase(const char* name);
  // Where the figures are not known they are null, beside the reason.
  void peak(const char* phase, const Residency& residency);
  void progress(int64_t step, int64_t steps, double loss);
  void window(const char* event);
  // Durations in ns of `count` steps by part; a part whose list is nullptr was fused into another.
  void timing(const char* const* parts, const int64_t* const* durations, int32_t part_count, int64_t count);
  void ledger(const char* const* classes, const uint64_t* bytes, int32_t count, const Piece* scratch, int32_t pieces);
  void evaluated(int64_t step, int64_t correct, int64_t items, int64_t duration_ns);
  void quality(const double* losses, int32_t count, int64_t correct, int64_t items, const char* statistics);
  // Lines "key=value" of the core, beside its instruction set.
  void facts(const char* isa, const char* build);
  void failure(const char* outcome, const char* reason);
  void done();

 private:
  void begin(const char* type);
  void end();
  void name(const char* key);
  void put(const char* text, size_t length);
  void put(const char* text);
  void quoted(const char* text, size_t length);
  void entry(bool first, const char* key, uint64_t value);
  void field(const char* key, const char* text);
  void field(const char* key, int64_t value);
  void real(double value);
  void flush();

  int descriptor_;
  size_t used_ = 0;
  char buffer_[1024];
};

// Where failures are said; set once, by main().
extern Channel* g_channel;

// Says what went wrong and ends the process; there is nothing to unwind, the kernel takes everything back.
[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));
[[noreturn]] void fail_out_of_memory(const char* format, ...) __attribute__((format(printf, 1, 2)));

// `bytes` bytes of zeros that nobody frees; ends the process where memory is refused.
void* allocate(size_t bytes, const char* what);

}  // namespace harness_train

#endif
