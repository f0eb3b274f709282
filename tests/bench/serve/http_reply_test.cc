// Replies as servers send them, in pieces and broken.
#include "bench/serve/http_reply.h"

#include <gtest/gtest.h>

namespace nacelle::bench::serve {
namespace {

constexpr std::string_view kReply =
    "HTTP/1.1 200 OK\r\ndate: today\r\nCONTENT-length: 5\r\n\r\nhello";

TEST(HttpReply, IsWholeWhenItsLastByteHasCome) {
  for (std::size_t size = 0; size < kReply.size(); ++size) {
    EXPECT_FALSE(parse_reply(kReply.substr(0, size))) << size;
  }
  const auto reply = parse_reply(kReply);
  ASSERT_TRUE(reply);
  EXPECT_FALSE(reply->broken);
  EXPECT_EQ(reply->status, 200);
  EXPECT_EQ(reply->size, kReply.size());
  EXPECT_EQ(parse_reply(std::string(kReply) + "HTTP")->size, kReply.size());
}

TEST(HttpReply, SaysWhenToComeBack) {
  const auto reply = parse_reply(
      "HTTP/1.1 503 Service Unavailable\r\nretry-after: 3\r\ncontent-length: 0\r\n\r\n");
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->status, 503);
  EXPECT_EQ(reply->retry_after_s, 3U);
}

TEST(HttpReply, ThatMakesNoSenseIsBroken) {
  for (const char* bytes : {"SSH-2.0-OpenSSH\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n",
                            "HTTP/1.1 abc OK\r\ncontent-length: 1\r\n\r\nx",
                            "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
                            "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n",
                            "HTTP/1.1 200 OK\r\ncontent-length: 2000000\r\n\r\n",
                            "HTTP/1.1 200 OK\r\nretry-after: soon\r\ncontent-length: 0\r\n\r\n"}) {
    const auto reply = parse_reply(bytes);
    ASSERT_TRUE(reply) << bytes;
    EXPECT_TRUE(reply->broken) << bytes;
  }
  const auto endless = parse_reply(std::string(kHttpReplyMax + 1, 'x'));
  ASSERT_TRUE(endless);
  EXPECT_TRUE(endless->broken);
}

TEST(HttpReply, ARequestCarriesItsTextAsJson) {
  const std::string request = make_request("a \"text\"\n");
  EXPECT_NE(request.find("Content-Length: 23\r\n\r\n{\"text\":\"a \\\"text\\\"\\n\"}"),
            std::string::npos)
      << request;
}

}  // namespace
}  // namespace nacelle::bench::serve
