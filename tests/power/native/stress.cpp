// Two threads wake a sampler as fast as they can while a third rewrites, removes and renames its files; then one wakes it
// once at a time. Built with sanitizers by test_sampler.py. Prints "clean" where every round was whole, every reading a
// number or an error, and no wake was lost.
#include "sampler.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

namespace {

void write_file(const std::string& path, const char* text) {
  if (std::FILE* file = std::fopen(path.c_str(), "w")) {
    std::fputs(text, file);
    std::fclose(file);
  }
}

bool is_written(int64_t value) { return value == 1 || value == 22 || value == 333; }

// Wakes the sampler once a batch that would last for hours, at any moment of it: one wake lost hangs for good.
int lost_wakes(harness_sampler* sampler) {
  constexpr int kBatches = 60000;
  std::atomic<int> begun{0};
  std::thread other([&] {
    for (int batch = 1; batch <= kBatches; ++batch) {
      while (begun < batch) std::this_thread::yield();
      for (int spin = 0; spin < batch % 300; ++spin) asm volatile("");  // a little later each time
      harness_sampler_wake(sampler);
    }
  });
  const int64_t waits[2] = {int64_t{1} << 60, int64_t{1} << 60};
  int64_t due_ns = int64_t{1} << 60;
  harness_reading readings[4];
  int wrong = 0;
  for (int batch = 1; batch <= kBatches; ++batch) {
    int32_t odd = 0;
    begun = batch;
    wrong += harness_sampler_run(sampler, &due_ns, waits, 2, readings, &odd) != 1;
  }
  other.join();
  return wrong;
}

}  // namespace

int main(int, char** arguments) {
  const std::string folder = arguments[1];
  const std::string names[2] = {folder + "/a", folder + "/b"};
  for (const std::string& name : names) write_file(name, "1\n");
  const char* paths[2] = {names[0].c_str(), names[1].c_str()};
  int32_t failed = 0;
  harness_sampler* sampler = harness_sampler_open(paths, 2, nullptr, &failed);
  if (!sampler || harness_sampler_abi() != 2) return 2;

  std::atomic<bool> done{false};
  std::vector<std::thread> others;
  for (int i = 0; i < 2; ++i) {
    others.emplace_back([&] {
      while (!done) {
        harness_sampler_wake(sampler);
        std::this_thread::yield();
      }
    });
  }
  others.emplace_back([&] {
    for (int turn = 0; !done; ++turn) {
      if (turn % 3 == 0) std::remove(paths[0]);
      if (turn % 3 == 1) write_file(names[0], "22\n");
      if (turn % 3 == 2) std::rename((write_file(folder + "/next", "333\n"), folder + "/next").c_str(), paths[1]);
    }
  });

  constexpr int32_t kRounds = 16;
  std::vector<int64_t> waits(kRounds, 1000);
  for (int32_t i = 0; i < kRounds; i += 2) waits[i] = 1000000;  // and some that are slept through
  std::vector<harness_reading> readings(2 * kRounds);
  int64_t due_ns = 0;
  int wrong = 0;
  char text[harness_text_bytes];
  for (int batch = 0; batch < 2000; ++batch) {
    int32_t odd = 0;
    const int32_t rounds = harness_sampler_run(sampler, &due_ns, waits.data(), kRounds, readings.data(), &odd);
    wrong += rounds < 1 || rounds > kRounds;
    for (int32_t i = 0; i < 2 * rounds; ++i) {
      wrong += readings[i].after_ns < readings[i].before_ns;
      if (i < 2 * (rounds - odd)) wrong += !is_written(readings[i].value);
    }
    for (int32_t i = 0; i < 2; ++i) {
      const int32_t length = harness_sampler_last(sampler, i, text);
      wrong += length > harness_text_bytes;
      odd -= odd && (length < 0 || length == 0);  // removed, or seen half written: nothing else is odd here
    }
    wrong += odd > 0;
  }
  done = true;
  for (std::thread& other : others) other.join();
  wrong += lost_wakes(sampler);
  harness_sampler_close(sampler);

  const char* absent[2] = {paths[1], "/nowhere/at/all"};
  wrong += harness_sampler_open(absent, 2, nullptr, &failed) != nullptr || failed != 1;
  std::printf(wrong ? "%d wrong\n" : "clean\n", wrong);
  return wrong != 0;
}
