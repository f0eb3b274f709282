// Room in a region's arena, handed out and taken back by the region's only writer.
//
// The books are private: the arena itself holds payload bytes and nothing else, so a peer that
// reads or scribbles over it cannot harm the allocator. First fit over a list of free extents, in
// order of address, merged when given back. There are never more extents than live allocations
// plus one, and a connection has at most one live allocation per slot.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "sidecar/base/bytes.h"
#include "sidecar/base/check.h"

namespace nacelle::shm {

class Arena {
 public:
  static constexpr std::uint32_t kUnit = 128;  // bytes; extents start and end on such a line

  // Bytes that a request for `size` really takes.
  static constexpr std::uint64_t rounded(std::uint64_t size) { return base::align_up(size, kUnit); }

  // `size` is a multiple of kUnit. Never holds more than `allocations_max` at a time.
  Arena(std::uint32_t size, std::uint32_t allocations_max) : size_(size) {
    CHECK(size % kUnit == 0);
    free_.reserve(std::size_t{allocations_max} + 1);
    if (size > 0) free_.push_back({0, size});
  }

  // The offset of `size` bytes, size >= 1; nothing when no extent is large enough.
  [[nodiscard]] std::optional<std::uint32_t> allocate(std::uint64_t size) {
    const std::uint64_t wanted = rounded(size);
    for (std::size_t i = 0; i < free_.size(); ++i) {
      if (free_[i].size < wanted) continue;
      const std::uint32_t offset = free_[i].offset;
      free_[i].offset += static_cast<std::uint32_t>(wanted);
      free_[i].size -= static_cast<std::uint32_t>(wanted);
      if (free_[i].size == 0) free_.erase(free_.begin() + static_cast<std::ptrdiff_t>(i));
      return offset;
    }
    return std::nullopt;
  }

  // Gives back what allocate(size) returned.
  void release(std::uint32_t offset, std::uint64_t size) {
    const auto length = static_cast<std::uint32_t>(rounded(size));
    CHECK(base::fits(offset, length, size_));
    std::size_t i = 0;  // the first free extent behind the one that comes back
    while (i < free_.size() && free_[i].offset < offset) ++i;
    const bool joins_left = i > 0 && free_[i - 1].offset + free_[i - 1].size == offset;
    const bool joins_right = i < free_.size() && offset + length == free_[i].offset;
    CHECK(i == 0 || free_[i - 1].offset + free_[i - 1].size <= offset);  // given back twice?
    CHECK(i == free_.size() || offset + length <= free_[i].offset);
    if (joins_left && joins_right) {
      free_[i - 1].size += length + free_[i].size;
      free_.erase(free_.begin() + static_cast<std::ptrdiff_t>(i));
    } else if (joins_left) {
      free_[i - 1].size += length;
    } else if (joins_right) {
      free_[i].offset = offset;
      free_[i].size += length;
    } else {
      free_.insert(free_.begin() + static_cast<std::ptrdiff_t>(i), {offset, length});
    }
  }

  [[nodiscard]] std::uint32_t size() const { return size_; }
  [[nodiscard]] std::uint32_t free_bytes() const {
    std::uint32_t sum = 0;
    for (const Extent& extent : free_) sum += extent.size;
    return sum;
  }

 private:
  struct Extent {
    std::uint32_t offset;
    std::uint32_t size;
  };
  std::uint32_t size_;
  std::vector<Extent> free_;  // rising offsets, never touching each other
};

}  // namespace nacelle::shm
