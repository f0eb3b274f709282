// Attention, for each sequence, head and token i of the sequence:
//
//   score[j] = q[i] . k[j] / sqrt(head_width)            j over the tokens of the sequence
//   y[i]     = sum over j of softmax(score)[j] * v[j]
#include <algorithm>
#include <cmath>
#include <cstddef>

#include "kernels/reference/reference.h"

namespace nacelle::kernels::reference {
namespace {

// One head of one sequence of `length` tokens. q, k, v and out point at the head's columns of the
// first token; rows are `stride` and `out_stride` floats apart.
void attend(const float* q, const float* k, const float* v, std::size_t stride, std::size_t length,
            std::size_t head_width, float* out, std::size_t out_stride) {
  std::vector<double> weight(length);
  for (std::size_t i = 0; i < length; ++i) {
    for (std::size_t j = 0; j < length; ++j) {
      double dot = 0;
      for (std::size_t d = 0; d < head_width; ++d) {
        dot += double{q[i * stride + d]} * double{k[j * stride + d]};
      }
      weight[j] = dot / std::sqrt(static_cast<double>(head_width));
    }

    // Shifted by the largest score, so that no exponential overflows.
    const double largest = *std::max_element(weight.begin(), weight.end());
    double sum = 0;
    for (double& w : weight) sum += w = std::exp(w - largest);

    for (std::size_t d = 0; d < head_width; ++d) {
      double y = 0;
      for (std::size_t j = 0; j < length; ++j) y += weight[j] / sum * double{v[j * stride + d]};
      out[i * out_stride + d] = static_cast<float>(y);
    }
  }
}

}  // namespace

void attention(const Attention& op) {
  const std::size_t width = std::size_t{op.heads} * op.head_width;
  for (std::size_t s = 0; s < op.sequences; ++s) {
    const std::size_t begin = op.offsets[s];
    const std::size_t length = op.offsets[s + 1] - begin;
    for (std::size_t h = 0; h < op.heads; ++h) {
      const float* q = op.qkv + begin * 3 * width + h * op.head_width;
      attend(q, q + width, q + 2 * width, 3 * width, length, op.head_width,
             op.out + begin * width + h * op.head_width, width);
    }
  }
}

}  // namespace nacelle::kernels::reference
