// A linear layer's weights in a backend's own layout, as one run of bytes that can be kept in a
// file and used from there, where it is mapped.
//
//   offset      bytes
//   0           128                          PackedHeader
//   128         header.weights_size          the weights, in the order that header.layout names
//   ...         4 * header.columns           the bias, zeros when the layer has none
//   ...         4 * header.columns           the scales of the columns (kInt8 only)
//
// Each part starts at a multiple of 64, what is between them is 0. The layout's name changes
// whenever a byte would mean something else. Bytes are little-endian; there is no checksum: whoever
// stores them decides how far to trust the storage.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "kernels/buffer.h"
#include "kernels/linear_format.h"
#include "sidecar/base/result.h"

namespace nacelle::kernels {

constexpr std::string_view format_name(LinearFormat format) {
  return format == LinearFormat::kF32 ? "f32" : format == LinearFormat::kBF16 ? "bf16" : "int8";
}

struct PackedHeader {
  char magic[8];               // kPackedMagic
  char layout[64];             // the layout's name, zeros behind it
  std::uint32_t inputs;        // K
  std::uint32_t outputs;       // N
  std::uint64_t columns;       // outputs, rounded up as the layout needs
  std::uint64_t weights_size;  // bytes
  unsigned char unused[32];    // 0
};
static_assert(sizeof(PackedHeader) == 128);
inline constexpr char kPackedMagic[8] = {'N', 'C', 'L', 'P', 'A', 'C', 'K', '1'};
inline constexpr std::size_t kPackedAlignment = 64;

// So many products of two codes, at most 128 * 128 each, fit 32 bits with their sign.
inline constexpr std::uint32_t kInt8InputsMax = INT32_MAX / (128 * 128);

// A layout as the parts of a packed layer need it.
struct PackedShape {
  std::string_view layout;  // at most 63 characters
  LinearFormat format;
  std::uint64_t columns;
  std::uint64_t weights_size;
};

// Made by Backend::pack or Backend::view, used by that backend and target only.
struct PackedLinear {
  std::uint32_t inputs = 0;   // K
  std::uint32_t outputs = 0;  // N
  LinearFormat format = LinearFormat::kF32;
  std::string_view layout;           // outlives this: a constant of the backend
  std::span<const std::byte> bytes;  // all of it, to be stored; in `memory` unless it is a view
  const void* weights = nullptr;
  const float* bias = nullptr;    // [columns]
  const float* scales = nullptr;  // [columns] with kInt8, or nullptr
  Buffer memory;                  // empty when it is a view
};

// The parts of a layer that make_packed() made, for the pack() that fills them in.
struct PackedWriter {
  explicit PackedWriter(const PackedLinear& packed);
  void* weights;
  float* bias;
  float* scales;
};

// A packed layer of its own memory, with everything but the weights, bias and scales filled in,
// which are 0. kUnavailable when there is no memory for it.
base::Result<std::unique_ptr<PackedLinear>> make_packed(const PackedShape& shape,
                                                        std::uint32_t inputs,
                                                        std::uint32_t outputs);

// The same over bytes from elsewhere, which are not copied: they must stay until the last use and
// be aligned to kPackedAlignment. `inputs` and `outputs` are what the layer must have. kInvalid
// with the reason when the bytes are not exactly such a layer in this layout.
base::Result<std::unique_ptr<PackedLinear>> view_packed(const PackedShape& shape,
                                                        std::uint32_t inputs, std::uint32_t outputs,
                                                        std::span<const std::byte> bytes);

}  // namespace nacelle::kernels
