// The gradient of X in `standard`, scattered: rows of the gradient of Y, times the weights of a tap, are added to the input
// pixels that the tap reads. What would fall into the padding is left out, and no zeros around the map are multiplied.
#include <cstring>

#include "float_path.h"

namespace harness {

namespace {

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

struct Scatter {
  const Network& net;
  const Stage& s;
  const float* dy;      // of the first image
  const float* panels;  // of the first channel
  float* dx;            // the first channel of the first image
  int32_t columns, thread;
};

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
void scatter_chunk(const Scatter& to, const float* a, Rows rows, int32_t tap, int32_t n) {
  const Stage& s = to.s;
  const size_t width = (size_t)to.net.kernels->panel_columns(), step = (size_t)(s.kernel * s.kernel) * channels_of(s) * width;
  const float* panel = to.panels + ((size_t)tap * channels_of(s) + (size_t)n) * width;
  const int32_t moved = s.padding > 0 ? 0 : tap / s.kernel * s.in_width + tap % s.kernel;
  float* dx = to.dx + (size_t)moved * (size_t)s.in_channels;
  for (int32_t j = 0; j < to.columns; j += (int32_t)width, panel += step)
    to.net.kernels->multiply_panel(0, a, rows.count, smaller(kBlockDepth, s.out_channels - n), panel, smaller((int32_t)width, to.columns - j),
                                   1, dx + j, (size_t)s.in_channels, places_of(to.net, to.thread));
}

// rows: of the first image's first output pixel on.
void scatter_block(const Scatter& to, Rows rows) {
  const Stage& s = to.s;
  const int32_t held = held_chunks(s);
  float* a = gathered(to.net, to.thread);
  for (int32_t tap = 0; tap < s.kernel * s.kernel; tap++) {
    // Without padding all places move alike.
    if (tap == 0 || s.padding > 0) place_rows(s, rows, tap, places_of(to.net, to.thread));
    for (int32_t n = 0; n < s.out_channels; n += kBlockDepth) {
      float* chunk = a + (size_t)(n / kBlockDepth % held * held_rows(s)) * kRowStride;
      if (tap == 0 || held * kBlockDepth < s.out_channels)
        to.net.kernels->copy_rows(to.dy + rows.first * channels_of(s) + (size_t)n, channels_of(s), rows.count,
                                  smaller(kBlockDepth, s.out_channels - n), 0, chunk, kRowStride);
      scatter_chunk(to, chunk, rows, tap, n);
    }
  }
}

// Whole images, from the last block to the first: an input pixel is reached by tap after tap, whatever the blocks.
void scatter_images(const Scatter& to, int32_t images) {
  const Stage& s = to.s;
  const size_t pixels = (size_t)images * s.in_pixels, channels = (size_t)s.in_channels, columns = (size_t)to.columns;
  const size_t runs = columns == channels ? 1 : pixels, run = pixels / runs * columns;
  for (size_t r = 0; r < runs; r++) memset(to.dx + r * channels, 0, run * sizeof(float));
  const size_t rows = (size_t)images * s.out_pixels, block = (size_t)held_rows(s);
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
  const size_t block = (size_t)held_rows(s), filling = block / s.out_pixels < 1 ? 1 : block / s.out_pixels;
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

}  // namespace

// Of the scratch of the stage's signs: its panels.
size_t panel_bytes(const Network& net, const Stage& s) {
  const size_t width = (size_t)net.kernels->panel_columns();
  if (s.first) return (size_t)panels_of(net, s.out_channels) * s.fan_in * width * sizeof(float);
  return (size_t)input_block(net, s) * (size_t)(s.kernel * s.kernel) * channels_of(s) * sizeof(float);
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
