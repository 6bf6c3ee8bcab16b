// Reads a few sysfs files at due times and keeps what they said: the C interface that power/native/sampler.py calls.
//
// Nothing is interpreted here: a reading is the file's text between two instants, or the error the kernel gave. What it
// means (domain, unit, wraparound) is decided once, in Python, for every way of reading alike.
#pragma once

#include <cstdint>

#if defined(__GNUC__)
#define HARNESS_API extern "C" __attribute__((visibility("default")))
#else
#define HARNESS_API extern "C"
#endif

struct harness_sampler;

// One reading of one file; 64 bytes.
struct harness_reading {
  int64_t before_ns;  // the clock before the read
  int64_t after_ns;   // and after it
  int32_t length;     // bytes of `text`; a negative errno where the file could not be read
  char text[44];      // as the kernel wrote it, cut off after 44 bytes
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
// read at once, and after a round with an error or a text that is no integer. `due_ns` is then when to go on.
HARNESS_API int32_t harness_sampler_run(harness_sampler* sampler, int64_t* due_ns, const int64_t* waits_ns, int32_t rounds,
                                        harness_reading* readings);

// Ends the present wait, or the next one; from any thread.
HARNESS_API void harness_sampler_wake(harness_sampler* sampler);

// Closes the files. Nothing may run or wake any more.
HARNESS_API void harness_sampler_close(harness_sampler* sampler);
