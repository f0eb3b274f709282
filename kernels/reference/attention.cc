// Attention, for each sequence, head and token i of the sequence:
//
//   score[j] = q[i] . k[j] / sqrt(head_width) + bias[j - i]    j over the tokens of the sequence
//                                                              that are in i's window
//   y[i]     = sum over j of softmax(score)[j] * v[j]
#include <algorithm>
#include <cmath>
#include <cstddef>

#include "kernels/element.h"
#include "kernels/reference/reference.h"

namespace nacelle::kernels::reference {
namespace {

// One head of one sequence of `length` tokens. q, k, v and out are the places of the head's first
// number in the first token; rows are `stride` and `out_stride` numbers apart.
struct Head {
  RowsIn in;
  std::size_t q;
  std::size_t k;
  std::size_t v;
  std::size_t stride;
  std::size_t length;
  std::size_t width;
  const float* bias;  // of the distance 0, or nullptr
  std::size_t window;
  RowsOut to;
  std::size_t out;
  std::size_t out_stride;
};

void attend(const Head& head) {
  const auto at = [&head](std::size_t i) {
    return double{load_element(head.in.data, head.in.type, i)};
  };
  std::vector<double> weight(head.length);
  for (std::size_t i = 0; i < head.length; ++i) {
    const std::size_t begin = i > head.window ? i - head.window : 0;
    const std::size_t end = std::min(head.length, i + head.window + 1);
    for (std::size_t j = begin; j < end; ++j) {
      double dot = 0;
      for (std::size_t d = 0; d < head.width; ++d) {
        dot += at(head.q + i * head.stride + d) * at(head.k + j * head.stride + d);
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
        y += weight[j] / sum * at(head.v + j * head.stride + d);
      }
      store_element(head.to, head.out + i * head.out_stride + d, static_cast<float>(y));
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
      const std::size_t q = begin * 3 * width + h * op.head_width;
      attend({.in = op.qkv,
              .q = q,
              .k = q + width,
              .v = q + 2 * width,
              .stride = 3 * width,
              .length = op.offsets[s + 1] - begin,
              .width = op.head_width,
              .bias = op.bias == nullptr ? nullptr : op.bias + h * biases + op.bias_reach,
              .window = op.window,
              .to = op.out,
              .out = begin * width + h * op.head_width,
              .out_stride = width});
    }
  }
}

}  // namespace nacelle::kernels::reference
