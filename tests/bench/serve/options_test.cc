// The command line of serve_load.
#include "bench/serve/options.h"

#include <gtest/gtest.h>

namespace nacelle::bench::serve {
namespace {

base::Result<Options> parsed(std::vector<const char*> words) { return parse_options(words); }

TEST(ServeOptions, AreReadWhole) {
  const auto options =
      parsed({"nacelle", "/s", "minilm", "--texts=/t", "--phases=100:500,2.5:1000", "--seed=7",
              "--pattern=burst", "--burst=3", "--processes=8", "--connections=2", "--timeout-ms=20",
              "--grace-ms=5", "--cancel-share=0.5", "--cancel-after-us=9", "--name=me",
              "--expected=/v", "--part=2/3"});
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_FALSE(options->http);
  EXPECT_EQ(options->sockets, std::vector<std::string>{"/s"});
  EXPECT_EQ(options->service, "minilm");
  EXPECT_EQ(options->name, "me");
  EXPECT_EQ(options->expected, "/v");
  EXPECT_EQ(options->part.index, 2U);
  EXPECT_EQ(options->part.count, 3U);
  const Load& load = options->load;
  ASSERT_EQ(load.phases.size(), 2U);
  EXPECT_EQ(load.phases[1].rate, 2.5);
  EXPECT_EQ(load.duration(), 1500 * base::kMillisecond);
  EXPECT_EQ(load.pattern, Pattern::kBurst);
  EXPECT_EQ(load.burst, 3U);
  EXPECT_EQ(load.processes, 8U);
  EXPECT_EQ(load.connections, 2U);
  EXPECT_EQ(load.seed, 7U);
  EXPECT_EQ(load.timeout, 20 * base::kMillisecond);
  EXPECT_EQ(load.grace, 5 * base::kMillisecond);
  EXPECT_EQ(load.cancel_share, 0.5);
  EXPECT_EQ(load.cancel_after, 9 * base::kMicrosecond);
}

TEST(ServeOptions, HttpServersShareTheConnections) {
  const auto options = parsed({"http", "/a,/b", "--texts=/t", "--phases=1:1"});
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_TRUE(options->http);
  EXPECT_EQ(options->sockets, (std::vector<std::string>{"/a", "/b"}));
}

TEST(ServeOptions, ThatMakeNoSenseAreRefused) {
  const std::vector<std::vector<const char*>> wrong = {
      {},
      {"nacelle", "/s", "--texts=/t", "--phases=1:1"},
      {"http", "/s", "service", "--texts=/t", "--phases=1:1"},
      {"grpc", "/s", "service", "--texts=/t", "--phases=1:1"},
      {"http", "/s", "--texts=/t"},
      {"http", "/s", "--phases=1:1"},
      {"http", "/s", "--texts=/t", "--phases=1"},
      {"http", "/s", "--texts=/t", "--phases=1:0"},
      {"http", "/s", "--texts=/t", "--phases=-1:5"},
      {"http", "/s", "--texts=/t", "--phases=nan:5"},
      {"http", "/s", "--texts=/t", "--phases=1:1,"},
      {"http", "/s", "--texts=/t", "--phases=1:600000,1:600000"},
      {"http", "/s", "--texts=/t", "--phases=1:1,1:1", "--pattern=closed"},
      {"http", "/s", "--texts=/t", "--phases=1:1", "--pattern=open"},
      {"http", "/s", "--texts=/t", "--phases=1:1", "--processes=0"},
      {"http", "/s", "--texts=/t", "--phases=1:1", "--seed=seven"},
      {"http", "/s", "--texts=/t", "--phases=1:1", "--cancel-share=1.5"},
      {"http", "/s", "--texts=/t", "--phases=1:1", "--name="},
      {"http", "/s", "--texts=/t", "--phases=1:1", "--part=3/3"},
      {"http", "/s", "--texts=/t", "--phases=1:1", "--part=0/0"},
      {"http", "/s", "--texts=/t", "--phases=1:1", "--part=1"},
      {"http", "/s", "--texts=/t", "--phases=1:1", "--sed=1"},
      {"http", "/s", "--texts=/t", "--phases=1:1", "--seed"},
  };
  for (const auto& words : wrong) {
    const auto options = parsed(words);
    ASSERT_FALSE(options) << (words.empty() ? "nothing" : words.back());
    EXPECT_EQ(options.error().code, base::Code::kInvalid);
  }
}

}  // namespace
}  // namespace nacelle::bench::serve
