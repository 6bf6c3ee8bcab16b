// Y of the first stage and the gradients of W in `standard`: rows gathered as im2col would have them, times panels.
#include <cstring>

#include "float_path.h"

namespace harness {

namespace {

int32_t clamped(int32_t value, int32_t least, int32_t most) { return value < least ? least : smaller(value, most); }

// Outputs of the gradient of W that a unit sums: they stay in L2, upright.
enum { kUnitOutputs = 256 };

// A map of pixels, whose rows a product takes one after the other; a window moves over it by less than its width.
struct Map {
  const float* values;
  int32_t height, width, channels;
};

// Copies [from, from + columns) of the pixels that lie (dy, dx) from `rows` pixels of a height x width map; zeros outside.
struct Copy {
  const Kernels& kernels;
  Map map;
  int32_t height, width;  // of the map that the rows count
  int32_t dy, dx, from, columns, signs;
  size_t stride;  // of what is written

  void clear(int32_t rows, float* out) const {
    for (int32_t r = 0; r < rows; r++, out += stride) memset(out, 0, (size_t)columns * sizeof(float));
  }

  void take(size_t pixel, int32_t rows, float* out) const {
    const float* x = map.values + pixel * (size_t)map.channels + from;
    kernels.copy_rows(x, (size_t)map.channels, rows, columns, signs, out, stride);
  }

  // Pixels [x, end) of one row.
  void take_row(size_t image, int32_t y, int32_t x, int32_t end, float* out) const {
    const int32_t begin = clamped(-dx, x, end), stop = clamped(map.width - dx, begin, end);
    if (y + dy < 0 || y + dy >= map.height) return clear(end - x, out);
    clear(begin - x, out);
    const size_t row = (image * (size_t)map.height + (size_t)(y + dy)) * (size_t)map.width;
    if (stop > begin) take(row + (size_t)(begin + dx), stop - begin, out + (size_t)(begin - x) * stride);
    clear(end - stop, out + (size_t)(stop - x) * stride);
  }

  void operator()(Rows rows, float* out) const {
    if (height == map.height && width == map.width && dy == 0 && dx == 0) return take(rows.first, rows.count, out);
    const size_t pixels = (size_t)height * (size_t)width;
    for (int32_t done = 0; done < rows.count;) {
      const size_t row = rows.first + (size_t)done, pixel = row % pixels;
      const int32_t x = (int32_t)(pixel % (size_t)width), end = smaller(width, x + rows.count - done);
      take_row(row / pixels, (int32_t)(pixel / (size_t)width), x, end, out + (size_t)done * stride);
      done += end - x;
    }
  }
};

// Columns [from, from + columns) of im2col's rows: X, or its signs beyond the first stage.
void gather_inputs(const Network& net, const Stage& s, Rows rows, int32_t from, int32_t columns, float* out, size_t stride) {
  for (int32_t done = 0; done < columns;) {
    const int32_t tap = (from + done) / s.in_channels, c = (from + done) % s.in_channels;
    const int32_t beside = s.padding == 0 ? s.kernel - tap % s.kernel : 1;  // taps whose pixels are always neighbours in X
    const int32_t count = smaller(beside * s.in_channels - c, columns - done);
    const Map map = {(const float*)s.x, s.in_height, s.in_width, s.in_channels};
    const int32_t dy = tap / s.kernel - s.padding, dx = tap % s.kernel - s.padding;
    Copy{*net.kernels, map, s.out_height, s.out_width, dy, dx, c, count, !s.first, stride}(rows, out + done);
    done += count;
  }
}

// rows x columns of C, from gathered rows and `panels`, each `step` floats from the one before.
void multiply(const Network& net, const float* a, int32_t rows, int32_t depth, const float* panels, size_t step, int32_t columns,
              bool accumulate, float* c, size_t ldc) {
  const int32_t width = net.kernels->panel_columns();
  for (int32_t j = 0; j < columns; j += width, panels += step)
    net.kernels->multiply_panel(0, a, rows, depth, panels, smaller(width, columns - j), accumulate, c + j, ldc, nullptr);
}

// Few rows: cut the columns finer, so that every thread has work.
int32_t column_block(size_t rows, int32_t columns) { return rows <= 2 * kBlockRows ? smaller(64, columns) : columns; }

// Runs task(rows, column, columns, thread) over blocks of a rows x columns result.
template <typename Task>
void for_blocks(Network& net, size_t rows, int32_t columns, const Task& task) {
  const int32_t width = column_block(rows, columns), across = divided_up(columns, width);
  const int32_t down = (int32_t)((rows + kBlockRows - 1) / kBlockRows);
  net.threads.run(down * across, [&](int32_t unit, int32_t thread) {
    const size_t row = (size_t)(unit / across) * kBlockRows;
    const int32_t column = unit % across * width, count = rows - row < kBlockRows ? (int32_t)(rows - row) : kBlockRows;
    task(Rows{row, count}, column, smaller(width, columns - column), thread);
  });
}

// sgn W of the first stage, transposed: panels of outputs, [fan-in][columns].
void lay_out_transposed(Network& net, Stage& s) {
  const int32_t width = net.kernels->panel_columns(), depth = (int32_t)s.fan_in;
  net.threads.run(panels_of(net, s.out_channels), [&](int32_t panel, int32_t) {
    float* to = (float*)net.signs + (size_t)panel * s.fan_in * (size_t)width;
    const float* w = (const float*)s.w + (size_t)(panel * width) * s.fan_in;
    net.kernels->transpose_to_panel(w, s.fan_in, smaller(width, s.out_channels - panel * width), depth, to);
    net.passes->signs(to, s.fan_in * (size_t)width, to);
  });
}

struct Unit {
  int32_t output, outputs, column, columns;
};

int32_t unit_outputs(const Stage& s) { return smaller(kUnitOutputs, s.out_channels); }

// As wide as the cache holds, but narrow enough that every thread gets two.
int32_t unit_columns(const Network& net, const Stage& s) {
  const int32_t width = net.kernels->panel_columns(), down = divided_up(s.out_channels, unit_outputs(s)), threads = net.threads.count();
  const int32_t wanted = threads == 1 ? 1 : divided_up(2 * threads, down), panels = panels_of(net, (int32_t)s.fan_in);
  return width * smaller(divided_up(panels, wanted), kUnitFloats / unit_outputs(s) / width);
}

void sum_unit(const Network& net, const Stage& s, const Unit& unit, Rows rows, int32_t thread) {
  const int32_t width = net.kernels->panel_columns();
  float *upright = gathered(net, thread), *panel = upright + net.kernels->upright_floats(unit.outputs, kBlockRows);
  const float* dy = (const float*)net.dy + rows.first * channels_of(s) + (size_t)unit.output;
  net.kernels->copy_upright(dy, channels_of(s), unit.outputs, rows.count, upright);
  for (int32_t j = 0; j < unit.columns; j += width) {
    const int32_t k = unit.column + j, columns = smaller(width, unit.columns - j);
    float* dw = (float*)s.dw + (size_t)unit.output * s.fan_in + (size_t)k;
    if (columns < width) memset(panel, 0, (size_t)(rows.count * width) * sizeof(float));
    gather_inputs(net, s, rows, k, columns, panel, (size_t)width);
    net.kernels->multiply_panel(1, upright, unit.outputs, rows.count, panel, columns, rows.first > 0, dw, s.fan_in, nullptr);
  }
}

}  // namespace

// Of a thread's scratch: places, and gathered rows, or upright ones and a panel.
size_t float_scratch(const Network& net) {
  int32_t rows = kBlockRows;
  for (int32_t i = 1; i < net.config.stage_count; i++)
    rows = held_chunks(net.stages[i]) > 1 ? 2 * kBlockRows : rows;
  const size_t gathered = (size_t)(rows + kRowSlack) * kRowStride;
  const size_t upright = net.kernels->upright_floats(kUnitOutputs, kBlockRows) + (size_t)(kBlockRows * net.kernels->panel_columns());
  return (kBlockRows + larger(gathered, upright)) * sizeof(float);
}

void forward_product_float(Network& net, Stage& s) {
  lay_out_transposed(net, s);
  const size_t width = (size_t)net.kernels->panel_columns(), step = s.fan_in * width;
  const int32_t depth = (int32_t)s.fan_in;
  for_blocks(net, (size_t)net.items * s.out_pixels, s.out_channels, [&](Rows rows, int32_t column, int32_t columns, int32_t thread) {
    float* y = (float*)net.dx_y + rows.first * channels_of(s) + column;
    for (int32_t k = 0; k < depth; k += kBlockDepth) {
      const int32_t taken = smaller(kBlockDepth, depth - k);
      gather_inputs(net, s, rows, k, taken, gathered(net, thread), kRowStride);
      const float* panels = (const float*)net.signs + (size_t)column / width * step + (size_t)k * width;
      multiply(net, gathered(net, thread), rows.count, taken, panels, step, columns, k > 0, y, channels_of(s));
    }
  });
  net.threads.run(chunk_count(net), [&](int32_t index, int32_t thread) { finish_product(net, s, index, thread); });
}

void weight_gradient_float(Network& net, Stage& s) {
  const size_t rows = (size_t)net.items * s.out_pixels;
  const int32_t width = unit_columns(net, s), across = divided_up((int32_t)s.fan_in, width);
  const int32_t height = unit_outputs(s), down = divided_up(s.out_channels, height);
  net.threads.run(down * across, [&](int32_t index, int32_t thread) {
    const int32_t k = index % across * width, n = index / across * height;
    const Unit unit = {n, smaller(height, s.out_channels - n), k, smaller(width, (int32_t)s.fan_in - k)};
    for (size_t row = 0; row < rows; row += kBlockRows)
      sum_unit(net, s, unit, {row, rows - row < kBlockRows ? (int32_t)(rows - row) : kBlockRows}, thread);
  });
}

}  // namespace harness
