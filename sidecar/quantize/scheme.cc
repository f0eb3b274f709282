#include "sidecar/quantize/scheme.h"

#include <array>
#include <cmath>
#include <utility>

#include "kernels/element.h"
#include "kernels/kernels.h"
#include "sidecar/base/check.h"

namespace nacelle::quantize {
namespace {

constexpr std::array kNames = {std::pair{Scheme::kF16, std::string_view("f16")},
                               std::pair{Scheme::kBf16, std::string_view("bf16")},
                               std::pair{Scheme::kInt8, std::string_view("int8")}};

// True when all values were finite and stayed so.
template <typename Round, typename Back>
bool round_all(std::span<const float> values, std::vector<std::uint16_t>& out, Round round,
               Back back) {
  out.resize(values.size());
  bool finite = true;
  for (std::size_t i = 0; i < values.size(); ++i) {
    out[i] = round(values[i]);
    finite = finite && std::isfinite(back(out[i]));
  }
  return finite;
}

}  // namespace

std::string_view scheme_name(Scheme scheme) {
  for (const auto& [known, name] : kNames) {
    if (known == scheme) return name;
  }
  return "";
}

std::optional<Scheme> scheme_from_name(std::string_view name) {
  for (const auto& [scheme, known] : kNames) {
    if (known == name) return scheme;
  }
  return std::nullopt;
}

std::optional<Int8Weights> quantize_int8(std::span<const float> weights, std::size_t inputs) {
  CHECK(inputs > 0 && weights.size() % inputs == 0);
  Int8Weights out;
  out.codes.resize(weights.size());
  for (std::size_t row = 0; row < weights.size(); row += inputs) {
    const float scale = kernels::quantize_row(&weights[row], inputs, &out.codes[row]);
    if (std::isnan(scale)) return std::nullopt;
    out.scales.push_back(scale);
  }
  return out;
}

std::vector<float> dequantize(const Int8Weights& weights, std::size_t inputs) {
  CHECK(inputs > 0 && weights.codes.size() == weights.scales.size() * inputs);
  std::vector<float> out(weights.codes.size());
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<float>(weights.codes[i]) * weights.scales[i / inputs];
  }
  return out;
}

bool round_to_f16(std::span<const float> values, std::vector<std::uint16_t>& out) {
  return round_all(values, out, kernels::f16_from_float, kernels::float_from_f16);
}

bool round_to_bf16(std::span<const float> values, std::vector<std::uint16_t>& out) {
  return round_all(values, out, kernels::bf16_from_float, kernels::float_from_bf16);
}

}  // namespace nacelle::quantize
