// A sidecar with a small model for each op: an encoder with prompts, a classifier of three labels
// that are independent, and a cross-encoder. Their windows have 24 tokens, 22 of a text's own.
#pragma once

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "sidecar/files/json.h"
#include "tests/sidecar/pipeline_fixture.h"
#include "tests/support/data.h"

namespace nacelle::sidecar {

class TextsTest : public PipelineTest {
 protected:
  static constexpr std::uint32_t kWindow = 22;

  static void SetUpTestSuite() {
    auto backend = kernels::create_backend("auto", 2);
    CHECK(backend.has_value());
    backend_ = backend->release();
    Config config;
    config.services = {
        {.name = "embed",
         .model = testing::data_path("tiny-bert"),
         .prompts = {{"none", ""}, {"task", "this is a text: "}}},
        {.name = "labels", .model = testing::data_path("tiny-classifier")},
        {.name = "prompted",
         .model = testing::data_path("tiny-bert"),
         .prompts = {{"task", "this is a text: "}},
         .prompt_default = "task",
         .long_input = LongInputDefault::kChunkMean},
        {.name = "rank", .model = testing::data_path("tiny-reranker")},
        {.name = "strict",
         .model = testing::data_path("tiny-classifier"),
         .long_input = LongInputDefault::kReject},
    };
    auto services = Services::load(config, *backend_);
    if (!services) ADD_FAILURE() << services.error().message;
    CHECK(services.has_value());
    services_ = new Services(*std::move(services));
  }

  // As handles are given: sorted by name, as the config sorts them.
  enum Handle : std::uint32_t { kEmbedder, kLabels, kPrompted, kRank, kStrict };

  // `count` words of one token each, in an order of their own.
  static std::string words(std::size_t count, std::size_t seed = 0) {
    constexpr std::string_view kWords[] = {"cat", "film", "good", "bad", "mat", "text", "long"};
    std::string text;
    for (std::size_t i = 0; i < count; ++i) {
      if (i > 0) text += ' ';
      text += kWords[(i * i + seed + i / 5) % std::size(kWords)];
    }
    return text;
  }

  static std::vector<float> numbers(const files::Json& list) {
    return list.get<std::vector<float>>();
  }
  static std::vector<float> row(const Rows& rows, std::size_t i) {
    return {rows.row(i).begin(), rows.row(i).end()};
  }
  static double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
    CHECK(a.size() == b.size());
    double largest = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      largest = std::max(largest, std::abs(double{a[i]} - double{b[i]}));
    }
    return largest;
  }
};

}  // namespace nacelle::sidecar
