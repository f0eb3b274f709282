// What is an address, and which reach beyond this machine.
#include "sidecar/base/address.h"

#include <gtest/gtest.h>

#include <string>

namespace nacelle::base {
namespace {

TEST(Address, LoopbackIsToldFromTheRest) {
  for (const char* text : {"127.0.0.1:9464", "127.255.0.9:0", "[::1]:65535"}) {
    const auto address = parse_address(text);
    ASSERT_TRUE(address) << text;
    EXPECT_TRUE(address->loopback) << text;
  }
  for (const char* text : {"0.0.0.0:9464", "10.0.0.1:80", "[::]:9464", "[::ffff:127.0.0.1]:1",
                           "128.0.0.1:1", "[fe80::1]:1"}) {
    const auto address = parse_address(text);
    ASSERT_TRUE(address) << text;
    EXPECT_FALSE(address->loopback) << text;
  }
}

TEST(Address, NothingElseIsOne) {
  for (const char* text : {"", ":", "9464", ":9464", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536",
                           "127.0.0.1:-1", "127.0.0.1:80 ", "localhost:9464", "127.1:80", "::1:80",
                           "[::1]", "[]:1", "[::1:1", "1.2.3.4.5:6", "[127.0.0.1]:5"}) {
    EXPECT_FALSE(parse_address(text)) << text;
  }
  EXPECT_FALSE(parse_address(std::string("127.0.0.1\0:80", 13)));
}

}  // namespace
}  // namespace nacelle::base
