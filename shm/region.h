// The memory of a region: a sealed memfd, and the two ways to look at one.
//
// The sidecar creates every region and allocates it whole, so the memory is charged to it, and
// running out of it happens at connect, never as SIGBUS later. A memfd's size is sealed before
// anyone else sees it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "sidecar/base/fd.h"
#include "sidecar/base/result.h"

namespace nacelle::shm {

enum class Access { kRead, kReadWrite };

// A mapping of a whole region; unmapped by the destructor.
class Mapping {
 public:
  // Maps `size` bytes of `fd`, after checking that the file has them and can never shrink.
  // Excluded from fork(): a child must not write into its parent's requests.
  static base::Result<Mapping> map(int fd, std::uint64_t size, Access access);
  // `size` bytes of this process's own, zero: the copy of a region that cannot be shared.
  static base::Result<Mapping> anonymous(std::uint64_t size);
  Mapping() = default;
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping();

  [[nodiscard]] std::byte* data() const { return data_; }
  [[nodiscard]] std::uint64_t size() const { return size_; }

 private:
  static base::Result<Mapping> of(void* data, std::uint64_t size);

  std::byte* data_ = nullptr;
  std::uint64_t size_ = 0;
};

// A new memfd of `size` bytes, every page allocated, sealed against shrinking and growing. Its
// memory is zero. kUnavailable when the kernel refuses; a machine or container that is simply full
// may meet the OOM killer instead, so what is asked for must have been budgeted.
base::Result<base::Fd> create_region(const char* name, std::uint64_t size);

// Closes the list of seals: nothing can be added any more.
base::Status seal_for_clients_to_write(int fd);
// After this no mapping made later can write, by whomever. Mappings that exist keep their rights:
// map the sidecar's own first.
base::Status seal_against_writers(int fd);

// Memory that another process can change at any moment. There is one thing to do with it: copy a
// piece out, within bounds, once, and validate the copy. Nothing here hands out a pointer into the
// region.
//
// Three sizes of the same: any number of bytes, and a word of 8 or of 4 that is copied in one
// piece, as an atomic, because its value says something about other bytes. Out of line, so that a
// test can put itself between these calls and their callers with the linker's --wrap, see every
// fetch, and scramble what was fetched (tests/hostile/fetch_watch.h); the product pays nothing for
// it.
class Untrusted {
 public:
  Untrusted() = default;
  explicit Untrusted(std::span<const std::byte> region) : region_(region) {}

  // Copies `size` bytes at `offset` to `out`; false, and nothing is copied, when they are not all
  // inside the region.
  [[nodiscard]] bool copy_in(std::uint64_t offset, std::uint64_t size, void* out) const;

  // One word that the peer stores with release: what it wrote before is visible after this load.
  // And seq_cst, since the order of wait.h needs it; on x86 that costs a load nothing. `offset` is
  // ours, computed from a checked slot number: one that is outside is a defect, and a CHECK.
  [[nodiscard]] std::uint64_t load_u64(std::uint64_t offset) const;
  [[nodiscard]] std::uint32_t load_u32(std::uint64_t offset) const;

 private:
  std::span<const std::byte> region_;
};

}  // namespace nacelle::shm
