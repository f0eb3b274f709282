// Sizes and offsets from strangers never wrap around.
#include "sidecar/base/bytes.h"

#include <gtest/gtest.h>

namespace nacelle::base {
namespace {

TEST(Bytes, SumsAndProductsThatOverflowAreNothing) {
  EXPECT_EQ(checked_add(2, 3), 5U);
  EXPECT_EQ(checked_add(UINT64_MAX, 1), std::nullopt);
  EXPECT_EQ(checked_mul(1ULL << 32, (1ULL << 32) - 1), (1ULL << 32) * ((1ULL << 32) - 1));
  EXPECT_EQ(checked_mul(1ULL << 32, 1ULL << 32), std::nullopt);
}

TEST(Bytes, AnExtentFitsOnlyIfAllOfItDoes) {
  EXPECT_TRUE(fits(0, 10, 10));
  EXPECT_TRUE(fits(10, 0, 10));
  EXPECT_FALSE(fits(1, 10, 10));
  EXPECT_FALSE(fits(11, 0, 10));
  EXPECT_FALSE(fits(UINT64_MAX, 2, 10)) << "offset + size wraps to 1";
}

TEST(Bytes, AlignUpReachesTheNextMultiple) {
  EXPECT_EQ(align_up(0, 64), 0U);
  EXPECT_EQ(align_up(1, 64), 64U);
  EXPECT_EQ(align_up(64, 64), 64U);
}

}  // namespace
}  // namespace nacelle::base
