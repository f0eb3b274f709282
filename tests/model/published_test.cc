// Published models of other families than MiniLM's, against what sentence-transformers answered for
// them. Optional: the models are large. tests/golden/make_published_goldens.py records the answers
// beside a model.
#include <gtest/gtest.h>

#include <cstdio>

#include "tests/model/fixture.h"

namespace nacelle::model {
namespace {

// What the reference's plain loops finish in a few seconds.
constexpr std::size_t kReferenceTokensMax = 6;
constexpr std::size_t kReferenceTexts = 2;

constexpr std::array kPublished = {"all-mpnet-base-v2"};

class Published : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(EveryBackend, Published, ::testing::ValuesIn(backend_names()),
                         backend_test_name);

TEST_P(Published, EmbeddingsAreTheRecordedOnes) {
  std::size_t compared = 0;
  const bool slow = GetParam() == "reference";
  for (const std::string name : kPublished) {
    const auto directory = asset_path(name);
    if (!directory || !std::filesystem::exists(*directory + "/reference_embeddings.json")) continue;
    const files::Json golden = read_golden(*directory + "/reference_embeddings.json");
    const auto backend = make_backend(GetParam());
    const auto model = load_or_die(*directory, *backend);
    Batch batch;
    std::vector<files::Json> items;
    for (const auto& item : golden["items"]) {
      if (slow && (item["ids"].size() > kReferenceTokensMax || items.size() == kReferenceTexts)) {
        continue;
      }
      const auto encoding =
          model->tokenizer().encode(item["text"].get<std::string>(), model->info().tokens_max);
      ASSERT_TRUE(encoding) << encoding.error().message;
      ASSERT_EQ(encoding->ids, item["ids"].get<std::vector<std::uint32_t>>()) << item["text"];
      batch.add(*encoding);
      items.push_back(item);
    }
    ASSERT_FALSE(items.empty());
    const Rows rows = run_or_die(*model, Task::kEmbed, batch);
    double worst = 0;
    for (std::size_t i = 0; i < items.size(); ++i) {
      const auto expected = items[i]["embedding"].get<std::vector<float>>();
      EXPECT_LE(largest_difference(rows[i], expected), 1e-5) << items[i]["text"];
      worst = std::max(worst, largest_difference(rows[i], expected));
    }
    std::printf("%s: %s: %zu texts, largest difference %.1e\n", GetParam().c_str(), name.c_str(),
                items.size(), worst);
    ++compared;
  }
  if (compared == 0) GTEST_SKIP() << "needs optional assets (NACELLE_ASSETS): all-mpnet-base-v2";
}

}  // namespace
}  // namespace nacelle::model
