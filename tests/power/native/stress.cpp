// Two threads wake a sampler as fast as they can while a third rewrites, removes and renames its files; built with
// sanitizers by test_sampler.py. Prints "clean" where every round was whole and every reading a number or an error.
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

}  // namespace

int main(int, char** arguments) {
  const std::string folder = arguments[1];
  const std::string names[2] = {folder + "/a", folder + "/b"};
  for (const std::string& name : names) write_file(name, "1\n");
  const char* paths[2] = {names[0].c_str(), names[1].c_str()};
  int32_t failed = 0;
  harness_sampler* sampler = harness_sampler_open(paths, 2, nullptr, &failed);
  if (!sampler || harness_sampler_abi() != 1) return 2;

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
  const std::vector<int64_t> waits(kRounds, 1000);
  std::vector<harness_reading> readings(2 * kRounds);
  int64_t due_ns = 0;
  int wrong = 0;
  for (int batch = 0; batch < 2000; ++batch) {
    const int32_t rounds = harness_sampler_run(sampler, &due_ns, waits.data(), kRounds, readings.data());
    wrong += rounds < 1 || rounds > kRounds;
    for (int32_t i = 0; i < 2 * rounds; ++i) {
      const harness_reading& reading = readings[i];
      wrong += reading.after_ns < reading.before_ns || reading.length > static_cast<int32_t>(sizeof reading.text);
    }
  }
  done = true;
  for (std::thread& other : others) other.join();
  harness_sampler_close(sampler);

  const char* absent[2] = {paths[1], "/nowhere/at/all"};
  wrong += harness_sampler_open(absent, 2, nullptr, &failed) != nullptr || failed != 1;
  std::printf(wrong ? "%d wrong\n" : "clean\n", wrong);
  return wrong != 0;
}
