#include "channel.h"

#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace harness_train {

Channel* g_channel = nullptr;

int64_t monotonic_ns() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

// A parent that is gone ends this process, since nobody would read on (main() has SIGPIPE ignored). To it there is nothing
// to say; where the messages go to a file or a terminal, somebody may wonder.
void Channel::flush() {
  for (size_t done = 0; done < used_;) {
    const ssize_t wrote = write(descriptor_, buffer_ + done, used_ - done);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) {
      if (errno != EPIPE) fprintf(stderr, "harness-train: the messages cannot be written: %s\n", strerror(errno));
      _exit(kFailed);
    }
    done += (size_t)wrote;
  }
  used_ = 0;
}

void Channel::put(const char* text, size_t length) {
  while (length > 0) {
    if (used_ == sizeof buffer_) flush();
    const size_t room = sizeof buffer_ - used_, taken = length < room ? length : room;
    memcpy(buffer_ + used_, text, taken);
    used_ += taken, text += taken, length -= taken;
  }
}

void Channel::put(const char* text) { put(text, strlen(text)); }

// Bytes that are no UTF-8 (of a path) are replaced one by one: the parent refuses a line that is no UTF-8.
static size_t utf8_length(const char* text, size_t length) {
  const uint8_t first = (uint8_t)text[0];
  const size_t wanted = first < 0x80 ? 1 : first >= 0xC2 && first < 0xE0 ? 2 : first >= 0xE0 && first < 0xF0 ? 3 : first >= 0xF0 && first < 0xF5 ? 4 : 0;
  if (wanted == 0 || wanted > length) return 0;
  for (size_t i = 1; i < wanted; i++)
    if (((uint8_t)text[i] & 0xC0) != 0x80) return 0;
  const uint8_t second = wanted > 1 ? (uint8_t)text[1] : 0;
  const bool overlong = (first == 0xE0 && second < 0xA0) || (first == 0xF0 && second < 0x90);
  const bool outside = (first == 0xED && second >= 0xA0) || (first == 0xF4 && second >= 0x90);
  return overlong || outside ? 0 : wanted;
}

void Channel::quoted(const char* text, size_t length) {
  put("\"");
  while (length > 0) {
    const size_t taken = utf8_length(text, length);
    char escaped[8];
    if (taken == 0) {
      put("\\ufffd");
    } else if ((uint8_t)*text < 0x20 || *text == '"' || *text == '\\') {
      snprintf(escaped, sizeof escaped, "\\u%04x", (unsigned)(uint8_t)*text);
      put(escaped);
    } else {
      put(text, taken);
    }
    text += taken ? taken : 1, length -= taken ? taken : 1;
  }
  put("\"");
}

void Channel::name(const char* key) {
  put(",\"");
  put(key);
  put("\":");
}

void Channel::field(const char* key, const char* text) {
  name(key);
  quoted(text, strlen(text));
}

void Channel::field(const char* key, int64_t value) {
  char digits[24];
  snprintf(digits, sizeof digits, "%lld", (long long)value);
  name(key);
  put(digits);
}

// 17 digits name a double exactly. JSON has no word for what is not finite: null.
void Channel::real(double value) {
  char digits[32];
  snprintf(digits, sizeof digits, "%.17g", value);
  put(std::isfinite(value) ? digits : "null");
}

void Channel::begin(const char* type) {
  put("{\"type\":");
  quoted(type, strlen(type));
}

void Channel::end() {
  put("}\n");
  flush();
}

void Channel::phase(const char* phase) {
  begin("phase"), field("name", phase), field("t_ns", monotonic_ns()), end();
}

void Channel::peak(const char* phase, const Residency& residency) {
  begin("peak"), field("phase", phase), field("t_ns", monotonic_ns());
  const char* const names[] = {"rss_bytes", "peak_rss_bytes", "anon_bytes", "file_bytes"};
  const int64_t values[] = {residency.rss, residency.peak, residency.anon, residency.file};
  for (int i = 0; i < 4; i++) {
    if (residency.reason)
      name(names[i]), put("null");
    else
      field(names[i], values[i]);
  }
  if (residency.reason) field("reason", residency.reason);
  end();
}

void Channel::progress(int64_t step, int64_t steps, double loss) {
  begin("progress"), field("step", step), field("steps", steps), name("loss"), real(loss), end();
}

void Channel::window(const char* event) {
  const int64_t now = monotonic_ns();
  begin("window"), field("event", event), field("t_ns", now), end();
}

void Channel::timing(const char* const* parts, const int64_t* const* durations, int32_t part_count, int64_t count) {
  begin("timing"), name("durations_ns"), put("{");
  char digits[24];
  for (int32_t part = 0; part < part_count; part++) {
    if (part > 0) put(",");
    quoted(parts[part], strlen(parts[part])), put(durations[part] ? ":[" : ":null");
    for (int64_t i = 0; durations[part] && i < count; i++) {
      snprintf(digits, sizeof digits, i ? ",%lld" : "%lld", (long long)durations[part][i]);
      put(digits);
    }
    if (durations[part]) put("]");
  }
  put("}"), end();
}

void Channel::entry(bool first, const char* key, uint64_t value) {
  char digits[24];
  if (!first) put(",");
  quoted(key, strlen(key));
  snprintf(digits, sizeof digits, ":%llu", (unsigned long long)value);
  put(digits);
}

void Channel::ledger(const char* const* classes, const uint64_t* bytes, int32_t count, const Piece* scratch, int32_t pieces) {
  begin("ledger"), name("allocated"), put("{");
  for (int32_t i = 0; i < count; i++) entry(i == 0, classes[i], bytes[i]);
  put("}"), name("scratch"), put("{");
  for (int32_t i = 0; i < pieces; i++) entry(i == 0, scratch[i].name, scratch[i].bytes);
  put("}"), end();
}

void Channel::evaluated(int64_t step, int64_t correct, int64_t items, int64_t duration_ns) {
  begin("evaluated"), field("step", step), field("correct", correct), field("items", items), field("duration_ns", duration_ns), end();
}

void Channel::quality(const double* losses, int32_t count, int64_t correct, int64_t items, const char* statistics) {
  begin("quality"), name("train_loss"), put("[");
  for (int32_t i = 0; i < count; i++) {
    if (i > 0) put(",");
    real(losses[i]);
  }
  put("]"), field("correct", correct), field("items", items), field("statistics", statistics), end();
}

void Channel::facts(const char* isa, const char* build) {
  begin("facts"), name("engine"), put("{\"name\":\"native\""), field("isa", isa);
  for (const char* line = build; *line;) {
    const size_t length = strcspn(line, "\n"), key = strcspn(line, "=");
    put(","), quoted(line, key), put(":"), quoted(line + key + 1, length - key - 1);
    line += length + (line[length] != '\0');
  }
  put("}"), end();
}

void Channel::failure(const char* outcome, const char* reason) {
  begin("failure"), field("outcome", outcome), field("reason", reason), field("detail", "harness-train"), end();
}

void Channel::done() { begin("done"), end(); }

[[noreturn]] static void end_with(const char* outcome, ExitStatus status, const char* format, va_list arguments) {
  char reason[1024];
  vsnprintf(reason, sizeof reason, format, arguments);
  g_channel->failure(outcome, reason);
  _exit(status);
}

void fail(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  end_with("error", kFailed, format, arguments);
}

void fail_out_of_memory(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  end_with("out_of_memory", kOutOfMemory, format, arguments);
}

void* allocate(size_t bytes, const char* what) {
  void* memory = calloc(1, bytes ? bytes : 1);
  if (!memory) fail_out_of_memory("%zu bytes for %s were refused", bytes, what);
  return memory;
}

}  // namespace harness_train
