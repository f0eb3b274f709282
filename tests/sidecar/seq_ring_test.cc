// Whole records or none, whoever writes meanwhile.
#include "sidecar/seq_ring.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace nacelle::sidecar {
namespace {

struct Three {
  std::uint64_t a = 0;
  std::uint64_t b = 0;
  std::uint64_t c = 0;
};

TEST(SeqRing, KeepsTheLastRecords) {
  SeqRing<Three, 4> ring;
  EXPECT_EQ(ring.newest(), 0U);
  for (std::uint64_t i = 0; i < 6; ++i) {
    const std::uint64_t number = ring.reserve();
    ring.write(number, {number, 2 * number, 3 * number});
  }
  EXPECT_EQ(ring.newest(), 6U);
  EXPECT_FALSE(ring.read(2)) << "its place has record 6";
  for (std::uint64_t number = 3; number <= 6; ++number) {
    ASSERT_TRUE(ring.read(number));
    EXPECT_EQ(ring.read(number)->c, 3 * number);
  }
  EXPECT_FALSE(ring.read(7));
}

TEST(SeqRing, ANumberIsNotThereBeforeItIsWritten) {
  SeqRing<Three, 4> ring;
  const std::uint64_t number = ring.reserve();
  EXPECT_FALSE(ring.read(number));
}

TEST(SeqRing, ALateWriterDoesNotReplaceANewerRecord) {
  SeqRing<Three, 4> ring;
  const std::uint64_t late = ring.reserve();
  for (int i = 0; i < 4; ++i) {
    const std::uint64_t number = ring.reserve();
    ring.write(number, {number, 0, 0});
  }
  ring.write(late, {late, 0, 0});
  EXPECT_FALSE(ring.read(late));
  EXPECT_EQ(ring.read(late + 4)->a, late + 4);
}

TEST(SeqRing, ReadersSeeNoRecordOfTwoWriters) {
  SeqRing<Three, 8> ring;
  constexpr std::uint64_t kEach = 20'000;
  std::atomic<bool> done{false};
  std::atomic<std::uint64_t> torn{0};
  std::thread reader([&] {
    while (!done.load()) {
      const std::uint64_t newest = ring.newest();
      for (std::uint64_t back = 0; back < 8 && back < newest; ++back) {
        const auto record = ring.read(newest - back);
        if (record &&
            (record->a != newest - back || record->b != record->a * 7 || record->c != ~record->a)) {
          torn.fetch_add(1);
        }
      }
    }
  });
  std::vector<std::thread> writers;
  for (int t = 0; t < 2; ++t) {
    writers.emplace_back([&] {
      for (std::uint64_t i = 0; i < kEach; ++i) {
        const std::uint64_t number = ring.reserve();
        ring.write(number, {number, number * 7, ~number});
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  done = true;
  reader.join();
  EXPECT_EQ(torn.load(), 0U);
  EXPECT_EQ(ring.newest(), 2 * kEach);
}

}  // namespace
}  // namespace nacelle::sidecar
