// What this process holds, by the kernel's own account: as harness/memory.py, which says how exact that is; and how
// much more it may take: as limits.py.
#ifndef HARNESS_TRAIN_MEMORY_H
#define HARNESS_TRAIN_MEMORY_H

#include <cstdint>

namespace harness_train {

struct Residency {
  int64_t rss, peak, anon, file;  // bytes; the peak since the last reset
  const char* reason;             // why there are none; nullptr where there are
};

// Ends the process where /proc/self/status cannot be read: without it nothing can be measured.
Residency read_residency();
// Lets the peak start anew from what is resident now.
void reset_peak();
// The least of what the data limit, the control group (version 2) and the machine leave; -1 where none is known.
int64_t available_bytes();

}  // namespace harness_train

#endif
