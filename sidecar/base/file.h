// Files: mapped read-only, or read whole with a bound. Errors name the path and what to do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "sidecar/base/result.h"

namespace nacelle::base {

// A whole file mapped read-only. The bytes stay valid for the object's life, and belong to it.
class MappedFile {
 public:
  static Result<MappedFile> open(const std::string& path);
  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  [[nodiscard]] std::span<const std::byte> bytes() const { return {data_, size_}; }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  std::string path_;
};

// The whole file as text; kTooLarge when it has more than `size_max` bytes.
Result<std::string> read_file(const std::string& path, std::size_t size_max);

// errno's text: "No such file or directory (ENOENT)".
std::string errno_text(int error);

}  // namespace nacelle::base
