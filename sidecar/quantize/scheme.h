// How weights are stored after quantization, as arithmetic on one tensor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace nacelle::quantize {

enum class Scheme : std::uint8_t {
  kF16,   // IEEE 754 binary16: storage only, the arithmetic stays fp32
  kBf16,  // the upper half of a float
  kInt8,  // a byte a weight and a scale an output; activations get a scale a token as they come
};
std::string_view scheme_name(Scheme scheme);  // "int8"
std::optional<Scheme> scheme_from_name(std::string_view name);

// Codes and scales of a matrix [outputs, inputs]: weight ~ code x scale of its row.
struct Int8Weights {
  std::vector<std::int8_t> codes;  // [outputs, inputs]  -127 to 127
  std::vector<float> scales;       // [outputs]
};

// Row by row as kernels/quantize.h says, so that a model quantized here and one quantized while it
// is loaded are the same to the bit. Nothing when a weight is NaN or infinite.
std::optional<Int8Weights> quantize_int8(std::span<const float> weights, std::size_t inputs);
std::vector<float> dequantize(const Int8Weights& weights, std::size_t inputs);

// Round to nearest, ties to even. Finite values beyond the largest binary16 become infinite: false
// then, and when a value was not finite to begin with.
bool round_to_f16(std::span<const float> values, std::vector<std::uint16_t>& out);
bool round_to_bf16(std::span<const float> values, std::vector<std::uint16_t>& out);

}  // namespace nacelle::quantize
