// The checksum, by the instruction and by the table, against published values.
#include "sidecar/cache/crc32c.h"

#include <gtest/gtest.h>

#include <random>
#include <string_view>
#include <vector>

namespace nacelle::cache {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

TEST(Crc32c, GivesThePublishedValues) {
  // RFC 3720, B.4; and the check value of every catalogue of checksums.
  std::vector<std::byte> zeros(32);
  std::vector<std::byte> ones(32, std::byte{0xFF});
  std::vector<std::byte> rising(32);
  for (std::size_t i = 0; i < rising.size(); ++i) rising[i] = static_cast<std::byte>(i);
  for (const auto function : {crc32c, crc32c_table}) {
    EXPECT_EQ(function(bytes_of("123456789"), 0), 0xE3069283U);
    EXPECT_EQ(function(zeros, 0), 0x8A9136AAU);
    EXPECT_EQ(function(ones, 0), 0x62A8AB43U);
    EXPECT_EQ(function(rising, 0), 0x46DD794EU);
    EXPECT_EQ(function({}, 0), 0U);
  }
}

TEST(Crc32c, TheInstructionAgreesWithTheTableAtEverySizeAndPlace) {
  std::mt19937_64 random(7);
  std::vector<std::byte> bytes(600);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  for (std::size_t from = 0; from < 9; ++from) {
    for (std::size_t size = 0; size + from <= bytes.size(); ++size) {
      const auto part = std::span<const std::byte>(bytes).subspan(from, size);
      ASSERT_EQ(crc32c(part, 5), crc32c_table(part, 5)) << from << " " << size;
    }
  }
  std::printf("crc32c in hardware: %s\n", crc32c_in_hardware() ? "yes" : "no");
}

TEST(Crc32c, GoesOnWhereItStopped) {
  const auto all = bytes_of("the one behind the other");
  for (std::size_t cut = 0; cut <= all.size(); ++cut) {
    EXPECT_EQ(crc32c(all.subspan(cut), crc32c(all.first(cut))), crc32c(all));
  }
}

}  // namespace
}  // namespace nacelle::cache
