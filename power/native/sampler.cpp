// The sampler of sampler.h. Plain calls of the C library throughout, so that emulated devices (LD_PRELOAD) serve it too.
//
// After ten milliseconds of sleep every line of code and data is out of the cache, and fetching them is most of what a round
// costs. So the loop touches little: no call that can be spared, texts compared and parsed in place, 24 bytes kept.
// It waits in a timer's file: what a wake-up through a condition costs, less a tenth, and nearer to when it was due.
#include "sampler.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include <fcntl.h>
#include <sys/timerfd.h>
#include <unistd.h>

namespace {

constexpr int64_t kSecond = 1000000000;

struct File {
  char* path;
  int descriptor;
  int32_t result;  // of the last reading: the length of its text, or a negative errno
  int32_t length;  // of the last text; −1 before the first
  int32_t turn;    // which of `texts` that is
  char texts[2][harness_text_bytes];
};

int64_t monotonic_ns() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * kSecond + time.tv_nsec;
}

// Returns the bytes read from the file's start, or a negative errno.
int32_t read_start(int descriptor, char* text) {
  ssize_t length;
  do {
    length = pread(descriptor, text, harness_text_bytes, 0);
  } while (length < 0 && errno == EINTR);
  return length < 0 ? -errno : static_cast<int32_t>(length);
}

int open_file(const char* path) {
  int descriptor;
  do {
    descriptor = open(path, O_RDONLY | O_CLOEXEC);
  } while (descriptor < 0 && errno == EINTR);
  return descriptor;
}

bool same(const char* text, const char* other, int32_t length) {
  while (length > 0 && text[length - 1] == other[length - 1]) --length;  // counters differ at their end
  return length == 0;
}

// Opens the file anew by its name and reads that, so that a device that was taken away or replaced is noticed.
int32_t read_again(File& file, char* text) {
  const int descriptor = open_file(file.path);
  if (descriptor < 0) return -errno;
  close(file.descriptor);
  file.descriptor = descriptor;
  return read_start(descriptor, text);
}

// Reads a file as power/sysfs.py does: what did not change is asked for again.
void read_file(File& file) {
  const char* before = file.texts[file.turn];
  char* text = file.texts[file.turn ^ 1];
  int32_t length = read_start(file.descriptor, text);
  if (length >= 0 && length == file.length && same(text, before, length)) length = read_again(file, text);
  file.result = length;
  if (length < 0) return;
  file.length = length;
  file.turn ^= 1;
}

// Parses a text that can only be an integer of 64 bits: what else it may be is for Python to say, at once.
bool parse(const char* text, int32_t length, int64_t& value) {
  value = 0;
  if (length > 0 && text[length - 1] == '\n') --length;
  const bool negative = length > 0 && text[0] == '-';
  const int32_t first = negative ? 1 : 0;
  if (length <= first || length >= harness_text_bytes) return false;
  int64_t parsed = 0;
  for (int32_t at = first; at < length; ++at) {
    const int digit = text[at] - '0';
    if (digit < 0 || digit > 9 || __builtin_mul_overflow(parsed, 10, &parsed)) return false;
    if (__builtin_add_overflow(parsed, negative ? -digit : digit, &parsed)) return false;
  }
  value = parsed;
  return true;
}

}  // namespace

struct harness_sampler {
  File* files;
  int32_t count;
  int timer;
  bool woken;  // by another thread
  const int64_t* clock_ns;
};

namespace {

int64_t now_ns(const harness_sampler& sampler) {
  return sampler.clock_ns ? __atomic_load_n(sampler.clock_ns, __ATOMIC_ACQUIRE) : monotonic_ns();
}

void set_timer(const harness_sampler& sampler, int64_t at_ns) {
  const itimerspec at = {{0, 0}, {static_cast<time_t>(at_ns / kSecond), static_cast<long>(at_ns % kSecond)}};
  timerfd_settime(sampler.timer, TFD_TIMER_ABSTIME, &at, nullptr);
}

// Sleeps until the timer, which harness_sampler_wake may have set back after `woken`, has run out.
void sleep_until(harness_sampler& sampler, int64_t at_ns) {
  set_timer(sampler, at_ns);
  if (__atomic_load_n(&sampler.woken, __ATOMIC_SEQ_CST)) return;
  uint64_t times;
  const ssize_t length = read(sampler.timer, &times, sizeof times);
  static_cast<void>(length);  // a signal ends it too: the caller looks at the clock again
}

// Waits until `due_ns`; returns whether harness_sampler_wake ended it.
bool wait_until(harness_sampler& sampler, int64_t due_ns) {
  while (!__atomic_exchange_n(&sampler.woken, false, __ATOMIC_SEQ_CST)) {
    const int64_t left_ns = due_ns - now_ns(sampler);
    if (left_ns <= 0) return false;
    sleep_until(sampler, sampler.clock_ns ? monotonic_ns() + left_ns : due_ns);
  }
  return true;
}

// Returns whether the reading is an integer; a file that cannot be read is not.
bool take(const harness_sampler& sampler, File& file, harness_reading& reading) {
  reading.before_ns = now_ns(sampler);
  read_file(file);
  reading.after_ns = now_ns(sampler);
  return parse(file.texts[file.turn], file.result, reading.value);
}

bool add_file(harness_sampler& sampler, const char* path) {
  const int descriptor = open_file(path);
  if (descriptor < 0) return false;
  char* kept = strdup(path);
  if (!kept) {
    close(descriptor);
    return false;
  }
  File& file = sampler.files[sampler.count++];
  file.path = kept;
  file.descriptor = descriptor;
  file.length = -1;
  return true;
}

}  // namespace

int32_t harness_sampler_abi() { return 2; }

harness_sampler* harness_sampler_open(const char* const* paths, int32_t count, const int64_t* clock_ns, int32_t* failed) {
  *failed = 0;
  auto* sampler = static_cast<harness_sampler*>(std::calloc(1, sizeof(harness_sampler)));
  if (!sampler) return nullptr;
  sampler->clock_ns = clock_ns;
  sampler->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
  if (sampler->timer >= 0) sampler->files = static_cast<File*>(std::calloc(count, sizeof(File)));
  while (sampler->files && sampler->count < count && add_file(*sampler, paths[sampler->count])) {
  }
  if (sampler->files && sampler->count == count) return sampler;
  const int error = errno;
  *failed = sampler->count;
  harness_sampler_close(sampler);
  errno = error;
  return nullptr;
}

int32_t harness_sampler_run(harness_sampler* sampler, int64_t* due_ns, const int64_t* waits_ns, int32_t rounds,
                            harness_reading* readings, int32_t* odd) {
  *odd = 0;
  for (int32_t round = 0; round < rounds; ++round) {
    const bool woken = wait_until(*sampler, *due_ns);
    for (int32_t i = 0; i < sampler->count; ++i) {
      if (!take(*sampler, sampler->files[i], *readings++)) *odd = 1;
    }
    const int64_t at_ns = now_ns(*sampler);
    if (at_ns >= *due_ns) {  // else woken before it
      const int64_t next_ns = *due_ns + waits_ns[round];
      *due_ns = next_ns > at_ns ? next_ns : at_ns;
    }
    if (woken || *odd) return round + 1;
  }
  return rounds;
}

int32_t harness_sampler_last(const harness_sampler* sampler, int32_t index, char* text) {
  const File& file = sampler->files[index];
  if (file.result > 0) std::memcpy(text, file.texts[file.turn], file.result);
  return file.result;
}

void harness_sampler_wake(harness_sampler* sampler) {
  __atomic_store_n(&sampler->woken, true, __ATOMIC_SEQ_CST);
  set_timer(*sampler, 1);  // long ago
}

void harness_sampler_close(harness_sampler* sampler) {
  for (int32_t i = 0; i < sampler->count; ++i) {
    close(sampler->files[i].descriptor);
    std::free(sampler->files[i].path);
  }
  std::free(sampler->files);
  if (sampler->timer >= 0) close(sampler->timer);
  std::free(sampler);
}
