#include "tests/support/failing_new.h"

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace nacelle::testing {
namespace {

thread_local std::uint64_t left = 0;  // until one fails; 0: none does
thread_local bool failed = false;
thread_local std::uint64_t calls = 0;
std::atomic<std::int64_t> live{0};

void* take(std::size_t size, std::size_t alignment) {
  ++calls;
  if (left > 0 && --left == 0) {
    failed = true;
    throw std::bad_alloc();
  }
  // aligned_alloc wants whole multiples.
  const std::size_t whole = (size + alignment) / alignment * alignment;
  void* memory = std::aligned_alloc(alignment, whole);
  if (memory == nullptr) throw std::bad_alloc();
  live.fetch_add(1, std::memory_order_relaxed);
  return memory;
}

void give(void* memory) {
  if (memory == nullptr) return;
  live.fetch_sub(1, std::memory_order_relaxed);
  std::free(memory);
}

}  // namespace

FailingNew::FailingNew(std::uint64_t nth) {
  left = nth;
  failed = false;
}
FailingNew::~FailingNew() { left = 0; }
bool FailingNew::happened() { return failed; }

std::uint64_t allocations() { return calls; }
std::int64_t live_objects() { return live.load(std::memory_order_relaxed); }

}  // namespace nacelle::testing

void* operator new(std::size_t size) {
  return nacelle::testing::take(size, __STDCPP_DEFAULT_NEW_ALIGNMENT__);
}
void* operator new(std::size_t size, std::align_val_t alignment) {
  return nacelle::testing::take(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { nacelle::testing::give(memory); }
void operator delete(void* memory, std::size_t) noexcept { nacelle::testing::give(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { nacelle::testing::give(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  nacelle::testing::give(memory);
}
