// A strict reader of JSON (RFC 8259) for the plan: small enough to be read in one go, and to add nothing to what is
// measured. It refuses what the standard forbids, and also names given twice, NUL in a string, and nesting over 32.
#ifndef HARNESS_TRAIN_JSON_H
#define HARNESS_TRAIN_JSON_H

#include <cstddef>
#include <cstdint>

namespace harness_train {

struct Node {
  enum Kind : uint8_t { kNull, kFalse, kTrue, kNumber, kString, kArray, kObject };
  Kind kind;
  const char* name;  // within an object, NUL-terminated; else nullptr
  const char* text;  // of a string, decoded and NUL-terminated; of a number, its first character
  uint32_t length;   // of the text
  int32_t child;     // index of the first element, -1 for none
  int32_t next;      // index of the element after this one, -1 for none
  int32_t count;     // elements
};

class Json {
 public:
  ~Json();
  // Reads one document. Strings are decoded in place, so `text` is changed and must outlive the nodes. `text[length]`
  // must be writable. Returns false where it is no JSON, or memory was refused; error() then says why.
  bool parse(char* text, size_t length);
  const char* error() const { return error_; }
  size_t error_at() const { return (size_t)(at_ - begin_); }  // byte at which the reading stopped

  const Node& root() const { return nodes_[0]; }
  const Node* first(const Node& parent) const { return at(parent.child); }
  const Node* after(const Node& node) const { return at(node.next); }
  const Node* find(const Node& object, const char* name) const;  // nullptr where it is absent

 private:
  const Node* at(int32_t index) const { return index < 0 ? nullptr : &nodes_[index]; }
  bool refuse(const char* why);
  void skip_space();
  bool take(char wanted);
  int32_t add(Node::Kind kind);
  bool value(int32_t depth, int32_t* index);
  bool word(const char* text, Node::Kind kind, int32_t* index);
  bool number(int32_t* index);
  bool string(char** text, uint32_t* length);
  bool escape(char** to);
  bool code_unit(uint32_t* unit);
  bool unicode(char** to);
  bool array(int32_t depth, int32_t* index);
  bool object(int32_t depth, int32_t* index);
  void link(int32_t parent, int32_t* last, int32_t element);

  Node* nodes_ = nullptr;
  int32_t used_ = 0, room_ = 0;
  char *begin_ = nullptr, *at_ = nullptr, *end_ = nullptr;
  const char* error_ = "";
};

}  // namespace harness_train

#endif
