// Clock jumps: what was put may be served for its time to live, by whatever the wall clock says
// now.
#include "sidecar/cache/expiry.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace nacelle::cache {
namespace {

constexpr std::int64_t kHour = 3600 * base::kSecond;
constexpr std::int64_t kYear = 365 * 24 * kHour + 6 * kHour;
constexpr std::int64_t k2026 = 1'795'000'000 * base::kSecond;
constexpr std::int64_t k2038 = 2'147'483'648 * base::kSecond;  // 32 bits, signed
constexpr std::int64_t k2106 = 4'294'967'296 * base::kSecond;  // 32 bits
constexpr std::uint32_t kDay = 24 * 3600;

TEST(Expiry, AnEntryIsServedForItsTimeToLiveAndNoLonger) {
  EXPECT_FALSE(expired(k2026, 60, k2026));
  EXPECT_FALSE(expired(k2026, 60, k2026 + 60 * base::kSecond - 1));
  EXPECT_TRUE(expired(k2026, 60, k2026 + 60 * base::kSecond));
  EXPECT_TRUE(expired(k2026, 0, k2026)) << "no time at all";
}

TEST(Expiry, AnEntryFromTheFutureIsExpired) {
  EXPECT_TRUE(expired(k2026 + 1, kDay, k2026));
  EXPECT_TRUE(expired(INT64_MAX, UINT32_MAX, INT64_MIN));
}

// Each row is where the clock stood when the entry was put, how it stands now, and whether an entry
// of a day may be served.
TEST(Expiry, ClockJumpsNeverMakeAnEntryLiveLonger) {
  const struct {
    const char* jump;
    std::int64_t put_at;
    std::int64_t now;
    bool over;
  } jumps[] = {
      {"+1 s", k2026, k2026 + base::kSecond, false},
      {"-1 s", k2026, k2026 - base::kSecond, true},
      {"+1 h", k2026, k2026 + kHour, false},
      {"-1 h", k2026, k2026 - kHour, true},
      {"+10 y", k2026, k2026 + 10 * kYear, true},
      {"-10 y", k2026, k2026 - 10 * kYear, true},
      {"to 1970", k2026, 0, true},
      {"from 1970", 0, k2026, true},
      {"in 1970", 0, kHour, false},
      {"before 1970", -kHour, kHour, false},
      {"to 2038", k2026, k2038, true},
      {"over 2038", k2038 - base::kSecond, k2038 + base::kSecond, false},
      {"to 2106", k2026, k2106, true},
      {"over 2106", k2106 - base::kSecond, k2106 + base::kSecond, false},
      {"back over 2106", k2106 + base::kSecond, k2106 - base::kSecond, true},
      {"the longest way", INT64_MIN, INT64_MAX, true},
  };
  for (const auto& row : jumps) EXPECT_EQ(expired(row.put_at, kDay, row.now), row.over) << row.jump;
}

TEST(Expiry, TheLongestTimeToLiveIsCountedExactly) {
  const std::int64_t longest = static_cast<std::int64_t>(UINT32_MAX) * base::kSecond;  // 136 years
  EXPECT_FALSE(expired(0, UINT32_MAX, longest - 1));
  EXPECT_TRUE(expired(0, UINT32_MAX, longest));
}

}  // namespace
}  // namespace nacelle::cache
