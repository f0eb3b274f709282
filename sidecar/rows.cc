#include "sidecar/rows.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "sidecar/base/check.h"

namespace nacelle::sidecar {
namespace {

// The norm that kernels/pool.h uses for a row of zeros, too.
constexpr double kNormMin = 1e-12;

std::uint32_t text_of(const Request& request, std::uint32_t window) {
  const auto& first = request.first_windows;
  if (first.empty()) return window;
  return static_cast<std::uint32_t>(std::upper_bound(first.begin(), first.end(), window) -
                                    first.begin() - 1);
}

// Adds a window to its text's mean. True when it was the last one; `numbers` is the mean then.
bool mean_over_windows(Request& request, std::uint32_t text, std::uint32_t window,
                       std::span<float> numbers) {
  const std::uint32_t first = request.first_windows[text];
  const std::uint32_t end = request.first_windows[text + 1];
  if (window == first) {
    request.sum.assign(numbers.size(), 0);
    request.sum_weight = 0;
  }
  const double weight = request.tokens(window) - request.specials;
  request.sum_weight += weight;
  for (std::size_t i = 0; i < numbers.size(); ++i) request.sum[i] += weight * double{numbers[i]};
  if (window + 1 < end) return false;
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    numbers[i] = static_cast<float>(request.sum[i] / request.sum_weight);
  }
  return true;
}

void write_int8(std::span<const float> numbers, std::byte* out) {
  float most = 0;
  for (const float number : numbers) most = std::max(most, std::fabs(number));
  for (const float number : numbers) {
    // In this order: 127 times a number of at most 1, so nothing overflows.
    const float code = std::nearbyint(number / most * 127.0F);
    *out++ = static_cast<std::byte>(std::isnan(code) ? 0 : static_cast<std::int8_t>(code));
  }
}

void write_bits(std::span<const float> numbers, std::uint8_t flip, std::byte* out) {
  CHECK(numbers.size() % 8 == 0);
  for (std::size_t i = 0; i < numbers.size(); i += 8) {
    unsigned byte = 0;
    for (std::size_t bit = 0; bit < 8; ++bit) byte = byte << 1U | (numbers[i + bit] > 0 ? 1U : 0U);
    *out++ = static_cast<std::byte>(byte ^ flip);
  }
}

}  // namespace

void to_scores(std::span<float> logits, shm::Function function) {
  CHECK(function != shm::Function::kModel);
  if (function == shm::Function::kNone) return;
  if (function == shm::Function::kSigmoid) {
    for (float& logit : logits) logit = 1.0F / (1.0F + std::exp(-logit));
    return;
  }
  const float most = *std::max_element(logits.begin(), logits.end());
  float sum = 0;
  for (float& logit : logits) {
    logit = std::exp(logit - most);  // at most 1: cannot overflow
    sum += logit;
  }
  for (float& logit : logits) logit /= sum;
}

void normalize(std::span<float> numbers) {
  double squares = 0;
  for (const float number : numbers) squares += double{number} * double{number};
  const double norm = std::max(std::sqrt(squares), kNormMin);
  for (float& number : numbers) number = static_cast<float>(double{number} / norm);
}

std::uint16_t to_float16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>(bits >> 16U & 0x8000U);
  const float magnitude = std::fabs(value);
  if (std::isnan(value)) return static_cast<std::uint16_t>(sign | 0x7E00U);
  if (magnitude >= 65520.0F) return static_cast<std::uint16_t>(sign | 0x7C00U);
  if (magnitude < 0x1p-14F) {
    // Subnormal: a whole number of 2^-24, which the processor rounds to the nearest even.
    return static_cast<std::uint16_t>(
        sign | static_cast<std::uint16_t>(std::nearbyint(magnitude * 0x1p24F)));
  }
  // 13 fraction bits go. Adding just under half of the last kept one, and one more when that is
  // odd, carries exactly when the nearest is above; into the exponent, too, if need be.
  std::uint32_t rounded = (bits & 0x7FFFFFFFU) + 0xFFFU + (bits >> 13U & 1U);
  rounded = (rounded >> 13U) - (112U << 10U);  // 112 = 127 - 15 moves the bias
  return static_cast<std::uint16_t>(sign | static_cast<std::uint16_t>(rounded));
}

void write_elements(std::span<const float> numbers, shm::Element element, std::byte* out) {
  switch (element) {
    case shm::Element::kFloat32:
      std::memcpy(out, numbers.data(), numbers.size_bytes());
      return;
    case shm::Element::kFloat16:
      for (const float number : numbers) {
        const std::uint16_t half = to_float16(number);
        std::memcpy(out, &half, sizeof half);
        out += sizeof half;
      }
      return;
    case shm::Element::kInt8:
      return write_int8(numbers, out);
    case shm::Element::kBinary:
      return write_bits(numbers, 0x80, out);  // less 128, as numbers that wrap
    case shm::Element::kUbinary:
      return write_bits(numbers, 0, out);
  }
}

void finish_window(Request& request, std::uint32_t window, std::span<float> numbers) {
  const std::uint32_t text = text_of(request, window);
  const auto& firsts = request.first_windows;
  const bool is_cut = !firsts.empty() && firsts[text + 1] - firsts[text] > 1;
  if (is_cut && !mean_over_windows(request, text, window, numbers)) return;
  const RowPlan& plan = request.plan;
  to_scores(numbers, plan.function);
  if (plan.direct) return;
  const std::span<float> kept = numbers.first(plan.width);
  // By the text alone: its neighbours may be cut, and it must not show.
  const bool is_whole = !is_cut && plan.width == numbers.size();
  if (plan.normalize && !(plan.scaled && is_whole)) normalize(kept);
  write_elements(kept, plan.element, request.row(text));
}

}  // namespace nacelle::sidecar
