// The memory of a region: a sealed memfd, and the two ways to look at one.
//
// The sidecar creates every region with its whole size, which is sealed before anyone else sees it.
// The memory behind it comes in steps, when the region's writer is about to use it and before it
// does: running out is an error there and never SIGBUS at a store.
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

// A new memfd of `size` bytes, sealed against shrinking and growing. Its memory is zero. The pages
// of the first `backed` bytes are allocated; where the kernel is too old for Backing, all are.
// kUnavailable when the kernel refuses; a machine or container that is simply full may meet the OOM
// killer instead, so what is asked for must have been budgeted.
base::Result<base::Fd> create_region(const char* name, std::uint64_t size, std::uint64_t backed);
inline base::Result<base::Fd> create_region(const char* name, std::uint64_t size) {
  return create_region(name, size, size);
}

// How much of a region has memory, from its beginning on. Its writer asks before it writes further.
// One thread at a time.
class Backing {
 public:
  // Memory comes in pieces of this size: few calls of the kernel, and little that nobody uses.
  static constexpr std::uint64_t kStep = 128ULL << 10;

  Backing() = default;
  // The first `backed` bytes of `region`, a whole mapping that may be written, have memory.
  Backing(std::span<std::byte> region, std::uint64_t backed) : region_(region), backed_(backed) {}

  // Sees to memory for the first `end` bytes, which the region has. False when there is none.
  [[nodiscard]] bool reach(std::uint64_t end);

 private:
  std::span<std::byte> region_;
  std::uint64_t backed_ = 0;
};

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
