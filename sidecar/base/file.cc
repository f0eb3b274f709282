#include "sidecar/base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "sidecar/base/fd.h"

namespace nacelle::base {
namespace {

Error open_error(const std::string& path, int error) {
  const Code code = error == ENOENT || error == ENOTDIR ? Code::kNotFound
                    : error == EACCES || error == EPERM ? Code::kDenied
                                                        : Code::kUnavailable;
  return Error{code, "cannot open " + path + ": " + errno_text(error)};
}

// Opens a regular file for reading and tells its size.
Result<Fd> open_regular(const std::string& path, std::uint64_t& size) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!fd) return open_error(path, errno);
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return open_error(path, errno);
  if (!S_ISREG(status.st_mode)) {
    return Error{Code::kInvalid, path + " is not a regular file"};
  }
  size = static_cast<std::uint64_t>(status.st_size);
  return fd;
}

}  // namespace

std::string errno_text(int error) {
  const char* name = strerrorname_np(error);
  return std::string(strerrordesc_np(error) ? strerrordesc_np(error) : "unknown error") + " (" +
         (name ? name : std::to_string(error)) + ")";
}

Result<MappedFile> MappedFile::open(const std::string& path) {
  std::uint64_t size = 0;
  Result<Fd> fd = open_regular(path, size);
  if (!fd) return fd.error();
  MappedFile file;
  file.path_ = path;
  if (size == 0) return file;  // an empty mapping is an error to mmap, an empty file is not
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd->get(), 0);
  if (data == MAP_FAILED) {
    return Error{Code::kUnavailable, "cannot map " + path + ": " + errno_text(errno)};
  }
  file.data_ = static_cast<const std::byte*>(data);
  file.size_ = size;
  return file;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      path_(std::move(other.path_)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(path_, other.path_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

Result<std::string> read_file(const std::string& path, std::size_t size_max) {
  std::uint64_t size = 0;
  Result<Fd> fd = open_regular(path, size);
  if (!fd) return fd.error();
  if (size > size_max) {
    return Error{Code::kTooLarge, path + " has " + std::to_string(size) + " bytes; the limit is " +
                                      std::to_string(size_max)};
  }
  // The file may grow or shrink while it is read: take what is there, never more than the limit.
  std::string text(size, '\0');
  std::size_t filled = 0;
  while (filled < text.size()) {
    const ssize_t count = ::read(fd->get(), text.data() + filled, text.size() - filled);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      return Error{Code::kUnavailable, "cannot read " + path + ": " + errno_text(errno)};
    }
    if (count == 0) break;
    filled += static_cast<std::size_t>(count);
  }
  text.resize(filled);
  return text;
}

}  // namespace nacelle::base
