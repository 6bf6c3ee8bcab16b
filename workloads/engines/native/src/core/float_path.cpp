// The products of `standard` in float32: tiles of im2col, multiplied by the blocked sgemm of the kernel table.
//
// Every sum runs over its terms in one order, whatever the number of threads: units never share an output, and the
// blocks of the depth are fixed.
#include <cstring>

#include "internal.h"

namespace harness {

void finish_product(Network& net, Stage& s, int32_t index, int32_t thread);

namespace {

int32_t smaller(int32_t a, int32_t b) { return a < b ? a : b; }

// Input pixel of output pixel `row` (of the whole batch) and tap, or -1 in the padding.
int64_t input_row(const Stage& s, size_t row, int32_t tap) {
  const size_t image = row / s.out_pixels, pixel = row % s.out_pixels;
  const int32_t y = (int32_t)(pixel / (size_t)s.out_width) + tap / s.kernel - s.padding;
  const int32_t x = (int32_t)(pixel % (size_t)s.out_width) + tap % s.kernel - s.padding;
  if (y < 0 || x < 0 || y >= s.in_height || x >= s.in_width) return -1;
  return (int64_t)(image * s.in_pixels) + y * s.in_width + x;
}

// Output pixel whose tap reads input pixel `row`, or -1 where there is none.
int64_t output_row(const Stage& s, size_t row, int32_t tap) {
  const size_t image = row / s.in_pixels, pixel = row % s.in_pixels;
  const int32_t y = (int32_t)(pixel / (size_t)s.in_width) - tap / s.kernel + s.padding;
  const int32_t x = (int32_t)(pixel % (size_t)s.in_width) - tap % s.kernel + s.padding;
  if (y < 0 || x < 0 || y >= s.out_height || x >= s.out_width) return -1;
  return (int64_t)(image * s.out_pixels) + y * s.out_width + x;
}

// Columns [from, from + columns) of the im2col rows: signs of X, or X itself in the first stage.
void gather_inputs(const Network& net, const Stage& s, size_t row, int32_t rows, int32_t from, int32_t columns, float* out) {
  const float* x = (const float*)s.x;
  for (int32_t r = 0; r < rows; r++)
    for (int32_t done = 0; done < columns;) {
      const int32_t tap = (from + done) / s.in_channels, c = (from + done) % s.in_channels;
      const int32_t count = smaller(s.in_channels - c, columns - done);
      const int64_t pixel = input_row(s, row + (size_t)r, tap);
      const float* source = x + pixel * s.in_channels + c;
      if (pixel < 0)
        memset(out, 0, (size_t)count * sizeof(float));
      else if (s.first)
        memcpy(out, source, (size_t)count * sizeof(float));
      else
        net.passes->signs(source, (size_t)count, out);
      out += count, done += count;
    }
}

// Columns [from, from + columns) of the gradient of Y, at the output pixels that tap reads.
void gather_gradients(const Network& net, const Stage& s, size_t row, int32_t rows, int32_t tap, int32_t from, int32_t columns, float* out) {
  const float* dy = (const float*)net.dy;
  for (int32_t r = 0; r < rows; r++, out += columns) {
    const int64_t pixel = output_row(s, row + (size_t)r, tap);
    if (pixel < 0)
      memset(out, 0, (size_t)columns * sizeof(float));
    else
      memcpy(out, dy + pixel * s.out_channels + from, (size_t)columns * sizeof(float));
  }
}

struct Scratch {
  float* gathered;
  void* gemm;
};

Scratch scratch_at(const Network& net, int32_t thread) {
  uint8_t* at = (uint8_t*)kernel_scratch(net, thread);
  const size_t gemm = (net.kernels->sgemm_scratch_bytes() + 63) / 64 * 64;
  return {(float*)(at + gemm), at};
}

// Few rows: cut the columns finer, so that every thread has work.
int32_t column_block(size_t rows, int32_t columns) { return rows <= 2 * kGatherRows ? smaller(64, columns) : columns; }

// Runs task(row, rows, column, columns, thread) over blocks of a rows x columns result.
template <typename Task>
void for_blocks(Network& net, size_t rows, int32_t columns, const Task& task) {
  const int32_t width = column_block(rows, columns), across = (columns + width - 1) / width;
  const int32_t down = (int32_t)((rows + kGatherRows - 1) / kGatherRows);
  net.threads.run(down * across, [&](int32_t unit, int32_t thread) {
    const size_t row = (size_t)(unit / across) * kGatherRows;
    const int32_t column = unit % across * width, count = rows - row < kGatherRows ? (int32_t)(rows - row) : kGatherRows;
    task(row, count, column, smaller(width, columns - column), thread);
  });
}

}  // namespace

void forward_product_float(Network& net, Stage& s) {
  pack_weight_signs(net, s);
  const size_t rows = (size_t)net.items * s.out_pixels;
  const int32_t depth = (int32_t)s.fan_in;
  for_blocks(net, rows, s.out_channels, [&](size_t row, int32_t count, int32_t column, int32_t columns, int32_t thread) {
    const Scratch scratch = scratch_at(net, thread);
    float* y = (float*)net.dx_y + row * channels_of(s) + column;
    for (int32_t k = 0; k < depth; k += kGatherColumns) {
      const int32_t taken = smaller(kGatherColumns, depth - k);
      gather_inputs(net, s, row, count, k, taken, scratch.gathered);
      const float* w = (const float*)net.signs + (size_t)column * s.fan_in + k;
      net.kernels->sgemm(0, 1, count, columns, taken, scratch.gathered, (size_t)taken, w, s.fan_in, k > 0, y, channels_of(s), scratch.gemm);
    }
  });
  net.threads.run(chunk_count(net), [&](int32_t index, int32_t thread) { finish_product(net, s, index, thread); });
}

void weight_gradient_float(Network& net, Stage& s) {
  const size_t rows = (size_t)net.items * s.out_pixels;
  const int32_t width = smaller(kGatherColumns / 2, (int32_t)s.fan_in), across = ((int32_t)s.fan_in + width - 1) / width;
  const int32_t height = across < 8 ? smaller(64, s.out_channels) : s.out_channels, down = (s.out_channels + height - 1) / height;
  net.threads.run(down * across, [&](int32_t unit, int32_t thread) {
    const Scratch scratch = scratch_at(net, thread);
    const int32_t k = unit % across * width, columns = smaller(width, (int32_t)s.fan_in - k);
    const int32_t n = unit / across * height, outputs = smaller(height, s.out_channels - n);
    float* dw = (float*)s.dw + (size_t)n * s.fan_in + k;
    for (size_t row = 0; row < rows; row += kGatherRows) {
      const int32_t count = rows - row < kGatherRows ? (int32_t)(rows - row) : kGatherRows;
      gather_inputs(net, s, row, count, k, columns, scratch.gathered);
      const float* dy = (const float*)net.dy + row * channels_of(s) + n;
      net.kernels->sgemm(1, 0, outputs, columns, count, dy, channels_of(s), scratch.gathered, (size_t)columns, row > 0, dw, s.fan_in, scratch.gemm);
    }
  });
}

void input_gradient_float(Network& net, Stage& s) {
  pack_weight_signs(net, s);
  const size_t rows = (size_t)net.items * s.in_pixels, channels = (size_t)s.in_channels;
  for_blocks(net, rows, s.in_channels, [&](size_t row, int32_t count, int32_t column, int32_t columns, int32_t thread) {
    const Scratch scratch = scratch_at(net, thread);
    float* dx = (float*)net.dx_y + row * channels + column;
    bool begun = false;
    for (int32_t tap = 0; tap < s.kernel * s.kernel; tap++)
      for (int32_t n = 0; n < s.out_channels; n += kGatherColumns, begun = true) {
        const int32_t taken = smaller(kGatherColumns, s.out_channels - n);
        gather_gradients(net, s, row, count, tap, n, taken, scratch.gathered);
        const float* w = (const float*)net.signs + (size_t)n * s.fan_in + (size_t)tap * channels + column;
        net.kernels->sgemm(0, 0, count, columns, taken, scratch.gathered, (size_t)taken, w, s.fan_in, begun, dx, channels, scratch.gemm);
      }
    if (net.config.ste_mask == HARNESS_STE_DERIVED)
      for (int32_t r = 0; r < count; r++, dx += channels)
        net.passes->mask_f32(dx, (const float*)s.x + (row + (size_t)r) * channels + column, (size_t)columns);
  });
}

}  // namespace harness
