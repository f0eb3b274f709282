// Weights from a safetensors file, mapped and checked: hostile bytes in, validated views out.
//
// Format: https://github.com/huggingface/safetensors#format. An 8-byte little-endian length, a JSON
// header {name: {dtype, shape, data_offsets}}, then the data. Checked before any tensor is handed
// out: the header fits and is at most kHeaderMax; every extent lies inside the file; its size
// equals shape x element size, without overflow; extents neither overlap nor leave holes; no name
// twice.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sidecar/base/file.h"
#include "sidecar/base/result.h"

namespace nacelle::files {

// One tensor. The bytes belong to the Safetensors that gave it, and may have any alignment: the
// format promises none, so copy elements out instead of casting the pointer.
struct TensorView {
  std::string dtype;                 // the file's word: "F32", "F16", "BF16", "I64", ...
  std::vector<std::uint64_t> shape;  // outermost first; empty for a scalar
  std::span<const std::byte> bytes;  // inside the mapping; valid for the Safetensors' life
  std::uint64_t file_offset = 0;     // where the bytes start in the file, for messages
};

// Bits of an element of the format's types, nothing for a name that is none.
std::optional<std::uint64_t> dtype_bits(std::string_view dtype);

class Safetensors {
 public:
  static constexpr std::uint64_t kHeaderMax = 8ULL << 20;  // bytes
  static constexpr std::size_t kTensorsMax = 100'000;
  static constexpr std::size_t kDimensionsMax = 8;

  // Errors name the file, the tensor and the byte offset.
  static base::Result<Safetensors> open(const std::string& path);

  // nullptr when there is no tensor of that name.
  [[nodiscard]] const TensorView* find(std::string_view name) const;
  [[nodiscard]] const std::map<std::string, TensorView, std::less<>>& tensors() const {
    return tensors_;
  }
  [[nodiscard]] const std::string& path() const { return file_.path(); }
  [[nodiscard]] std::span<const std::byte> file_bytes() const { return file_.bytes(); }

 private:
  base::MappedFile file_;
  std::map<std::string, TensorView, std::less<>> tensors_;
};

}  // namespace nacelle::files
