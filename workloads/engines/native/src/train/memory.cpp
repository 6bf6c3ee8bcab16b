#include "memory.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "channel.h"

namespace harness_train {

namespace {

struct Text {
  char bytes[4096];
  ssize_t length;  // -1: not there
};

void read_file(const char* path, Text& text) {
  text.length = -1;
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file >= 0) {
    text.length = read(file, text.bytes, sizeof text.bytes - 1);
    close(file);
  }
  text.bytes[text.length < 0 ? 0 : text.length] = '\0';
}

// The number behind the beginning of a line; -1 where no line begins so.
int64_t field(const Text& text, const char* beginning) {
  const size_t length = strlen(beginning);
  for (const char* line = text.bytes; line; line = strchr(line, '\n')) {
    line += *line == '\n';
    if (strncmp(line, beginning, length) == 0) return strtoll(line + length, nullptr, 10);
  }
  return -1;
}

// The same of a line "beginning  value kB", in bytes.
int64_t kib_field(const Text& text, const char* beginning) {
  const int64_t kib = field(text, beginning);
  return kib < 0 ? -1 : kib * 1024;
}

// An emulator of user programs answers /proc/self/exe itself, with the program it emulates; /proc/thread-self/exe is
// the kernel's own answer, which is the emulator.
bool is_emulated() {
  char self[512], kernel[512];
  const ssize_t self_length = readlink("/proc/self/exe", self, sizeof self);
  const ssize_t kernel_length = readlink("/proc/thread-self/exe", kernel, sizeof kernel);
  if (self_length < 0 || kernel_length < 0) return false;
  return self_length != kernel_length || memcmp(self, kernel, (size_t)self_length) != 0;
}

bool emulated() {
  static int known = -1;
  if (known < 0) known = is_emulated();
  return known;
}

int64_t data_room() {
  rlimit limit;
  if (getrlimit(RLIMIT_DATA, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return -1;
  Text status;
  read_file("/proc/self/status", status);
  const int64_t used = kib_field(status, "VmData:"), left = (int64_t)limit.rlim_cur - used;
  return used < 0 ? -1 : left > 0 ? left : 0;
}

// What a control group (version 2) leaves; -1 where it has no limit. Of pages of files, those not in use are given back
// before anything is refused, though the group counts them.
int64_t room_of(const char* group) {
  const auto read_own = [group](const char* name, Text& text) {
    char path[4300];
    snprintf(path, sizeof path, "%s/%s", group, name);
    read_file(path, text);
  };
  Text limit, current, counted;
  read_own("memory.max", limit);
  read_own("memory.current", current);
  read_own("memory.stat", counted);
  const int64_t unused = field(counted, "inactive_file ");
  if (limit.length < 1 || current.length < 1 || unused < 0 || strncmp(limit.bytes, "max", 3) == 0) return -1;
  const int64_t left = strtoll(limit.bytes, nullptr, 10) - strtoll(current.bytes, nullptr, 10) + unused;
  return left > 0 ? left : 0;
}

// The least that this process's own group or one above it leaves.
int64_t group_room() {
  Text groups;
  read_file("/proc/self/cgroup", groups);
  const char* line = strncmp(groups.bytes, "0::", 3) == 0 ? groups.bytes : strstr(groups.bytes, "\n0::");
  line = line ? strchr(line, '/') : nullptr;
  if (!line) return -1;
  char path[4200] = "/sys/fs/cgroup";
  char* const group = path + strlen(path);
  snprintf(group, sizeof path - (size_t)(group - path), "%.*s", (int)strcspn(line, "\n"), line);
  int64_t least = -1;
  for (char* end = group + strlen(group); end; end = strrchr(group, '/')) {
    *end = '\0';
    const int64_t room = room_of(path);
    if (room >= 0 && (least < 0 || room < least)) least = room;
  }
  return least;
}

int64_t machine_room() {
  Text info;
  read_file("/proc/meminfo", info);
  return kib_field(info, "MemAvailable:");
}

}  // namespace

Residency read_residency() {
  if (emulated()) return {0, 0, 0, 0, "this program runs under an emulator, and the kernel counts the emulator's memory"};
  Text status;
  read_file("/proc/self/status", status);
  const Residency found = {kib_field(status, "VmRSS:"), kib_field(status, "VmHWM:"), kib_field(status, "RssAnon:"), kib_field(status, "RssFile:"), nullptr};
  if (found.rss < 0 || found.peak < 0 || found.anon < 0 || found.file < 0) fail("cannot read the memory in /proc/self/status");
  return found;
}

void reset_peak() {
  if (emulated()) return;
  const int file = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
  const bool reset = file >= 0 && write(file, "5", 1) == 1;
  if (!reset) fail("cannot reset the peak in /proc/self/clear_refs: %s", strerror(errno));
  close(file);
}

int64_t available_bytes() {
  int64_t least = -1;
  const int64_t rooms[] = {data_room(), group_room(), machine_room()};
  for (const int64_t room : rooms)
    if (room >= 0 && (least < 0 || room < least)) least = room;
  return least;
}

}  // namespace harness_train
