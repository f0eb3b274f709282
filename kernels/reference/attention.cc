// Attention, for each sequence, head and token i of the sequence:
//
//   score[j] = q[i] . k[j] / sqrt(head_width) + bias[j - i]    j over the tokens of the sequence
//                                                              that are in i's window
//   y[i]     = sum over j of softmax(score)[j] * v[j]
#include <algorithm>
#include <cmath>
#include <cstddef>

#include "kernels/reference/reference.h"

namespace nacelle::kernels::reference {
namespace {

// One head of one sequence of `length` tokens. q, k, v and out point at the head's columns of the
// first token; rows are `stride` and `out_stride` floats apart.
struct Head {
  const float* q;
  const float* k;
  const float* v;
  std::size_t stride;
  std::size_t length;
  std::size_t width;
  const float* bias;  // of the distance 0, or nullptr
  std::size_t window;
  float* out;
  std::size_t out_stride;
};

void attend(const Head& head) {
  std::vector<double> weight(head.length);
  for (std::size_t i = 0; i < head.length; ++i) {
    const std::size_t begin = i > head.window ? i - head.window : 0;
    const std::size_t end = std::min(head.length, i + head.window + 1);
    for (std::size_t j = begin; j < end; ++j) {
      double dot = 0;
      for (std::size_t d = 0; d < head.width; ++d) {
        dot += double{head.q[i * head.stride + d]} * double{head.k[j * head.stride + d]};
      }
      weight[j] = dot / std::sqrt(static_cast<double>(head.width));
      if (head.bias != nullptr) {
        weight[j] += head.bias[static_cast<std::ptrdiff_t>(j) - static_cast<std::ptrdiff_t>(i)];
      }
    }

    // Shifted by the largest score, so that no exponential overflows.
    double largest = weight[begin];
    for (std::size_t j = begin; j < end; ++j) largest = std::max(largest, weight[j]);
    double sum = 0;
    for (std::size_t j = begin; j < end; ++j) {
      weight[j] = std::exp(weight[j] - largest);
      sum += weight[j];
    }

    for (std::size_t d = 0; d < head.width; ++d) {
      double y = 0;
      for (std::size_t j = begin; j < end; ++j) {
        y += weight[j] / sum * double{head.v[j * head.stride + d]};
      }
      head.out[i * head.out_stride + d] = static_cast<float>(y);
    }
  }
}

}  // namespace

void attention(const Attention& op) {
  const std::size_t width = std::size_t{op.heads} * op.head_width;
  const std::size_t biases = 2 * std::size_t{op.bias_reach} + 1;
  for (std::size_t s = 0; s < op.sequences; ++s) {
    const std::size_t begin = op.offsets[s];
    for (std::size_t h = 0; h < op.heads; ++h) {
      const float* q = op.qkv + begin * 3 * width + h * op.head_width;
      attend({.q = q,
              .k = q + width,
              .v = q + 2 * width,
              .stride = 3 * width,
              .length = op.offsets[s + 1] - begin,
              .width = op.head_width,
              .bias = op.bias == nullptr ? nullptr : op.bias + h * biases + op.bias_reach,
              .window = op.window,
              .out = op.out + begin * width + h * op.head_width,
              .out_stride = width});
    }
  }
}

}  // namespace nacelle::kernels::reference
