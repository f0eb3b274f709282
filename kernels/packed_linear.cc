// See packed_linear.h.
#include "kernels/packed_linear.h"

#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "kernels/memory.h"
#include "sidecar/base/bytes.h"
#include "sidecar/base/check.h"

namespace nacelle::kernels {
namespace {

struct Parts {
  std::size_t bias;    // where each starts
  std::size_t scales;  //
  std::size_t size;    // of all
};

// nullopt when the sizes leave 64 bits.
std::optional<Parts> parts_of(const PackedShape& shape) {
  constexpr std::size_t kLimit = SIZE_MAX / 16;  // far from where the sums below could wrap
  if (shape.weights_size > kLimit || shape.columns > kLimit / sizeof(float)) return std::nullopt;
  Parts parts{};
  parts.bias = sizeof(PackedHeader) + base::align_up(shape.weights_size, kPackedAlignment);
  parts.scales = parts.bias + base::align_up(shape.columns * sizeof(float), kPackedAlignment);
  parts.size = parts.scales;
  if (shape.format == LinearFormat::kInt8) {
    parts.size += base::align_up(shape.columns * sizeof(float), kPackedAlignment);
  }
  return parts;
}

PackedHeader header_of(const PackedShape& shape, std::uint32_t inputs, std::uint32_t outputs) {
  PackedHeader header{};
  std::memcpy(header.magic, kPackedMagic, sizeof header.magic);
  CHECK(shape.layout.size() < sizeof header.layout);
  std::memcpy(header.layout, shape.layout.data(), shape.layout.size());
  header.inputs = inputs;
  header.outputs = outputs;
  header.columns = shape.columns;
  header.weights_size = shape.weights_size;
  return header;
}

std::unique_ptr<PackedLinear> over(const PackedShape& shape, const Parts& parts,
                                   std::uint32_t inputs, std::uint32_t outputs,
                                   std::span<const std::byte> bytes) {
  const auto floats = [&](std::size_t at) {
    return static_cast<const float*>(static_cast<const void*>(bytes.data() + at));
  };
  auto packed = std::make_unique<PackedLinear>();
  packed->inputs = inputs;
  packed->outputs = outputs;
  packed->format = shape.format;
  packed->layout = shape.layout;
  packed->bytes = bytes;
  packed->weights = bytes.data() + sizeof(PackedHeader);
  packed->bias = floats(parts.bias);
  packed->scales = shape.format == LinearFormat::kInt8 ? floats(parts.scales) : nullptr;
  return packed;
}

}  // namespace

PackedWriter::PackedWriter(const PackedLinear& packed) {
  auto* bytes = packed.memory.as<std::byte>();
  CHECK(bytes != nullptr);  // a view is not ours to write
  const auto at = [&](const void* part) -> void* {
    return part == nullptr ? nullptr : bytes + (static_cast<const std::byte*>(part) - bytes);
  };
  weights = at(packed.weights);
  bias = static_cast<float*>(at(packed.bias));
  scales = static_cast<float*>(at(packed.scales));
}

base::Result<std::unique_ptr<PackedLinear>> make_packed(const PackedShape& shape,
                                                        std::uint32_t inputs,
                                                        std::uint32_t outputs) {
  if (shape.format == LinearFormat::kInt8 && inputs > kInt8InputsMax) {
    return base::Error{base::Code::kInvalid,
                       "a linear layer of " + std::to_string(inputs) +
                           " inputs cannot be packed for int8, which takes at most " +
                           std::to_string(kInt8InputsMax) + ": pack it for bf16"};
  }
  const auto parts = parts_of(shape);
  auto memory = allocate_host(parts ? parts->size : SIZE_MAX);
  if (!memory) return memory.error().in("packing a linear layer");
  std::memset(memory->as<std::byte>(), 0, parts->size);
  const PackedHeader header = header_of(shape, inputs, outputs);
  std::memcpy(memory->as<std::byte>(), &header, sizeof header);
  auto packed = over(shape, *parts, inputs, outputs, {memory->as<std::byte>(), parts->size});
  packed->memory = *std::move(memory);
  return packed;
}

base::Result<std::unique_ptr<PackedLinear>> view_packed(const PackedShape& shape,
                                                        std::uint32_t inputs, std::uint32_t outputs,
                                                        std::span<const std::byte> bytes) {
  const auto wrong = [&](const std::string& what) {
    return base::Error{base::Code::kInvalid,
                       "packed weights of a linear layer " + std::to_string(inputs) + " -> " +
                           std::to_string(outputs) + " in layout \"" + std::string(shape.layout) +
                           "\": " + what + "; pack the layer anew"};
  };
  const auto parts = parts_of(shape);
  if (!parts || bytes.size() != parts->size) {
    return wrong("there are " + std::to_string(bytes.size()) + " bytes, not " +
                 (parts ? std::to_string(parts->size) : "any possible number"));
  }
  if (reinterpret_cast<std::uintptr_t>(bytes.data()) % kPackedAlignment != 0) {
    return wrong("they do not start at a multiple of " + std::to_string(kPackedAlignment));
  }
  PackedHeader header{};
  std::memcpy(&header, bytes.data(), sizeof header);
  if (std::memcmp(header.magic, kPackedMagic, sizeof header.magic) != 0) {
    return wrong("they do not begin as packed weights do");
  }
  const PackedHeader expected = header_of(shape, inputs, outputs);
  if (std::memcmp(header.layout, expected.layout, sizeof header.layout) != 0) {
    header.layout[sizeof header.layout - 1] = '\0';
    return wrong("they are in layout \"" + std::string(header.layout) + "\"");
  }
  if (std::memcmp(&header, &expected, sizeof header) != 0) {
    return wrong("their header says " + std::to_string(header.inputs) + " -> " +
                 std::to_string(header.outputs) + ", or other sizes");
  }
  return over(shape, *parts, inputs, outputs, bytes);
}

}  // namespace nacelle::kernels
