// A view of numbers in memory: where, how many, of which type. It owns nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace nacelle::kernels {

// How one element is stored. Arithmetic is in float unless an op says otherwise. A kI8 is a code:
// what it stands for is code * scale, and who has the codes has the scales.
enum class ElementType : std::uint8_t { kF32, kF16, kBF16, kI8 };

constexpr std::size_t element_size(ElementType type) {
  return type == ElementType::kF32 ? 4 : type == ElementType::kI8 ? 1 : 2;
}
constexpr std::string_view element_name(ElementType type) {
  return type == ElementType::kF32   ? "F32"
         : type == ElementType::kF16 ? "F16"
         : type == ElementType::kI8  ? "I8"
                                     : "BF16";
}

constexpr std::optional<ElementType> element_type(std::string_view name) {
  for (const ElementType type :
       {ElementType::kF32, ElementType::kF16, ElementType::kBF16, ElementType::kI8}) {
    if (element_name(type) == name) return type;
  }
  return std::nullopt;
}

// A row-major matrix, or a vector when rows is 1. `data` is aligned to the element's size only:
// weights are read where a mapped file has them.
struct Tensor {
  const void* data = nullptr;
  ElementType type = ElementType::kF32;
  std::uint32_t rows = 0;
  std::uint32_t columns = 0;
};

}  // namespace nacelle::kernels
