// A small pool of threads that run numbered units of one task at a time.
#ifndef HARNESS_THREADS_H
#define HARNESS_THREADS_H

#include <pthread.h>

#include <cstdint>

namespace harness {

enum { kMaxThreads = 64 };

class Threads {
 public:
  // Starts count - 1 threads of 128 KiB stack; the caller is the first. Returns false when refused.
  bool start(int32_t count);
  void stop();
  int32_t count() const { return count_; }

  // Calls task(unit, thread) for every unit in [0, units), in any order; returns when all are done.
  template <typename Task>
  void run(int32_t units, const Task& task) {
    dispatch(units, [](const void* self, int32_t unit, int32_t thread) { (*(const Task*)self)(unit, thread); }, &task);
  }

 private:
  using Call = void (*)(const void*, int32_t, int32_t);
  struct Seat {
    Threads* threads;
    int32_t index;
  };
  void dispatch(int32_t units, Call call, const void* task);
  void work(int32_t thread);
  void serve(int32_t thread);
  static void* entry(void* seat);

  int32_t count_ = 1, started_ = 0, spins_ = 0;
  pthread_t ids_[kMaxThreads];
  Seat seats_[kMaxThreads];
  Call call_ = nullptr;
  const void* task_ = nullptr;
  int32_t units_ = 0;
  int32_t next_ = 0;        // atomic: the next unit nobody has taken
  int32_t pending_ = 0;     // atomic: threads that have not finished this task
  int32_t generation_ = 0;  // atomic: counts tasks; what idle threads wait on
  int32_t ending_ = 0;      // atomic
  int32_t sleepers_ = 0;    // atomic: threads asleep until the next task
  int32_t caller_sleeps_ = 0;  // atomic: 1 while the caller is asleep until all have finished
};

}  // namespace harness

#endif
