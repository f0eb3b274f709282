// Batches that do not fit are cut in two, and nothing is lost on the way.
#include "sidecar/schedule/split.h"

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

namespace nacelle::sidecar {
namespace {

struct Window {
  const Request* request;
  std::uint32_t window;
  bool operator==(const Window&) const = default;
};

std::vector<Window> windows(const Batch& batch) {
  std::vector<Window> out;
  for (const Slice& slice : batch.slices) {
    for (std::uint32_t i = 0; i < slice.count; ++i) out.push_back({slice.request, slice.first + i});
  }
  return out;
}

TEST(Split, BothHalvesTogetherAreTheBatchInItsOrder) {
  for (unsigned seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    std::vector<std::unique_ptr<Request>> requests;
    const auto client = std::make_shared<ClientState>();
    Batch batch;
    batch.service = 3;
    while (batch.texts < 2 || random() % 3 != 0) {
      auto request = std::make_unique<Request>();
      request->client = client;
      request->offsets.assign(1, 0);
      for (unsigned i = 0; i <= random() % 4; ++i) {
        request->offsets.push_back(request->offsets.back() +
                                   static_cast<std::uint32_t>(random() % 50));
      }
      batch.slices.push_back({request.get(), 0, request->windows()});
      requests.push_back(std::move(request));
      recount(batch);
    }
    const auto [first, second] = split(batch);
    EXPECT_GE(first.texts, 1U);
    EXPECT_GE(second.texts, 1U);
    EXPECT_EQ(first.texts + second.texts, batch.texts);
    EXPECT_EQ(first.tokens + second.tokens, batch.tokens);
    EXPECT_EQ(first.service, 3U);
    EXPECT_EQ(second.clients, 1U);
    std::vector<Window> both = windows(first);
    for (const Window& window : windows(second)) both.push_back(window);
    EXPECT_EQ(both, windows(batch));
  }
}

}  // namespace
}  // namespace nacelle::sidecar
