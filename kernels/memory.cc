// See memory.h.
#include "kernels/memory.h"

#include <sys/mman.h>

#include <cstdlib>
#include <string>

#include "sidecar/base/bytes.h"

namespace nacelle::kernels {
namespace {

constexpr std::size_t kLine = 64;
constexpr std::size_t kHugePage = std::size_t{2} << 20;
// No buffer of a model comes near this; a larger size is a length that overflowed on its way here.
constexpr std::size_t kSizeMax = std::size_t{1} << 39;

void release(void* data, std::size_t) { std::free(data); }

}  // namespace

base::Result<Buffer> allocate_host(std::size_t size) {
  const base::Error no_memory{
      base::Code::kUnavailable,
      "no memory for a buffer of " + std::to_string(size) +
          " bytes: raise the memory limit, or load fewer or smaller models"};
  if (size > kSizeMax) return no_memory;
  const bool huge = size >= kHugeMin;
  const std::size_t alignment = huge ? kHugePage : kLine;
  // Whole pages for madvise; 0 bytes still get an address of their own.
  const std::size_t padded = base::align_up(size == 0 ? 1 : size, huge ? 4096 : kLine);
  void* data = nullptr;
  if (posix_memalign(&data, alignment, padded) != 0) return no_memory;
  // A refusal (no huge pages on this kernel) costs speed only.
  if (huge) static_cast<void>(madvise(data, padded, MADV_HUGEPAGE));
  return Buffer(data, size, release);
}

}  // namespace nacelle::kernels
