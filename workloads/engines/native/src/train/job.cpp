#include "job.h"

#include <climits>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "channel.h"

namespace harness_train {

namespace {

// Reads members of one object; whatever is not as it must be ends the process, named.
class Object {
 public:
  Object(const Json& json, const Node& node, const char* what) : json_(json), node_(node), what_(what) {
    if (node.kind != Node::kObject) fail("the plan is unusable: '%s' is no object", what);
  }

  const Node& member(const char* name) const {
    const Node* found = json_.find(node_, name);
    if (!found) fail("the plan is unusable: '%s' has no '%s'", what_, name);
    return *found;
  }
  Object object(const char* name) const { return {json_, member(name), name}; }
  const Node& array(const char* name) const {
    const Node& found = member(name);
    if (found.kind != Node::kArray) fail("the plan is unusable: '%s' of '%s' is no list", name, what_);
    return found;
  }
  const char* text(const char* name) const {
    const Node& found = member(name);
    if (found.kind != Node::kString) fail("the plan is unusable: '%s' of '%s' is no text", name, what_);
    return found.text;
  }
  bool flag(const char* name) const {
    const Node& found = member(name);
    if (found.kind != Node::kTrue && found.kind != Node::kFalse) fail("the plan is unusable: '%s' of '%s' is neither true nor false", name, what_);
    return found.kind == Node::kTrue;
  }
  bool absent(const char* name) const {
    const Node* found = json_.find(node_, name);
    return !found || found->kind == Node::kNull;
  }
  double real(const char* name) const {
    const Node& found = member(name);
    const double value = found.kind == Node::kNumber ? strtod(found.text, nullptr) : NAN;
    if (!std::isfinite(value)) fail("the plan is unusable: '%s' of '%s' is no number", name, what_);
    return value;
  }
  int64_t whole(const char* name, int64_t least, int64_t most) const {
    const Node& found = member(name);
    int64_t value = 0;
    bool sound = found.kind == Node::kNumber && found.length < 20;
    for (uint32_t i = found.kind == Node::kNumber && found.text[0] == '-'; sound && i < found.length; i++) {
      const char c = found.text[i];
      sound = c >= '0' && c <= '9' && !__builtin_mul_overflow(value, 10, &value) && !__builtin_add_overflow(value, c - '0', &value);
    }
    if (sound && found.text[0] == '-') value = -value;
    if (!sound || value < least || value > most)
      fail("the plan is unusable: '%s' of '%s' is no whole number from %lld to %lld", name, what_, (long long)least, (long long)most);
    return value;
  }
  // Any whole number, modulo 2^64, as every seed is taken.
  uint64_t modulo(const char* name) const {
    const Node& found = member(name);
    uint64_t value = 0;
    const bool negative = found.kind == Node::kNumber && found.text[0] == '-';
    for (uint32_t i = negative; found.kind == Node::kNumber && i < found.length; i++) {
      const char c = found.text[i];
      if (c < '0' || c > '9') fail("the plan is unusable: '%s' of '%s' is no whole number", name, what_);
      value = 10 * value + (uint64_t)(c - '0');
    }
    if (found.kind != Node::kNumber) fail("the plan is unusable: '%s' of '%s' is no whole number", name, what_);
    return negative ? 0 - value : value;
  }
  // The index of a member among the words it may be, up to a nullptr.
  int32_t choice(const char* name, const char* const* words) const {
    const char* given = text(name);
    for (int32_t i = 0; words[i]; i++)
      if (strcmp(words[i], given) == 0) return i;
    fail("the plan is unusable: harness-train knows no '%s' '%s'", name, given);
  }

  const Json& json() const { return json_; }
  const Node& node() const { return node_; }

 private:
  const Json& json_;
  const Node& node_;
  const char* what_;
};

constexpr int64_t kMostBytes = (int64_t)1 << 48;

template <typename Item>
Item* allocate_items(int32_t count) {
  return (Item*)allocate((size_t)count * sizeof(Item), "the plan");
}

Column read_column(const Object& from) {
  const Node& list = from.array("segments");
  Column column = {allocate_items<Segment>(list.count), 0, from.whole("stride", 0, kMostBytes), from.whole("item_bytes", 1, INT_MAX)};
  for (const Node* each = from.json().first(list); each; each = from.json().after(*each)) {
    const Object part(from.json(), *each, "segments");
    column.segments[column.segment_count++] = {part.text("path"), part.whole("offset", 0, kMostBytes), part.whole("count", 1, INT_MAX)};
  }
  return column;
}

void check_column(const Column& column, const Split& split, const char* what) {
  int64_t described = 0;
  for (int32_t i = 0; i < column.segment_count; i++) described += column.segments[i].count;
  if (!split.noise && described != split.count)
    fail("the plan is unusable: the %s column describes %lld items, the split %lld", what, (long long)described, (long long)split.count);
}

Split read_split(const Object& from, int64_t image_bytes) {
  Split split = {};
  split.count = from.whole("count", 1, INT_MAX), split.classes = (int32_t)from.whole("classes", 1, 256);
  split.noise = !from.absent("noise_seed");
  if (split.noise) split.noise_seed = from.modulo("noise_seed");
  split.images = read_column(from.object("images")), split.labels = read_column(from.object("labels"));
  check_column(split.images, split, "images");
  check_column(split.labels, split, "labels");
  if (split.labels.item_bytes != 1) fail("the native engine takes labels of 1 byte, not of %lld", (long long)split.labels.item_bytes);
  if (split.images.item_bytes != image_bytes)
    fail("the plan is unusable: images of %lld bytes for a network of %lld inputs", (long long)split.images.item_bytes, (long long)image_bytes);
  return split;
}

void read_stage(const Object& from, harness_stage& to) {
#define HARNESS_FIELD(name) to.name = (int32_t)from.whole(#name, 0, INT_MAX);
  HARNESS_FIELD(in_channels) HARNESS_FIELD(in_height) HARNESS_FIELD(in_width) HARNESS_FIELD(out_channels)
  HARNESS_FIELD(kernel) HARNESS_FIELD(padding) HARNESS_FIELD(pool)
#undef HARNESS_FIELD
}

void read_config(const Object& from, harness_config& to) {
#define HARNESS_FIELD(name) to.name = (int32_t)from.whole(#name, 0, INT_MAX);
  HARNESS_FIELD(stage_count) HARNESS_FIELD(batch) HARNESS_FIELD(threads) HARNESS_FIELD(activation) HARNESS_FIELD(norm)
  HARNESS_FIELD(ste_mask) HARNESS_FIELD(gradient) HARNESS_FIELD(output_gradient) HARNESS_FIELD(weight)
  HARNESS_FIELD(weight_gradient) HARNESS_FIELD(momentum) HARNESS_FIELD(statistic) HARNESS_FIELD(pool_mask)
  HARNESS_FIELD(image) HARNESS_FIELD(optimizer) HARNESS_FIELD(second_moment) HARNESS_FIELD(border)
  HARNESS_FIELD(single_buffer)
#undef HARNESS_FIELD
#define HARNESS_FIELD(name) to.name = (float)from.real(#name);
  HARNESS_FIELD(beta1) HARNESS_FIELD(beta2) HARNESS_FIELD(epsilon) HARNESS_FIELD(decay)
  HARNESS_FIELD(weight_rate) HARNESS_FIELD(beta_rate) HARNESS_FIELD(bop_threshold)
#undef HARNESS_FIELD
  to.seed = from.modulo("seed");
}

void read_ledger(const Object& from, Network& to) {
  const Node& node = from.node();
  to.classes = allocate_items<const char*>(node.count), to.class_bytes = allocate_items<uint64_t>(node.count);
  for (const Node* each = from.json().first(node); each; each = from.json().after(*each)) {
    to.classes[to.class_count] = each->name;
    to.class_bytes[to.class_count++] = (uint64_t)from.whole(each->name, 0, kMostBytes);
  }
}

// A field that this program does not know would be one it does not obey.
void read_network(const Object& from, Network& to) {
  if (from.whole("abi", 0, INT_MAX) != HARNESS_CORE_ABI) fail("the plan is for another version of the core; reinstall edge-harness");
  const Object config = from.object("config");
  constexpr int32_t kConfigFields = 26, kStageFields = 7;
  if (config.node().count != kConfigFields) fail("the plan is unusable: 'config' has %d fields, not %d", config.node().count, kConfigFields);
  read_config(config, to.config);
  const Node &stages = from.array("stages"), &variables = from.array("variables");
  if (stages.count != to.config.stage_count) fail("the plan is unusable: %d stages are described, 'config' has %d", stages.count, to.config.stage_count);
  harness_stage* const list = allocate_items<harness_stage>(stages.count);
  int32_t index = 0;
  for (const Node* each = from.json().first(stages); each; each = from.json().after(*each)) {
    if (each->count != kStageFields) fail("the plan is unusable: stage %d has %d fields, not %d", index, each->count, kStageFields);
    read_stage(Object(from.json(), *each, "stages"), list[index++]);
  }
  to.config.stages = list;
  to.variables = allocate_items<harness_variable>(variables.count);
  for (const Node* each = from.json().first(variables); each; each = from.json().after(*each)) {
    const Object one(from.json(), *each, "variables");
    to.variables[to.variable_count++] = {(int32_t)one.whole("role", 0, HARNESS_SCRATCH_SIGNS - 1), (int32_t)one.whole("stage", -1, INT_MAX), 0,
                                         (uint64_t)one.whole("bytes", 1, kMostBytes)};
  }
  read_ledger(from.object("ledger"), to);
}

void read_settings(const Object& from, Job& job) {
  static const char* const kSchedules[] = {"constant", "cosine", nullptr};
  static const char* const kAugmentations[] = {"none", "shift", "shift-flip", nullptr};
  static const char* const kStatistics[] = {"moving average", "recalibrated", nullptr};
  static const char* const kScales[] = {"none", nullptr};
  job.learning_rate = from.real("learning_rate");
  job.cosine = from.choice("schedule", kSchedules) == 1;
  const int32_t augmentation = from.choice("augmentation", kAugmentations);
  job.shift = augmentation > 0, job.flip = augmentation == 2;
  const int32_t statistics = from.choice("statistics", kStatistics);
  job.recalibrated = statistics == 1, job.statistics = kStatistics[statistics];
  from.choice("gradient_scale", kScales);
  job.test_items = from.absent("test_items") ? 0 : from.whole("test_items", 0, INT_MAX);
}

}  // namespace

void read_job(char* text, size_t length, Json& json, Job& job) {
  if (!json.parse(text, length)) fail("the plan is no JSON: %s, at byte %zu", json.error(), json.error_at());
  const Object plan(json, json.root(), "plan");
  if (strcmp(plan.text("schema"), "harness.job") != 0) fail("this is no plan of a trial: its schema is '%s'", plan.text("schema"));
  const Object program = plan.object("program"), data = plan.object("data");
  read_network(program.object("network"), job.network);
  const Node& rehearsals = program.array("rehearsals");
  job.rehearsals = allocate_items<Network>(rehearsals.count);
  for (const Node* each = json.first(rehearsals); each; each = json.after(*each))
    read_network(Object(json, *each, "rehearsals"), job.rehearsals[job.rehearsal_count++]);

  int32_t sizes[3] = {}, count = 0;
  for (const Node* each = json.first(data.array("shape")); each && count < 3; each = json.after(*each))
    sizes[count++] = each->kind == Node::kNumber ? (int32_t)strtol(each->text, nullptr, 10) : 0;
  job.channels = sizes[0], job.height = sizes[1], job.width = sizes[2];
  const harness_stage& first = job.network.config.stages[0];
  const int64_t inputs = (int64_t)first.in_channels * first.in_height * first.in_width;
  if (job.channels < 1 || job.height < 1 || job.width < 1 || (int64_t)job.channels * job.height * job.width != inputs)
    fail("the plan is unusable: 'shape' does not have the network's %lld inputs", (long long)inputs);
  job.train = read_split(data.object("train"), inputs), job.test = read_split(data.object("test"), inputs);

  job.batch_size = plan.whole("batch_size", 1, INT_MAX);
  if (job.batch_size != job.network.config.batch) fail("the plan is unusable: 'batch_size' is not the network's");
  job.steps = plan.whole("steps", 1, INT_MAX), job.warmup = plan.whole("warmup", 0, job.steps - 1);
  job.seed = plan.modulo("seed"), job.trigger = plan.flag("trigger");
  read_settings(plan.object("settings"), job);
  if (plan.absent("evaluate")) return;
  const Object evaluate = plan.object("evaluate");
  job.evaluate_every = evaluate.whole("every", 1, INT_MAX), job.evaluate_after = evaluate.whole("after", 0, INT_MAX);
}

}  // namespace harness_train
