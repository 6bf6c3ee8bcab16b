// harness-train: trains one trial without Python. It reads the plan that `harness run --worker program` writes, and
// says what it does as harness/worker.py says it.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "trial.h"

using namespace harness_train;

namespace {

const char kUsage[] =
    "usage: harness-train [PLAN]\n"
    "Trains one trial as the plan says (a JSON document; default: one line of standard input) and writes JSON lines:\n"
    "phases, peaks, times, losses and accuracy, to the descriptor HARNESS_MESSAGES_FD, or to standard output.\n"
    "`harness run --worker program` runs it; `harness run --plans DIR` writes the plans and runs nothing.\n";

struct Text {
  char* bytes;
  size_t length, room;
};

// Reads to the end, or of standard input one line: its writer may have more to say later.
void read_all(int file, bool line, Text& text) {
  for (;;) {
    if (text.length + 1 >= text.room) {
      text.room = text.room ? 2 * text.room : 1 << 14;
      text.bytes = (char*)realloc(text.bytes, text.room);
      if (!text.bytes) fail_out_of_memory("%zu bytes for the plan were refused", text.room);
    }
    const ssize_t got = read(file, text.bytes + text.length, text.room - text.length - 1);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail("the plan cannot be read: %s", strerror(errno));
    if (got == 0) return;
    text.length += (size_t)got;
    if (line && text.bytes[text.length - 1] == '\n') return;
  }
}

int messages_descriptor() {
  const char* named = getenv("HARNESS_MESSAGES_FD");
  if (!named || !*named) return STDOUT_FILENO;
  char* end = nullptr;
  const long number = strtol(named, &end, 10);
  if (*end || number < 1 || number > INT_MAX) {
    fprintf(stderr, "harness-train: HARNESS_MESSAGES_FD is '%s', which is no descriptor to write to; unset it for standard output\n", named);
    _exit(2);
  }
  return (int)number;
}

}  // namespace

int main(int count, char** arguments) {
  if (count > 2 || (count == 2 && arguments[1][0] == '-')) {
    const bool asked = count == 2 && strcmp(arguments[1], "--help") == 0;
    fputs(kUsage, asked ? stdout : stderr);
    return asked ? 0 : 2;
  }
  signal(SIGPIPE, SIG_IGN);
  Channel channel(messages_descriptor());
  g_channel = &channel;
  int file = STDIN_FILENO;
  if (count == 2 && (file = open(arguments[1], O_RDONLY | O_CLOEXEC)) < 0) fail("%s cannot be opened: %s", arguments[1], strerror(errno));
  Text text = {};
  read_all(file, count == 1, text);
  if (count == 1 && text.length == 0) _exit(kFailed);  // the parent is gone
  Json json;
  Job job = {};
  read_job(text.bytes, text.length, json, job);
  Trial trial(job);
  trial.run();
  channel.done();
  return kDone;
}
