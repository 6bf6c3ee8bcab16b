// The sampler of sampler.h. Plain calls of the C library throughout, so that emulated devices (LD_PRELOAD) serve it too.
#include "sampler.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

namespace {

constexpr int64_t kSecond = 1000000000;

struct File {
  char* path;
  int descriptor;
  int32_t length;  // of the last text; −1 before the first
  char text[sizeof(harness_reading::text)];
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
    length = pread(descriptor, text, sizeof(harness_reading::text), 0);
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

// Reads a file into `text`, as power/sysfs.py does: what did not change is asked for again by its name, so that a device
// that was taken away or replaced is noticed.
int32_t read_file(File& file, char* text) {
  int32_t length = read_start(file.descriptor, text);
  if (length >= 0 && length == file.length && std::memcmp(text, file.text, length) == 0) {
    const int descriptor = open_file(file.path);
    if (descriptor < 0) return -errno;
    close(file.descriptor);
    file.descriptor = descriptor;
    length = read_start(descriptor, text);
  }
  file.length = length;
  if (length > 0) std::memcpy(file.text, text, length);
  return length;
}

// Whether a text can only be an integer: what else it may be is for Python to say, at once.
bool is_integer(const char* text, int32_t length) {
  int32_t at = length > 0 && text[0] == '-' ? 1 : 0;
  const int32_t first = at;
  while (at < length && text[at] >= '0' && text[at] <= '9') ++at;
  if (at == first || length == static_cast<int32_t>(sizeof(harness_reading::text))) return false;
  return at == length || (at + 1 == length && text[at] == '\n');
}

}  // namespace

struct harness_sampler {
  File* files;
  int32_t count;
  const int64_t* clock_ns;
  pthread_mutex_t mutex;
  pthread_cond_t condition;  // waits by CLOCK_MONOTONIC
  bool woken;                // guarded by `mutex`
};

namespace {

int64_t now_ns(const harness_sampler& sampler) {
  return sampler.clock_ns ? __atomic_load_n(sampler.clock_ns, __ATOMIC_ACQUIRE) : monotonic_ns();
}

// Waits until `due_ns`; returns whether harness_sampler_wake ended it.
bool wait_until(harness_sampler& sampler, int64_t due_ns) {
  pthread_mutex_lock(&sampler.mutex);
  while (!sampler.woken) {
    const int64_t left_ns = due_ns - now_ns(sampler);
    if (left_ns <= 0) break;
    const int64_t until_ns = monotonic_ns() + left_ns;
    const timespec until = {static_cast<time_t>(until_ns / kSecond), static_cast<long>(until_ns % kSecond)};
    pthread_cond_timedwait(&sampler.condition, &sampler.mutex, &until);
  }
  const bool woken = sampler.woken;
  sampler.woken = false;
  pthread_mutex_unlock(&sampler.mutex);
  return woken;
}

// Returns whether the reading is an integer; a file that cannot be read is not.
bool take(harness_sampler& sampler, File& file, harness_reading& reading) {
  reading.before_ns = now_ns(sampler);
  reading.length = read_file(file, reading.text);
  reading.after_ns = now_ns(sampler);
  return is_integer(reading.text, reading.length);
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

int32_t harness_sampler_abi() { return 1; }

harness_sampler* harness_sampler_open(const char* const* paths, int32_t count, const int64_t* clock_ns, int32_t* failed) {
  *failed = 0;
  auto* sampler = static_cast<harness_sampler*>(std::calloc(1, sizeof(harness_sampler)));
  if (!sampler) return nullptr;
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&sampler->condition, &attributes);
  pthread_condattr_destroy(&attributes);
  pthread_mutex_init(&sampler->mutex, nullptr);
  sampler->clock_ns = clock_ns;
  sampler->files = static_cast<File*>(std::calloc(count, sizeof(File)));
  while (sampler->files && sampler->count < count && add_file(*sampler, paths[sampler->count])) {
  }
  if (sampler->count == count) return sampler;
  const int error = errno;
  *failed = sampler->count;
  harness_sampler_close(sampler);
  errno = error;
  return nullptr;
}

int32_t harness_sampler_run(harness_sampler* sampler, int64_t* due_ns, const int64_t* waits_ns, int32_t rounds,
                            harness_reading* readings) {
  for (int32_t round = 0; round < rounds; ++round) {
    bool go_on = !wait_until(*sampler, *due_ns);
    for (int32_t i = 0; i < sampler->count; ++i) {
      go_on &= take(*sampler, sampler->files[i], *readings++);
    }
    const int64_t at_ns = now_ns(*sampler);
    if (at_ns >= *due_ns) {  // else woken before it
      const int64_t next_ns = *due_ns + waits_ns[round];
      *due_ns = next_ns > at_ns ? next_ns : at_ns;
    }
    if (!go_on) return round + 1;
  }
  return rounds;
}

void harness_sampler_wake(harness_sampler* sampler) {
  pthread_mutex_lock(&sampler->mutex);
  sampler->woken = true;
  pthread_cond_signal(&sampler->condition);
  pthread_mutex_unlock(&sampler->mutex);
}

void harness_sampler_close(harness_sampler* sampler) {
  for (int32_t i = 0; i < sampler->count; ++i) {
    close(sampler->files[i].descriptor);
    std::free(sampler->files[i].path);
  }
  std::free(sampler->files);
  pthread_cond_destroy(&sampler->condition);
  pthread_mutex_destroy(&sampler->mutex);
  std::free(sampler);
}
