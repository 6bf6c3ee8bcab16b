// Reads a few sysfs files at due times and keeps what they said: the C interface that power/native/sampler.py calls.
//
// Nothing is interpreted here but that a text is an integer: what it means (domain, unit, wraparound), and what a text means
// that is none, is decided once, in Python, for every way of reading alike.
#pragma once

#include <cstdint>

#if defined(__GNUC__)
#define HARNESS_API extern "C" __attribute__((visibility("default")))
#else
#define HARNESS_API extern "C"
#endif

struct harness_sampler;

// As much of a file as is kept; a text of this length may have been cut off.
constexpr int32_t harness_text_bytes = 44;

// One reading of one file; 24 bytes, so that hours of them are drained in few pieces.
struct harness_reading {
  int64_t before_ns;  // the clock before the read
  int64_t after_ns;   // and after it
  int64_t value;      // the file's integer; 0 where it has none (see harness_sampler_last)
};

// Raised with every change of this interface.
HARNESS_API int32_t harness_sampler_abi();

// Opens `count` files. `clock_ns`: where the time stands that readings are stamped with and due by, for tests; null is
// CLOCK_MONOTONIC, as in Python. Returns null where one cannot be opened: `failed` is then its index, errno the reason.
HARNESS_API harness_sampler* harness_sampler_open(const char* const* paths, int32_t count, const int64_t* clock_ns,
                                                  int32_t* failed);

// Reads all files `rounds` times: the first time at `due_ns`, then after each of `waits_ns`, counted from when the round
// before was due (after a stall one round is made up for, not all that were missed). `readings` has room for rounds × count,
// so nothing is ever written over. Returns how many rounds were read: fewer after harness_sampler_wake, which has all files
// read at once, and after a round with an error or a text that is no integer, where `odd` is 1. `due_ns` is then when to go on.
HARNESS_API int32_t harness_sampler_run(harness_sampler* sampler, int64_t* due_ns, const int64_t* waits_ns, int32_t rounds,
                                        harness_reading* readings, int32_t* odd);

// Writes what file `index` said last, as the kernel wrote it, to `text` (harness_text_bytes long) and returns its length, or
// a negative errno where the file could not be read. In the thread that runs.
HARNESS_API int32_t harness_sampler_last(const harness_sampler* sampler, int32_t index, char* text);

// Ends the present wait, or the next one; from any thread.
HARNESS_API void harness_sampler_wake(harness_sampler* sampler);

// Closes the files. Nothing may run or wake any more.
HARNESS_API void harness_sampler_close(harness_sampler* sampler);
