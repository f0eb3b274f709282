#include "tests/crash/victim_heap.h"

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace nacelle::crash {
namespace {

constexpr std::size_t kSize = std::size_t{4} << 20;
alignas(64) std::byte block[kSize];
std::atomic<bool> in_use{false};
std::atomic<std::size_t> used{0};

void* take(std::size_t size) {
  const std::size_t rounded = (size + 63) / 64 * 64;
  const std::size_t at = used.fetch_add(rounded);
  if (at + rounded > kSize) std::abort();  // a victim makes one call
  return block + at;
}

bool ours(const void* memory) {
  const auto* at = static_cast<const std::byte*>(memory);
  return at >= block && at < block + kSize;
}

}  // namespace

void use_victim_heap() { in_use.store(true); }

}  // namespace nacelle::crash

void* operator new(std::size_t size) {
  if (nacelle::crash::in_use.load(std::memory_order_relaxed)) return nacelle::crash::take(size);
  void* memory = std::malloc(size > 0 ? size : 1);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void operator delete(void* memory) noexcept {
  if (!nacelle::crash::ours(memory)) std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept { operator delete(memory); }
