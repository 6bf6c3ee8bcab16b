#include "threads.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>

namespace harness {

namespace {

void futex_wait(int32_t* word, int32_t value) { syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0); }
void futex_wake(int32_t* word) { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0); }

void pause_core() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Returns the value of *word once it is not `value`: spins a little, then sleeps, and is counted as a sleeper then.
int32_t await_change(int32_t* word, int32_t value, int32_t spins, int32_t* sleepers) {
  for (int32_t i = 0; i < spins; i++) {
    const int32_t now = __atomic_load_n(word, __ATOMIC_ACQUIRE);
    if (now != value) return now;
    pause_core();
  }
  for (;;) {
    const int32_t now = __atomic_load_n(word, __ATOMIC_ACQUIRE);
    if (now != value) return now;
    __atomic_add_fetch(sleepers, 1, __ATOMIC_SEQ_CST);
    futex_wait(word, value);
    __atomic_sub_fetch(sleepers, 1, __ATOMIC_SEQ_CST);
  }
}

// Wakes those who sleep on a word that has just changed, which saves a system call where all still spin. The change, the
// counting and both looks are in one order (SEQ_CST): a sleeper not counted yet will see the change in futex_wait.
void wake(int32_t* word, const int32_t* sleepers) {
  if (__atomic_load_n(sleepers, __ATOMIC_SEQ_CST) > 0) futex_wake(word);
}

}  // namespace

bool Threads::start(int32_t count) {
  count_ = count < 1 ? 1 : count > kMaxThreads ? kMaxThreads : count;
  // About 20 microseconds; a thread that has no core of its own must not take another's.
  spins_ = count_ <= sysconf(_SC_NPROCESSORS_ONLN) ? 2000 : 0;
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes) != 0) return false;
  pthread_attr_setstacksize(&attributes, 128 << 10);
  bool started = true;
  for (int32_t i = 1; i < count_ && started; i++) {
    seats_[i] = {this, i};
    started = pthread_create(&ids_[i], &attributes, entry, &seats_[i]) == 0;
    started_ += started;
  }
  pthread_attr_destroy(&attributes);
  if (!started) stop();
  return started;
}

void Threads::stop() {
  __atomic_store_n(&ending_, 1, __ATOMIC_RELEASE);
  __atomic_add_fetch(&generation_, 1, __ATOMIC_RELEASE);
  futex_wake(&generation_);
  for (int32_t i = 1; i <= started_; i++) pthread_join(ids_[i], nullptr);
  started_ = 0;
}

void Threads::work(int32_t thread) {
  for (;;) {
    const int32_t unit = __atomic_fetch_add(&next_, 1, __ATOMIC_RELAXED);
    if (unit >= units_) return;
    call_(task_, unit, thread);
  }
}

void Threads::dispatch(int32_t units, Call call, const void* task) {
  if (started_ == 0 || units <= 1) {
    for (int32_t unit = 0; unit < units; unit++) call(task, unit, 0);
    return;
  }
  call_ = call;
  task_ = task;
  units_ = units;
  __atomic_store_n(&next_, 0, __ATOMIC_RELAXED);
  __atomic_store_n(&pending_, started_, __ATOMIC_RELAXED);
  __atomic_add_fetch(&generation_, 1, __ATOMIC_SEQ_CST);
  wake(&generation_, &sleepers_);
  work(0);
  for (int32_t left; (left = __atomic_load_n(&pending_, __ATOMIC_ACQUIRE)) != 0;) await_change(&pending_, left, spins_, &caller_sleeps_);
}

void Threads::serve(int32_t thread) {
  for (int32_t seen = 0;;) {
    seen = await_change(&generation_, seen, spins_, &sleepers_);
    if (__atomic_load_n(&ending_, __ATOMIC_ACQUIRE)) return;
    work(thread);
    if (__atomic_sub_fetch(&pending_, 1, __ATOMIC_SEQ_CST) == 0) wake(&pending_, &caller_sleeps_);
  }
}

void* Threads::entry(void* seat) {
  ((Seat*)seat)->threads->serve(((Seat*)seat)->index);
  return nullptr;
}

}  // namespace harness
