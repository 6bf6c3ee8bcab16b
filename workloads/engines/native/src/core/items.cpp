#include "items.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace harness {

namespace {

// What is done to one image: shift right and down in pixels, then mirror left to right.
struct Move {
  int32_t dx, dy;
  bool flip;
};

struct Shape {
  int32_t channels, height, width;
};

// Reads `bytes` at a position. False where the file ends before, or fails; errno is then 0 or what failed.
bool read_whole(int file, int64_t position, int64_t bytes, uint8_t* to) {
  while (bytes > 0) {
    errno = 0;
    const ssize_t got = pread(file, to, (size_t)bytes, position);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    to += got, position += got, bytes -= got;
  }
  return true;
}

// The item at a position of an order of `count` items, by its six tables.
int64_t item_at(const uint16_t* const* tables, int32_t right_bits, int64_t count, int64_t position) {
  for (;;) {
    uint64_t left = (uint64_t)position >> right_bits, right = (uint64_t)position & ((1ull << right_bits) - 1);
    for (int32_t j = 0; j < 6; j += 2) {
      left ^= tables[j][right];
      right ^= tables[j + 1][left];
    }
    position = (int64_t)(left << right_bits | right);
    if (position < count) return position;
  }
}

// An image cut from the block of noise, from where the low 16 of an item's bits say.
void noise_image(const uint8_t* block, uint64_t bits, int64_t bytes, uint8_t* image) {
  size_t offset = bits & (kNoiseBytes - 1);
  for (size_t left = (size_t)bytes; left > 0; offset = 0) {
    const size_t run = left < kNoiseBytes - offset ? left : kNoiseBytes - offset;
    memcpy(image, block + offset, run);
    image += run, left -= run;
  }
}

Move move_of(uint64_t bits, int32_t max_dx, int32_t max_dy, bool flips) {
  const int32_t dx = (int32_t)((bits & 0xFFFF) * (uint64_t)(2 * max_dx + 1) >> 16) - max_dx;
  const int32_t dy = (int32_t)((bits >> 16 & 0xFFFF) * (uint64_t)(2 * max_dy + 1) >> 16) - max_dy;
  return {dx, dy, flips && (bits >> 32 & 1)};
}

int32_t clamp(int32_t value, int32_t low, int32_t high) { return value < low ? low : value < high ? value : high; }

// out[x] = in[clamp(x' - dx)], x' mirrored where it flips; |dx| below the width.
void move_row(const uint8_t* in, int32_t width, int32_t dx, bool flip, uint8_t* out) {
  const int32_t from_left = dx > 0 ? dx : 0, from_right = dx < 0 ? -dx : 0, kept = width - from_left - from_right;
  memset(out, in[0], (size_t)from_left);
  memcpy(out + from_left, in + from_right, (size_t)kept);
  memset(out + from_left + kept, in[width - 1], (size_t)from_right);
  if (!flip) return;
  for (int32_t left = 0, right = width - 1; left < right; left++, right--) {
    const uint8_t kept_left = out[left];
    out[left] = out[right], out[right] = kept_left;
  }
}

// Moves an image in place; `row` is room for one row. Rows are taken in the order in which none is written before it was read by all that come from it.
void move_image(uint8_t* image, const Shape& shape, Move move, uint8_t* row) {
  const int32_t width = shape.width, height = shape.height;
  const int32_t dx = clamp(move.dx, 1 - width, width - 1), dy = clamp(move.dy, 1 - height, height - 1);
  for (int32_t c = 0; c < shape.channels; c++, image += (size_t)height * (size_t)width)
    for (int32_t i = 0; i < height; i++) {
      const int32_t y = dy > 0 ? height - 1 - i : i;
      move_row(image + (size_t)clamp(y - dy, 0, height - 1) * (size_t)width, width, dx, move.flip, row);
      memcpy(image + (size_t)y * (size_t)width, row, (size_t)width);
    }
}

}  // namespace

}  // namespace harness

using namespace harness;

#define HARNESS_FACE extern "C" __attribute__((visibility("default")))

HARNESS_FACE void harness_items_order(const uint16_t* const* tables, int32_t right_bits, int64_t count, int64_t start, int32_t taken, int64_t* items) {
  for (int32_t k = 0; k < taken; k++) items[k] = item_at(tables, right_bits, count, start + k);
}

HARNESS_FACE int32_t harness_items_read(const harness_column* column, const int64_t* items, int32_t count, uint8_t* to) {
  for (int32_t k = 0; k < count; k++, to += column->item_bytes) {
    const int32_t part = part_of(*column, items[k]);
    if (!read_whole(column->files[part], column->offsets[part] + items[k] * column->stride, column->item_bytes, to)) return k;
  }
  return count;
}

HARNESS_FACE void harness_items_noise(const harness_noise* noise, const int64_t* items, int32_t count, uint8_t* images, uint8_t* labels) {
  for (int32_t k = 0; k < count; k++, images += noise->image_bytes) {
    const uint64_t bits = draw(noise->key, (uint64_t)items[k]), label = (bits >> 16) % (uint64_t)noise->classes;
    noise_image(noise->block, bits, noise->image_bytes, images);
    for (int32_t byte = 0; byte < noise->label_bytes; byte++) *labels++ = (uint8_t)(label >> (8 * byte));
  }
}

HARNESS_FACE void harness_items_move(const harness_moves* moves, const int64_t* items, int32_t count, uint8_t* images) {
  const Shape shape = {moves->channels, moves->height, moves->width};
  const size_t bytes = (size_t)shape.channels * (size_t)shape.height * (size_t)shape.width;
  for (int32_t k = 0; k < count; k++) {
    const Move move = move_of(draw(moves->key, (uint64_t)items[k]), moves->max_dx, moves->max_dy, moves->flips != 0);
    if (move.dx || move.dy || move.flip) move_image(images + (size_t)k * bytes, shape, move, moves->row);
  }
}
