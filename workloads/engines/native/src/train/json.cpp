#include "json.h"

#include <cstdlib>
#include <cstring>

namespace harness_train {

namespace {

constexpr int32_t kMostNested = 32, kMostNames = 256;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// UTF-8 of a code point (RFC 3629).
char* put_utf8(uint32_t point, char* to) {
  const auto tail = [&](int shift) { *to++ = (char)(0x80 | (point >> shift & 0x3F)); };
  if (point < 0x80) {
    *to++ = (char)point;
  } else if (point < 0x800) {
    *to++ = (char)(0xC0 | point >> 6), tail(0);
  } else if (point < 0x10000) {
    *to++ = (char)(0xE0 | point >> 12), tail(6), tail(0);
  } else {
    *to++ = (char)(0xF0 | point >> 18), tail(12), tail(6), tail(0);
  }
  return to;
}

}  // namespace

Json::~Json() { free(nodes_); }

bool Json::refuse(const char* why) {
  error_ = why;
  return false;
}

const Node* Json::find(const Node& object, const char* name) const {
  if (object.kind != Node::kObject) return nullptr;
  for (const Node* each = first(object); each; each = after(*each))
    if (strcmp(each->name, name) == 0) return each;
  return nullptr;
}

bool Json::parse(char* text, size_t length) {
  begin_ = at_ = text, end_ = text + length, used_ = 0;
  text[length] = '\0';  // what stops every look-ahead
  int32_t root;
  if (length > INT32_MAX) return refuse("longer than 2 GiB");
  if (!value(0, &root)) return false;
  skip_space();
  return at_ == end_ || refuse("something follows the document");
}

void Json::skip_space() {
  while (*at_ == ' ' || *at_ == '\t' || *at_ == '\n' || *at_ == '\r') at_++;
}

bool Json::take(char wanted) {
  skip_space();
  if (*at_ != wanted || at_ == end_) return false;
  at_++;
  return true;
}

// Returns the index of a new node, or -1 where memory was refused.
int32_t Json::add(Node::Kind kind) {
  if (used_ == room_) {
    const int32_t room = room_ ? 2 * room_ : 256;
    Node* more = (Node*)realloc(nodes_, (size_t)room * sizeof(Node));
    if (!more) return refuse("no memory for it"), -1;
    nodes_ = more, room_ = room;
  }
  nodes_[used_] = {kind, nullptr, nullptr, 0, -1, -1, 0};
  return used_++;
}

bool Json::value(int32_t depth, int32_t* index) {
  if (depth > kMostNested) return refuse("nested too deep");
  skip_space();
  switch (*at_) {
    case '{': return object(depth, index);
    case '[': return array(depth, index);
    case 'n': return word("null", Node::kNull, index);
    case 't': return word("true", Node::kTrue, index);
    case 'f': return word("false", Node::kFalse, index);
    case '"': {
      if ((*index = add(Node::kString)) < 0) return false;
      char* text;
      uint32_t length;
      if (!string(&text, &length)) return false;
      nodes_[*index].text = text, nodes_[*index].length = length;
      return true;
    }
    default: return number(index);
  }
}

bool Json::word(const char* text, Node::Kind kind, int32_t* index) {
  const size_t length = strlen(text);
  if (strncmp(at_, text, length) != 0) return refuse("no JSON value");
  at_ += length;
  return (*index = add(kind)) >= 0;
}

bool Json::number(int32_t* index) {
  const char* from = at_;
  if (*at_ == '-') at_++;
  if (!is_digit(*at_)) return refuse("no JSON value");
  if (*at_ == '0' && is_digit(at_[1])) return refuse("a number with a leading zero");
  while (is_digit(*at_)) at_++;
  if (*at_ == '.') {
    if (!is_digit(*++at_)) return refuse("a number that ends in its point");
    while (is_digit(*at_)) at_++;
  }
  if (*at_ == 'e' || *at_ == 'E') {
    at_++;
    if (*at_ == '+' || *at_ == '-') at_++;
    if (!is_digit(*at_)) return refuse("a number without its exponent");
    while (is_digit(*at_)) at_++;
  }
  if ((*index = add(Node::kNumber)) < 0) return false;
  nodes_[*index].text = from, nodes_[*index].length = (uint32_t)(at_ - from);
  return true;
}

bool Json::string(char** text, uint32_t* length) {
  if (!take('"')) return refuse("a name must be a string");
  char* to = *text = at_;
  while (*at_ != '"') {
    if (at_ == end_) return refuse("a string without its end");
    if ((uint8_t)*at_ < 0x20) return refuse("a control character in a string");
    if (*at_ == '\\') {
      if (!escape(&to)) return false;
    } else {
      *to++ = *at_++;
    }
  }
  at_++;
  *to = '\0';  // at the latest where the closing quote was
  *length = (uint32_t)(to - *text);
  return true;
}

bool Json::escape(char** to) {
  static const char kLetters[] = "\"\\/bfnrt", kMeant[] = "\"\\/\b\f\n\r\t";
  at_++;
  if (*at_ == 'u') return unicode(to);
  const char* found = *at_ ? strchr(kLetters, *at_) : nullptr;
  if (!found) return refuse("an unknown escape");
  *(*to)++ = kMeant[found - kLetters];
  at_++;
  return true;
}

// Reads the four digits after `u`.
bool Json::code_unit(uint32_t* unit) {
  *unit = 0;
  at_++;
  for (int i = 0; i < 4; i++, at_++) {
    const char c = *at_;
    const bool letter = (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    if (!is_digit(c) && !letter) return refuse("an escape without its four digits");
    *unit = *unit << 4 | (uint32_t)(letter ? (c | 0x20) - 'a' + 10 : c - '0');
  }
  return true;
}

bool Json::unicode(char** to) {
  uint32_t unit, low;
  if (!code_unit(&unit)) return false;
  if (unit == 0) return refuse("NUL in a string");
  if (unit >= 0xDC80 && unit <= 0xDCFF) {
    // How Python writes a byte of a path that is no UTF-8 (PEP 383).
    *(*to)++ = (char)(unit & 0xFF);
    return true;
  }
  if (unit >= 0xD800 && unit <= 0xDFFF) {
    if (unit >= 0xDC00 || at_[0] != '\\' || at_[1] != 'u') return refuse("half a surrogate pair");
    at_++;
    if (!code_unit(&low)) return false;
    if (low < 0xDC00 || low > 0xDFFF) return refuse("half a surrogate pair");
    unit = 0x10000 + ((unit & 0x3FF) << 10) + (low & 0x3FF);
  }
  *to = put_utf8(unit, *to);  // never longer than what it was written as
  return true;
}

void Json::link(int32_t parent, int32_t* last, int32_t element) {
  (*last < 0 ? nodes_[parent].child : nodes_[*last].next) = element;
  nodes_[parent].count++;
  *last = element;
}

bool Json::array(int32_t depth, int32_t* index) {
  at_++;
  if ((*index = add(Node::kArray)) < 0) return false;
  if (take(']')) return true;
  for (int32_t last = -1, element;;) {
    if (!value(depth + 1, &element)) return false;
    link(*index, &last, element);
    if (take(']')) return true;
    if (!take(',')) return refuse("an array without its end");
  }
}

bool Json::object(int32_t depth, int32_t* index) {
  at_++;
  if ((*index = add(Node::kObject)) < 0) return false;
  if (take('}')) return true;
  for (int32_t last = -1, element;;) {
    char* name;
    uint32_t length;
    skip_space();
    if (!string(&name, &length)) return false;
    if (nodes_[*index].count == kMostNames) return refuse("an object of too many names");
    if (find(nodes_[*index], name)) return refuse("a name that is given twice");
    if (!take(':')) return refuse("a name without its value");
    if (!value(depth + 1, &element)) return false;
    nodes_[element].name = name;
    link(*index, &last, element);
    if (take('}')) return true;
    if (!take(',')) return refuse("an object without its end");
  }
}

}  // namespace harness_train
