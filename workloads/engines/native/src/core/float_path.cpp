// The products of `standard` that are sums of real numbers, in float32: rows gathered as im2col would have them, multiplied
// by panels of the other side.
//
// Every sum runs over its terms in one order, in blocks of kBlockDepth, whatever the number of threads: units never share
// an output, and where the blocks of the depth begin is fixed.
#include <cstring>

#include "internal.h"

namespace harness {

namespace {

int32_t smaller(int32_t a, int32_t b) { return a < b ? a : b; }
int32_t clamped(int32_t value, int32_t least, int32_t most) { return value < least ? least : smaller(value, most); }
int32_t divided_up(int32_t a, int32_t b) { return (a + b - 1) / b; }

// Outputs of the gradient of W that a unit sums, and floats of C that it goes over again and again: they stay in L2.
enum { kUnitOutputs = 256, kUnitFloats = 1 << 17 };

// A map of pixels, whose rows a product takes one after the other; a window moves over it by less than its width.
struct Map {
  const float* values;
  int32_t height, width, channels;
};

struct Rows {  // of a whole batch
  size_t first;
  int32_t count;
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
    if (stop > begin) take((image * (size_t)map.height + (size_t)(y + dy)) * (size_t)map.width + (size_t)(begin + dx), stop - begin, out + (size_t)(begin - x) * stride);
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

float* gathered(const Network& net, int32_t thread) { return (float*)kernel_scratch(net, thread); }

int32_t panels_of(const Network& net, int32_t columns) { return divided_up(columns, net.kernels->panel_columns()); }

// rows x columns of C, from gathered rows and `panels`, each `step` floats from the one before.
void multiply(const Network& net, const float* a, int32_t rows, int32_t depth, const float* panels, size_t step, int32_t columns, bool accumulate, float* c, size_t ldc) {
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

// sgn W of input channels [begin, end): panels of inputs, [tap][output][columns].
void lay_out(Network& net, Stage& s, Range inputs) {
  const int32_t width = net.kernels->panel_columns(), taps = s.kernel * s.kernel;
  net.threads.run(panels_of(net, inputs.end - inputs.begin) * taps, [&](int32_t unit, int32_t) {
    const int32_t column = inputs.begin + unit / taps * width, columns = smaller(width, inputs.end - column);
    float* to = (float*)net.signs + (size_t)unit * channels_of(s) * (size_t)width;
    const float* w = (const float*)s.w + (size_t)(unit % taps * s.in_channels + column);
    if (columns < width) memset(to, 0, channels_of(s) * (size_t)width * sizeof(float));
    net.kernels->copy_rows(w, s.fan_in, s.out_channels, columns, 1, to, (size_t)width);
  });
}

// Input channels whose panels fit the block.
int32_t input_block(const Network& net, const Stage& s) {
  const int32_t width = net.kernels->panel_columns();
  const size_t panel = (size_t)(s.kernel * s.kernel) * channels_of(s) * (size_t)width * sizeof(float);
  const size_t fitting = kPanelBytes / panel;
  return width * smaller(panels_of(net, s.in_channels), fitting < 1 ? 1 : (int32_t)(fitting < 1 << 16 ? fitting : 1 << 16));
}

// The gradient of X is scattered: rows of the gradient of Y, times the weights of a tap, are added to the input pixels that
// the tap reads. Whatever pixels lie in the padding are left out, so an unpadded layer multiplies no zeros.
struct Scatter {
  const Network& net;
  const Stage& s;
  const float* dy;      // of the first image
  const float* panels;  // of the first channel
  float* dx;            // the first channel of the first image
  int32_t columns, thread;
};

// Chunks of the outputs that a block of rows holds at once, for all taps to read; too many are taken anew for every tap.
int32_t held_chunks(const Stage& s) {
  const int32_t chunks = divided_up(s.out_channels, kBlockDepth);
  return s.kernel > 1 && chunks <= 16 ? chunks : 1;
}

// Input pixel, from the first image's first, that a tap reads for each of the rows; -1 in the padding.
void place_rows(const Stage& s, Rows rows, int32_t tap, int32_t* places) {
  const size_t pixel = rows.first % s.out_pixels;
  int32_t image = (int32_t)(rows.first / s.out_pixels * s.in_pixels);
  int32_t y = (int32_t)(pixel / (size_t)s.out_width) + tap / s.kernel - s.padding, x = (int32_t)(pixel % (size_t)s.out_width);
  const int32_t dx = tap % s.kernel - s.padding, last = s.out_height + tap / s.kernel - s.padding;
  for (int32_t r = 0; r < rows.count; r++) {
    const bool inside = y >= 0 && y < s.in_height && x + dx >= 0 && x + dx < s.in_width;
    places[r] = inside ? image + y * s.in_width + x + dx : -1;
    if (++x < s.out_width) continue;
    x = 0;
    if (++y == last) y -= s.out_height, image += (int32_t)s.in_pixels;
  }
}

// The products of one block with the panels of one tap and one chunk of the outputs.
void scatter_chunk(const Scatter& to, const float* a, Rows rows, size_t tap, int32_t n, const int32_t* places) {
  const Stage& s = to.s;
  const size_t width = (size_t)to.net.kernels->panel_columns(), step = (size_t)(s.kernel * s.kernel) * channels_of(s) * width;
  const float* panel = to.panels + (tap * channels_of(s) + (size_t)n) * width;
  for (int32_t j = 0; j < to.columns; j += (int32_t)width, panel += step)
    to.net.kernels->multiply_panel(0, a, rows.count, smaller(kBlockDepth, s.out_channels - n), panel, smaller((int32_t)width, to.columns - j),
                                   1, to.dx + j, (size_t)s.in_channels, places);
}

// rows: of the first image's first output pixel on.
void scatter_block(const Scatter& to, Rows rows) {
  const Stage& s = to.s;
  const int32_t held = held_chunks(s);
  float* a = gathered(to.net, to.thread);
  int32_t* places = (int32_t*)(a + (size_t)(kBlockRows + kRowSlack) * kRowStride);
  for (int32_t tap = 0; tap < s.kernel * s.kernel; tap++) {
    place_rows(s, rows, tap, places);
    for (int32_t n = 0; n < s.out_channels; n += kBlockDepth) {
      float* chunk = a + (size_t)(n / kBlockDepth % held * (kBlockRows / held)) * kRowStride;
      if (tap == 0 || held * kBlockDepth < s.out_channels)
        to.net.kernels->copy_rows(to.dy + rows.first * channels_of(s) + (size_t)n, channels_of(s), rows.count,
                                  smaller(kBlockDepth, s.out_channels - n), 0, chunk, kRowStride);
      scatter_chunk(to, chunk, rows, (size_t)tap, n, places);
    }
  }
}

// Whole images, from the last block to the first: an input pixel is reached by tap after tap, whatever the blocks.
void scatter_images(const Scatter& to, int32_t images) {
  const Stage& s = to.s;
  const size_t pixels = (size_t)images * s.in_pixels, channels = (size_t)s.in_channels, columns = (size_t)to.columns;
  const size_t runs = columns == channels ? 1 : pixels, run = pixels / runs * columns;
  for (size_t r = 0; r < runs; r++) memset(to.dx + r * channels, 0, run * sizeof(float));
  const size_t rows = (size_t)images * s.out_pixels, block = (size_t)(kBlockRows / held_chunks(s));
  for (size_t end = rows; end > 0;) {
    const size_t begin = (end - 1) / block * block;
    scatter_block(to, {begin, (int32_t)(end - begin)});
    end = begin;
  }
}

// How the gradient of X is cut: groups of images whose rows fill a block and whose result L2 holds; columns, where
// there are few groups, so that every thread has work.
struct Cut {
  int32_t images, columns;
};

Cut cut_inputs(const Network& net, const Stage& s, int32_t columns) {
  const size_t block = (size_t)(kBlockRows / held_chunks(s)), filling = block / s.out_pixels < 1 ? 1 : block / s.out_pixels;
  const bool few = (size_t)net.items < 2 * filling * (size_t)net.threads.count();
  const int32_t width = few ? smaller(64, columns) : columns;
  const size_t fitting = (size_t)kUnitFloats / (s.in_pixels * (size_t)width);
  return {(int32_t)(fitting < 1 ? 1 : fitting < filling ? fitting : filling), width};
}

void multiply_inputs(Network& net, Stage& s, Range inputs) {
  const Cut cut = cut_inputs(net, s, inputs.end - inputs.begin);
  const int32_t across = divided_up(inputs.end - inputs.begin, cut.columns);
  const size_t channels = (size_t)s.in_channels, taps = (size_t)(s.kernel * s.kernel);
  net.threads.run(divided_up(net.items, cut.images) * across, [&](int32_t unit, int32_t thread) {
    const int32_t column = unit % across * cut.columns, columns = smaller(cut.columns, inputs.end - inputs.begin - column);
    const size_t first = (size_t)(unit / across) * (size_t)cut.images, at = first * s.in_pixels * channels + (size_t)(inputs.begin + column);
    const int32_t images = smaller(cut.images, net.items - (int32_t)first);
    const float* panels = (const float*)net.signs + (size_t)column * taps * channels_of(s);
    float* dx = (float*)net.dx_y + at;
    scatter_images({net, s, (const float*)net.dy + first * s.out_pixels * channels_of(s), panels, dx, columns, thread}, images);
    if (net.config.ste_mask != HARNESS_STE_DERIVED) return;
    const float* x = (const float*)s.x + at;
    const size_t pixels = (size_t)images * s.in_pixels, runs = (size_t)columns == channels ? 1 : pixels;
    for (size_t r = 0; r < runs; r++) net.passes->mask_f32(dx + r * channels, x + r * channels, pixels / runs * (size_t)columns);
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

// Of the scratch of the stage's signs: its panels, and of a thread's: gathered rows, or upright ones and a panel.
size_t panel_bytes(const Network& net, const Stage& s) {
  const size_t width = (size_t)net.kernels->panel_columns();
  if (s.first) return (size_t)panels_of(net, s.out_channels) * s.fan_in * width * sizeof(float);
  return (size_t)input_block(net, s) * (size_t)(s.kernel * s.kernel) * channels_of(s) * sizeof(float);
}
size_t float_scratch(const Network& net) {
  const size_t rows = (size_t)(kBlockRows + kRowSlack) * kRowStride + kBlockRows;  // and a place for each
  const size_t upright = net.kernels->upright_floats(kUnitOutputs, kBlockRows) + (size_t)(kBlockRows * net.kernels->panel_columns());
  return larger(rows, upright) * sizeof(float);
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

void input_gradient_float(Network& net, Stage& s) {
  const int32_t block = input_block(net, s);
  for (int32_t begin = 0; begin < s.in_channels; begin += block) {
    const Range inputs = {begin, smaller(begin + block, s.in_channels)};
    lay_out(net, s, inputs);
    multiply_inputs(net, s, inputs);
  }
}

}  // namespace harness
