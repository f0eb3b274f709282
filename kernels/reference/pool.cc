// Pool: one number for each column of a sequence's token vectors; then y / ||y|| if asked.
//
//   kMean, kFirst, kLast, kMeanSqrt, kWeightedMean    sum over t of share[t] * x[t]
//   kMax                                              the largest x[t]
#include <algorithm>
#include <cmath>
#include <cstddef>

#include "kernels/reference/reference.h"

namespace nacelle::kernels::reference {
namespace {

// What token `t` of `length` counts.
double share(Pooling pooling, std::size_t t, std::size_t length) {
  const auto n = static_cast<double>(length);
  switch (pooling) {
    case Pooling::kFirst:
      return t == 0 ? 1 : 0;
    case Pooling::kLast:
      return t + 1 == length ? 1 : 0;
    case Pooling::kMeanSqrt:
      return 1 / std::sqrt(n);
    case Pooling::kWeightedMean:
      return static_cast<double>(t + 1) / (n * (n + 1) / 2);
    case Pooling::kMean:
    case Pooling::kMax:
      break;
  }
  return 1 / n;
}

double pooled(const Pool& op, std::size_t begin, std::size_t end, std::size_t column) {
  const auto x = [&](std::size_t t) { return double{op.hidden[t * op.width + column]}; };
  double y = op.pooling == Pooling::kMax ? x(begin) : 0;
  for (std::size_t t = begin; t < end; ++t) {
    if (op.pooling == Pooling::kMax) {
      y = std::isnan(x(t)) || x(t) > y ? x(t) : y;
    } else if (const double counts = share(op.pooling, t - begin, end - begin); counts != 0) {
      y += counts * x(t);
    }
  }
  return y;
}

}  // namespace

void pool(const Pool& op) {
  const std::size_t stride = op.out_stride == 0 ? op.width : op.out_stride;
  std::vector<double> row(op.width);
  for (std::size_t s = 0; s < op.sequences; ++s) {
    double squares = 0;
    for (std::size_t i = 0; i < op.width; ++i) {
      row[i] = pooled(op, op.offsets[s], op.offsets[s + 1], i);
      squares += row[i] * row[i];
    }
    const double norm = std::sqrt(squares);
    const double scale = op.normalize ? 1 / std::max(norm, double{kNormMin}) : 1;
    for (std::size_t i = 0; i < op.width; ++i) {
      op.out[s * stride + i] = static_cast<float>(row[i] * scale);
    }
  }
}

}  // namespace nacelle::kernels::reference
