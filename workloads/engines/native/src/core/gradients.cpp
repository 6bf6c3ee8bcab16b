// The products of the backward pass on bits and quantised gradients: the gradient of the weights as signs, and the
// gradient of the input.
#include "internal.h"

namespace harness {

Gradient gradient_of(const Network& net, const void* values) {
  return {values, net.config.output_gradient == HARNESS_INT6 ? kInt6 : kFloat16, net.inverse_step};
}

void weight_gradient(Network& net, Stage& s) {
  if (net.full_y != net.grad_y) unpool_batch(net, s);
  const ConvShape shape = shape_of(s, net.items);
  const Kernels& k = *net.kernels;
  const Gradient dy = gradient_of(net, net.full_y);
  const int32_t units = s.first ? k.pixels_grad_weight_units(shape) : k.grad_weight_units(shape);
  net.threads.run(units, [&](int32_t unit, int32_t thread) {
    const Range range = {unit, unit + 1};
    if (s.first)
      k.pixels_grad_weight(shape, net.pixels, dy, range, (uint64_t*)s.dw, nullptr, kernel_scratch(net, thread));
    else
      k.grad_weight(shape, (const uint64_t*)s.x, dy, range, (uint64_t*)s.dw, nullptr, kernel_scratch(net, thread));
  });
}

void input_gradient(Network& net, Stage& s) {
  if (one_buffer(net)) return input_gradient_shared(net, s);
  const int32_t block = grad_input_block(net, s);
  const size_t size = type_bytes(net.config.output_gradient, 1), words = row_words(s.in_channels);
  // float16 sums get their unit back. A 6-bit sum may be as large as 31 x 9 x 512: 1/64 keeps it in range.
  const bool digits = net.config.output_gradient == HARNESS_F16;
  const float scale = digits ? 1.0f / net.inverse_step : 1.0f / 64.0f;
  for (int32_t begin = 0; begin < s.in_channels; begin += block) {
    const Range inputs = {begin, begin + block < s.in_channels ? begin + block : s.in_channels};
    const bool last = inputs.end == s.in_channels;
    net.kernels->grad_input_prepare(shape_of(s, net.items), weight_bits(net, s), inputs, net.prepared);
    net.threads.run(chunk_count(net), [&](int32_t index, int32_t thread) {
      const Chunk chunk = chunk_at(net, index);
      const size_t first = (size_t)chunk.first, rows = (size_t)chunk.images * s.in_pixels;
      const Gradient dy = gradient_of(net, (uint8_t*)net.grad_y + first * s.out_pixels * channels_of(s) * size);
      Half* dx = (Half*)net.grad_x + first * s.in_pixels * (size_t)s.in_channels;
      net.kernels->grad_input(shape_of(s, chunk.images), dy, net.prepared, inputs, {dx, kOutFloat16, scale}, kernel_scratch(net, thread));
      if (last && s.ste) net.passes->mask_f16(dx, rows, s.in_channels, s.ste + first * s.in_pixels * words);
    });
  }
  if (!digits) net.gradient_scale *= (double)net.inverse_step * (double)scale;
}

}  // namespace harness
