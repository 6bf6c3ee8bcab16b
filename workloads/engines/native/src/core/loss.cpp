// Softmax cross-entropy over the normalised outputs of the last stage, and the gradient of the summed loss.
//
// The logits are retained in float16, for the norm's way back; the loss takes them from Y, which is still there. The
// gradient goes where Y was, scaled so that its largest element lies in [16, 32): it is never divided by the batch, which
// would lead float16 into its subnormals.
#include <cmath>

#include "internal.h"

namespace harness {

namespace {

void logits_of(const Network& net, const Stage& s, int32_t item, float* logits) {
  const size_t channels = channels_of(s), at = (size_t)item * channels;
  load_values(net, net.dx_y, y_type(net, s), at, channels, logits);
  net.passes->scale_shift(logits, 1, channels, channel_values(net, kSlope), channel_values(net, kOffset));
}

// Overwrites the logits with softmax - onehot; returns the item's cross-entropy.
double softmax_gradient(float* logits, size_t channels, uint8_t label) {
  float largest = logits[0];
  for (size_t c = 1; c < channels; c++) largest = logits[c] > largest ? logits[c] : largest;
  const double target = (double)(logits[label] - largest);
  double sum = 0;
  for (size_t c = 0; c < channels; c++) {
    logits[c] = expf(logits[c] - largest);
    sum += (double)logits[c];
  }
  for (size_t c = 0; c < channels; c++) logits[c] = (float)((double)logits[c] / sum);
  logits[label] -= 1.0f;
  return log(sum) - target;
}

}  // namespace

float loss_and_gradient(Network& net, const uint8_t* labels) {
  const Stage& s = net.stages[net.config.stage_count - 1];
  const size_t channels = channels_of(s);
  float* row = tile_of(net, 0, 0);
  double loss = 0;
  float largest = 0;
  for (int32_t item = 0; item < net.items; item++) {
    logits_of(net, s, item, row);
    loss += softmax_gradient(row, channels, labels[item]);
    const float peak = net.kernels->max_abs_f32(row, channels);
    largest = peak > largest ? peak : largest;
  }
  int exponent = 0;
  if (largest > 0 && largest < INFINITY) frexpf(largest, &exponent);
  // float32 takes the gradient of the mean, as it is.
  const bool exact = net.config.gradient == HARNESS_F32;
  const float scale = exact ? 1.0f / (float)net.items : ldexpf(1.0f, 5 - exponent);
  for (int32_t item = 0; item < net.items; item++) {
    logits_of(net, s, item, row);
    softmax_gradient(row, channels, labels[item]);
    for (size_t c = 0; c < channels; c++) row[c] *= scale;
    if (net.config.gradient == HARNESS_I8)
      store_scaled(net, row, channels, item, stream_of(net, 0, kInputGradient), (int8_t*)net.dx_y + (size_t)item * channels, 0);
    else
      store_values(net, row, channels, net.config.gradient, net.dx_y, (size_t)item * channels);
  }
  net.g_is_high = false;
  net.gradient_scale = (double)scale;
  return (float)(loss / (double)net.items);
}

int32_t count_correct(Network& net, const uint8_t* labels) {
  const Stage& s = net.stages[net.config.stage_count - 1];
  float* row = tile_of(net, 0, 0);
  int32_t correct = 0;
  for (int32_t item = 0; item < net.items; item++) {
    logits_of(net, s, item, row);
    size_t best = 0;
    for (size_t c = 1; c < channels_of(s); c++) best = row[c] > row[best] ? c : best;
    correct += best == labels[item];
  }
  return correct;
}

}  // namespace harness
