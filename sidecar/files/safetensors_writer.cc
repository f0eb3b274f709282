#include "sidecar/files/safetensors_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string_view>
#include <utility>

#include "sidecar/base/bytes.h"
#include "sidecar/base/file.h"
#include "sidecar/files/json.h"
#include "sidecar/files/safetensors.h"

namespace nacelle::files {
namespace {

using base::Code;
using base::Error;

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kLengthSize = 8;  // the header's length, before the header

base::Result<std::uint64_t> size_of(const TensorEntry& tensor) {
  const auto bits = dtype_bits(tensor.dtype);
  if (!bits) {
    return Error{Code::kInvalid, "tensor " + in_quotes(tensor.name) + ": there is no type " +
                                     in_quotes(tensor.dtype)};
  }
  std::uint64_t size = *bits;
  for (const std::uint64_t dimension : tensor.shape) {
    const auto product = base::checked_mul(size, dimension);
    if (!product) {
      return Error{Code::kInvalid, "tensor " + in_quotes(tensor.name) + " has too many elements"};
    }
    size = *product;
  }
  return size / 8 + (size % 8 != 0 ? 1 : 0);
}

Error failed(const std::string& path, const std::string& what) {
  return Error{Code::kUnavailable, path + ": " + what + ": " + base::errno_text(errno)};
}

}  // namespace

base::Result<SafetensorsWriter> SafetensorsWriter::create(
    const std::string& path, const std::vector<TensorEntry>& tensors,
    const std::map<std::string, std::string>& metadata) {
  SafetensorsWriter writer;
  writer.path_ = path;
  Json header = Json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::uint64_t begin = 0;
  for (const TensorEntry& tensor : tensors) {
    const auto size = size_of(tensor);
    if (!size) return size.error();
    const auto end = base::checked_add(begin, *size);
    if (!end || header.contains(tensor.name)) {
      return Error{Code::kInvalid,
                   "tensor " + in_quotes(tensor.name) + (end ? " comes twice" : " is too large")};
    }
    header[tensor.name] = {
        {"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {begin, *end}}};
    writer.sizes_.push_back(*size);
    begin = *end;
  }
  std::string text = header.dump();
  text.resize(base::align_up(kLengthSize + text.size(), kAlignment) - kLengthSize, ' ');
  std::array<std::byte, kLengthSize> length{};
  for (std::size_t i = 0; i < length.size(); ++i) {
    length[i] = static_cast<std::byte>((std::uint64_t{text.size()} >> (8 * i)) & 0xFF);
  }
  writer.file_ = base::Fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!writer.file_) return failed(path, "cannot be created");
  if (const auto status = writer.write(length); !status) return status.error();
  if (const auto status = writer.write(std::as_bytes(std::span(text))); !status) {
    return status.error();
  }
  return writer;
}

base::Status SafetensorsWriter::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file_.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return failed(path_, "cannot be written");
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return base::ok();
}

base::Status SafetensorsWriter::append(std::span<const std::byte> bytes) {
  if (next_ == sizes_.size() || bytes.size() != sizes_[next_]) {
    return Error{Code::kInternal, path_ + ": tensor " + std::to_string(next_) + " was given " +
                                      std::to_string(bytes.size()) + " bytes"};
  }
  next_ += 1;
  return write(bytes);
}

base::Status SafetensorsWriter::finish() {
  if (next_ != sizes_.size()) {
    return Error{Code::kInternal,
                 path_ + ": " + std::to_string(sizes_.size() - next_) + " tensors were not given"};
  }
  if (::fsync(file_.get()) != 0) return failed(path_, "cannot be put on the disk");
  file_.reset();
  return base::ok();
}

}  // namespace nacelle::files
