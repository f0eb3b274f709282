// Writes a safetensors file, tensor by tensor, so that a model never has to be in memory whole.
//
// The bytes depend on the arguments alone: tensors lie in the order given, the header is JSON with
// sorted keys, padded with spaces so that the data begins at a multiple of 64 bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "sidecar/base/fd.h"
#include "sidecar/base/result.h"

namespace nacelle::files {

struct TensorEntry {
  std::string name;
  std::string dtype;                 // as TensorView's: "F32"
  std::vector<std::uint64_t> shape;  // outermost first
};

class SafetensorsWriter {
 public:
  // Creates `path`, which must not exist, and writes the header. kInvalid for an unknown type or a
  // name that comes twice; kUnavailable with the path when the file cannot be written.
  static base::Result<SafetensorsWriter> create(const std::string& path,
                                                const std::vector<TensorEntry>& tensors,
                                                const std::map<std::string, std::string>& metadata);

  // The next tensor's bytes; kInternal when their number is not what its entry says.
  base::Status append(std::span<const std::byte> bytes);

  // Puts everything on the disk. kInternal when tensors are missing.
  base::Status finish();

 private:
  base::Status write(std::span<const std::byte> bytes);

  std::string path_;
  base::Fd file_;
  std::vector<std::uint64_t> sizes_;  // in bytes, of each tensor
  std::size_t next_ = 0;
};

}  // namespace nacelle::files
