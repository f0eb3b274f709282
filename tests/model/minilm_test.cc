// all-MiniLM-L6-v2, a real encoder, against the recorded sentence embeddings. Needs the optional
// assets: the model has 90 MB.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/model/fixture.h"

namespace nacelle::model {
namespace {

constexpr char kSkipped[] = "needs the optional assets (NACELLE_ASSETS): all-MiniLM-L6-v2";

class MiniLm : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(EveryBackend, MiniLm, ::testing::ValuesIn(backend_names()),
                         backend_test_name);

TEST_P(MiniLm, EmbeddingsAreTheRecordedOnes) {
  const auto directory = asset_path("all-MiniLM-L6-v2");
  if (!directory) GTEST_SKIP() << kSkipped;
  // The reference's plain loops get the shorter texts only: they are a thousand times slower.
  const std::size_t tokens_max = GetParam() == "reference" ? 13 : 512;
  const files::Json golden = read_golden(*directory + "/reference_embeddings.json");
  const auto backend = make_backend(GetParam());
  const auto model = load_or_die(*directory, *backend);
  EXPECT_EQ(model->info().embed_width, 384U);
  EXPECT_EQ(model->info().tokens_max, 512U);

  std::vector<files::Json> items;
  Batch batch;
  for (const auto& item : golden["items"]) {
    if (item["ids"].size() > tokens_max) continue;
    const auto encoding = model->tokenizer().encode(item["text"].get<std::string>(), 512);
    ASSERT_TRUE(encoding) << encoding.error().message;
    ASSERT_EQ(encoding->ids, item["ids"].get<std::vector<std::uint32_t>>()) << item["text"];
    batch.add(*encoding);
    items.push_back(item);
  }
  ASSERT_GE(items.size(), 20U);
  const Rows rows = run_or_die(*model, Task::kEmbed, batch);
  double worst = 0;
  double worst_cosine = 1;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const auto expected = items[i]["embedding"].get<std::vector<float>>();
    EXPECT_GE(cosine(rows[i], expected), 0.99999) << items[i]["text"];
    EXPECT_LE(largest_difference(rows[i], expected), 1e-4) << items[i]["text"];
    worst = std::max(worst, largest_difference(rows[i], expected));
    worst_cosine = std::min(worst_cosine, cosine(rows[i], expected));

    Batch alone;
    alone.add(items[i]["ids"].get<std::vector<std::uint32_t>>());
    EXPECT_EQ(run_or_die(*model, Task::kEmbed, alone)[0], rows[i])
        << "alone and in a batch: " << items[i]["text"];
  }
  std::printf("%s: %zu texts, largest difference %.2e, smallest cosine %.8f\n", GetParam().c_str(),
              items.size(), worst, worst_cosine);
}

// The published package says 256 in sentence_bert_config.json; the recorded answers used 512.
TEST(MiniLmPackage, SentenceBertConfigLowersTheLimitTo256) {
  const auto directory = asset_path("all-MiniLM-L6-v2");
  if (!directory) GTEST_SKIP() << kSkipped;
  TemporaryFolder folder;
  for (const std::string name : {"config.json", "model.safetensors", "tokenizer.json",
                                 "tokenizer_config.json", "modules.json", "1_Pooling"}) {
    std::filesystem::create_symlink(std::filesystem::absolute(*directory + "/" + name),
                                    folder.path(name));
  }
  const auto backend = make_backend("auto");
  const auto recorded = load_or_die(folder.path(), *backend);
  EXPECT_EQ(recorded->info().tokens_max, 512U);
  folder.write("sentence_bert_config.json", R"({"max_seq_length": 256, "do_lower_case": false})");
  const auto published = load_or_die(folder.path(), *backend);
  EXPECT_EQ(published->info().tokens_max, 256U);
  EXPECT_NE(published->info().digest, recorded->info().digest);
}

}  // namespace
}  // namespace nacelle::model
