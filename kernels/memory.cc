// See memory.h.
#include "kernels/memory.h"

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "sidecar/base/bytes.h"

namespace nacelle::kernels {
namespace {

constexpr std::size_t kLine = 64;
constexpr std::size_t kHugePage = std::size_t{2} << 20;
// No buffer of a model comes near this; a larger size is a length that overflowed on its way here.
constexpr std::size_t kSizeMax = std::size_t{1} << 39;

constexpr std::size_t kPage = 4096;

void release_small(void* data, std::size_t) { std::free(data); }
void release_large(void* data, std::size_t size) { ::munmap(data, base::align_up(size, kPage)); }

// Fresh pages that begin on a huge page's boundary; nullptr when there are none. Not from malloc:
// what it hands out again has small pages already, and advice comes too late for those.
void* map_large(std::size_t size) {
  const std::size_t length = base::align_up(size, kPage);
  void* map = ::mmap(nullptr, length + kHugePage, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (map == MAP_FAILED) return nullptr;
  // Cut off what is before the boundary, and what is too much behind.
  auto* begin = static_cast<std::byte*>(map);
  const auto address = reinterpret_cast<std::uintptr_t>(map);
  const std::size_t before = base::align_up(address, kHugePage) - address;
  if (before > 0) ::munmap(begin, before);
  if (before < kHugePage) ::munmap(begin + before + length, kHugePage - before);
  // A refusal (no huge pages on this kernel) costs speed only.
  static_cast<void>(::madvise(begin + before, length, MADV_HUGEPAGE));
  return begin + before;
}

}  // namespace

base::Result<Buffer> allocate_host(std::size_t size) {
  const base::Error no_memory{
      base::Code::kUnavailable,
      "no memory for a buffer of " + std::to_string(size) +
          " bytes: raise the memory limit, or load fewer or smaller models"};
  if (size > kSizeMax) return no_memory;
  void* data = nullptr;
  if (size >= kHugeMin) {
    data = map_large(size);
    if (data == nullptr) return no_memory;
    return Buffer(data, size, release_large);
  }
  // 0 bytes still get an address of their own.
  if (posix_memalign(&data, kLine, base::align_up(size == 0 ? 1 : size, kLine)) != 0) {
    return no_memory;
  }
  return Buffer(data, size, release_small);
}

}  // namespace nacelle::kernels
