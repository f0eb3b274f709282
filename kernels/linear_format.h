// The arithmetic that a linear layer's weights are packed for. Apart from linear.h for the same
// reason as activation.h.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nacelle::kernels {

enum class LinearFormat : std::uint8_t { kF32, kBF16, kInt8 };
inline constexpr std::size_t kLinearFormats = 3;

}  // namespace nacelle::kernels
