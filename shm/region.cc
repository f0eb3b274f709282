#include "shm/region.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "sidecar/base/bytes.h"
#include "sidecar/base/check.h"
#include "sidecar/base/file.h"

namespace nacelle::shm {
namespace {

base::Error failed(const std::string& doing) {
  return base::Error{base::Code::kUnavailable, doing + ": " + base::errno_text(errno)};
}

// Linux 5.14 and newer can allocate the pages of a mapping on demand, and say when they cannot.
bool can_populate() { return ::madvise(nullptr, 0, MADV_POPULATE_WRITE) == 0; }

}  // namespace

base::Result<Mapping> Mapping::map(int fd, std::uint64_t size, Access access) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return failed("cannot read the size of a shared region");
  if (static_cast<std::uint64_t>(status.st_size) != size) {
    return base::Error{base::Code::kInvalid, "a shared region has " +
                                                 std::to_string(status.st_size) +
                                                 " bytes instead of " + std::to_string(size)};
  }
  // Reading past the end of a file that was cut short is SIGBUS: only sealed files are mapped.
  const int seals = ::fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0) {
    return base::Error{base::Code::kInvalid, "a shared region is not sealed against shrinking"};
  }
  const int protection = access == Access::kRead ? PROT_READ : PROT_READ | PROT_WRITE;
  return of(::mmap(nullptr, size, protection, MAP_SHARED, fd, 0), size);
}

base::Result<Mapping> Mapping::anonymous(std::uint64_t size) {
  return of(::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
            size);
}

base::Result<Mapping> Mapping::of(void* data, std::uint64_t size) {
  if (data == MAP_FAILED) return failed("cannot map a shared region");
  if (::madvise(data, size, MADV_DONTFORK) != 0) {
    const base::Error error = failed("cannot keep a shared region out of forked children");
    ::munmap(data, size);
    return error;
  }
  Mapping mapping;
  mapping.data_ = static_cast<std::byte*>(data);
  mapping.size_ = size;
  return mapping;
}

Mapping::Mapping(Mapping&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

Mapping::~Mapping() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

base::Result<base::Fd> create_region(const char* name, std::uint64_t size, std::uint64_t backed) {
  CHECK(backed >= 1 && backed <= size);
  base::Fd fd(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return failed("cannot create a shared region");
  if (::ftruncate(fd.get(), static_cast<off_t>(size)) != 0) {
    return failed("cannot size a shared region of " + std::to_string(size) + " bytes");
  }
  const std::uint64_t first = can_populate() ? backed : size;
  if (::fallocate(fd.get(), 0, 0, static_cast<off_t>(first)) != 0) {
    return failed("no memory for a shared region of " + std::to_string(first) + " bytes");
  }
  if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0) {
    return failed("cannot seal a shared region");
  }
  return fd;
}

bool Backing::reach(std::uint64_t end) {
  CHECK(end <= region_.size());
  if (end <= backed_) return true;
  const std::uint64_t to = std::min<std::uint64_t>(base::align_up(end, kStep), region_.size());
  // From a page's beginning, however large pages are: a step is a whole number of them.
  const std::uint64_t from = backed_ / kStep * kStep;
  if (::madvise(region_.data() + from, to - from, MADV_POPULATE_WRITE) == 0) {
    backed_ = to;
    return true;
  }
  if (errno != EINVAL) return false;
  backed_ = region_.size();  // an old kernel: create_region() has allocated all
  return true;
}

base::Status seal_for_clients_to_write(int fd) {
  if (::fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL) != 0) return failed("cannot seal a request region");
  return base::ok();
}

base::Status seal_against_writers(int fd) {
  if (::fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) != 0) {
    return failed("cannot seal a reply region (Linux 5.1 or newer is needed)");
  }
  return base::ok();
}

bool Untrusted::copy_in(std::uint64_t offset, std::uint64_t size, void* out) const {
  if (!base::fits(offset, size, region_.size())) return false;
  std::memcpy(out, region_.data() + offset, size);
  return true;
}

std::uint64_t Untrusted::load_u64(std::uint64_t offset) const {
  CHECK(base::fits(offset, 8, region_.size()) && offset % 8 == 0);
  const auto* word = reinterpret_cast<const std::atomic<std::uint64_t>*>(region_.data() + offset);
  return word->load(std::memory_order_seq_cst);
}

std::uint32_t Untrusted::load_u32(std::uint64_t offset) const {
  CHECK(base::fits(offset, 4, region_.size()) && offset % 4 == 0);
  const auto* word = reinterpret_cast<const std::atomic<std::uint32_t>*>(region_.data() + offset);
  return word->load(std::memory_order_seq_cst);
}

}  // namespace nacelle::shm
