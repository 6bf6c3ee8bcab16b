// Reads texts from standard input, each after its length (4 bytes, little-endian), and writes one line for each: what the
// reader of harness-train made of it, written again, or `refused`. The tests compare that with Python's json.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "../train/json.h"

using harness_train::Json;
using harness_train::Node;

namespace {

void write_string(const char* text) {
  putchar('"');
  for (; *text; text++) printf("%02x", (unsigned)(unsigned char)*text);
  putchar('"');
}

void write_value(const Json& json, const Node& node) {
  switch (node.kind) {
    case Node::kNull: fputs("null", stdout); return;
    case Node::kFalse: fputs("false", stdout); return;
    case Node::kTrue: fputs("true", stdout); return;
    case Node::kNumber: printf("%.*s", (int)node.length, node.text); return;
    case Node::kString: write_string(node.text); return;
    default: break;
  }
  int count = 0;
  putchar(node.kind == Node::kArray ? '[' : '{');
  for (const Node* each = json.first(node); each; each = json.after(*each)) {
    if (count++) putchar(',');
    if (node.kind == Node::kObject) write_string(each->name), putchar(':');
    write_value(json, *each);
  }
  putchar(node.kind == Node::kArray ? ']' : '}');
  if (count != node.count) abort();
}

}  // namespace

int main() {
  unsigned char head[4];
  while (fread(head, 1, 4, stdin) == 4) {
    const size_t length = head[0] | head[1] << 8 | head[2] << 16 | (size_t)head[3] << 24;
    char* text = (char*)malloc(length + 1);  // exactly: a sanitizer sees one byte more
    if (!text || fread(text, 1, length, stdin) != length) return 1;
    Json json;
    if (json.parse(text, length))
      write_value(json, json.root());
    else if (json.error_at() > length || !*json.error())
      abort();
    else
      fputs("refused", stdout);
    putchar('\n');
    free(text);
  }
  return 0;
}
