// Host buffers: aligned, writable to the last byte, and refused when absurd.
#include "kernels/memory.h"

#include <gtest/gtest.h>

#include <cstring>
#include <utility>

namespace nacelle::kernels {
namespace {

TEST(Memory, BuffersAreAlignedAndWritable) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{63}, std::size_t{4097},
                                 kHugeMin - 1, kHugeMin, 3 * kHugeMin + 5}) {
    auto buffer = allocate_host(size);
    ASSERT_TRUE(buffer) << size;
    EXPECT_EQ(buffer->size(), size);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer->as<char>()) % 64, 0U);
    std::memset(buffer->as<char>(), 1, size);
  }
}

TEST(Memory, AnAbsurdSizeIsUnavailableNotACrash) {
  for (const std::size_t size : {std::size_t{1} << 46, SIZE_MAX, SIZE_MAX / 2}) {
    const auto buffer = allocate_host(size);
    ASSERT_FALSE(buffer) << size;
    EXPECT_EQ(buffer.error().code, base::Code::kUnavailable);
  }
}

TEST(Memory, AMovedBufferHasOneOwner) {
  auto first = allocate_host(100);
  ASSERT_TRUE(first);
  char* data = first->as<char>();
  Buffer second = *std::move(first);
  EXPECT_EQ(second.as<char>(), data);
  EXPECT_EQ(first->as<char>(), nullptr);
}

}  // namespace
}  // namespace nacelle::kernels
