// Many threads, one client: what every thread gets is the answer to its own question.
//
// Client and sidecar are in this one process, so that the thread sanitizer sees both. The number of
// calls is small here; NACELLE_TEST_CALLS sets another, such as the 1,000,000 of a campaign:
//   NACELLE_TEST_CALLS=1000000 build/tsan/bin/threads_test
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "kernels/kernels.h"
#include "shm/client.h"
#include "sidecar/base/check.h"
#include "sidecar/pipeline.h"
#include "tests/support/temp_dir.h"

namespace nacelle::sidecar {
namespace {

constexpr std::size_t kThreads = 32;
constexpr std::size_t kCallsDefault = 10'000;
constexpr std::size_t kTexts = 16;
// Some payloads fit in a slot, others take the arena.
constexpr std::size_t kPingBytesMax = 3'000;
// Of so many calls one embeds, one classifies, one describes, and the others ping.
constexpr int kCallsPerEmbed = 16;

std::size_t calls_wanted() {
  const char* wanted = std::getenv("NACELLE_TEST_CALLS");
  return wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : kCallsDefault;
}

// What the texts' answers are, asked by one thread alone.
struct Expected {
  std::vector<std::string> texts;
  std::vector<std::vector<float>> vectors;
  std::vector<std::vector<float>> scores;
};

// Makes one call; the reason why its answer is wrong, or "".
std::string ask(Client& client, const Expected& expected, std::minstd_rand& random,
                std::uint64_t number) {
  const std::size_t which = random() % kTexts;
  const std::string_view text = expected.texts[which];
  switch (random() % kCallsPerEmbed) {
    case 0: {
      const auto rows = client.embed("sentiment", {&text, 1});
      if (!rows) return rows.error().message;
      return rows->values == expected.vectors[which] ? "" : "another text's vector";
    }
    case 1: {
      const auto labels = client.classify("sentiment", {&text, 1});
      if (!labels) return labels.error().message;
      return labels->front().scores == expected.scores[which] ? "" : "another text's scores";
    }
    case 2: {
      const auto info = client.describe("sentiment");
      if (!info) return info.error().message;
      return (*info)->embed_width == 128 ? "" : "another service's description";
    }
    default: {
      // Nobody else sends these bytes: all of them are this call's number.
      std::vector<std::uint64_t> data(1 + random() % (kPingBytesMax / sizeof number), number);
      const base::Status status = client.ping(std::as_writable_bytes(std::span(data)));
      if (!status) return status.error().message;
      const auto own = [&](std::uint64_t word) { return word == number; };
      return std::all_of(data.begin(), data.end(), own) ? "" : "another call's bytes";
    }
  }
}

TEST(Threads, OfOneClientEachGetTheirOwnAnswers) {
  auto backend = kernels::create_backend("auto", 2);
  ASSERT_TRUE(backend) << backend.error().message;
  testing::TempDir dir;
  Config config;
  config.socket = dir / "nacelle.sock";
  config.control.socket = dir / "control.sock";
  config.services = {{"sentiment", NACELLE_SOURCE_DIR "/tests/data/nsmc-bert-ko"}};
  auto services = Services::load(config, **backend);
  ASSERT_TRUE(services) << services.error().message;
  auto pipeline = Pipeline::start(config, *services);
  ASSERT_TRUE(pipeline) << pipeline.error().message;
  auto client = Client::connect({.socket = config.socket, .name = "threads"});
  ASSERT_TRUE(client) << client.error().message;

  Expected expected;
  for (std::size_t i = 0; i < kTexts; ++i) {
    expected.texts.push_back("영화 " + std::to_string(i));
    const std::string_view text = expected.texts.back();
    expected.vectors.push_back((*client)->embed("sentiment", {&text, 1})->values);
    expected.scores.push_back((*client)->classify("sentiment", {&text, 1})->front().scores);
    // A wrong row can only be seen when no two are alike.
    ASSERT_EQ(std::count(expected.vectors.begin(), expected.vectors.end(), expected.vectors[i]), 1);
  }

  const std::size_t calls = calls_wanted();
  std::atomic<std::uint64_t> next{0};
  std::vector<std::string> wrong(kThreads);  // each thread's last complaint
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::minstd_rand random(static_cast<unsigned>(t + 1));  // the seed is the thread's number
      for (;;) {
        const std::uint64_t number = next.fetch_add(1, std::memory_order_relaxed);
        if (number >= calls) return;
        if (std::string reason = ask(**client, expected, random, number); !reason.empty()) {
          wrong[t] = "call " + std::to_string(number) + ": " + reason;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (std::size_t t = 0; t < kThreads; ++t) EXPECT_EQ(wrong[t], "") << "thread " << t;
  EXPECT_EQ((*client)->rescued_by_timeout(), 0U);
  EXPECT_EQ((*pipeline)->report().totals.rescued_by_timeout, 0U);
  std::printf("%zu calls of %zu threads\n", calls, kThreads);
}

}  // namespace
}  // namespace nacelle::sidecar
