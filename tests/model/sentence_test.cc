// Models as sentence-transformers saves them, against what it answered: every pooling, the modules
// after it, prompts; and a cross-encoder with its score.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/model/fixture.h"

namespace nacelle::model {
namespace {

using ::testing::HasSubstr;

constexpr double kTolerance = 2e-5;

class Sentences : public ::testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<kernels::Backend> backend_ = make_backend(GetParam());

  // Embeds the recorded texts, each after `prompt`, and compares with `expected(item)`.
  template <typename Expected>
  void compare(const std::string& directory, const std::string& prompt, Expected expected) {
    const files::Json golden = read_golden(data_path("tiny-sentence/reference.json"));
    const auto model = load_or_die(directory, *backend_);
    std::vector<std::string> texts;
    for (const auto& item : golden["items"]) {
      texts.push_back(prompt + item["text"].get<std::string>());
    }
    const Rows rows = run_texts(*model, Task::kEmbed, texts, model->info().tokens_max);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto& item = golden["items"][i];
      EXPECT_LE(largest_difference(rows[i], expected(item).template get<std::vector<float>>()),
                kTolerance)
          << item["text"];
    }
  }
};

INSTANTIATE_TEST_SUITE_P(EveryBackend, Sentences, ::testing::ValuesIn(backend_names()),
                         backend_test_name);

TEST_P(Sentences, AllModulesAsRecorded) {
  compare(data_path("tiny-sentence"), "", [](const auto& item) { return item["vector"]; });
}

TEST_P(Sentences, AfterThePromptAsRecorded) {
  const auto model = load_or_die(data_path("tiny-sentence"), *backend_);
  ASSERT_EQ(model->info().default_prompt, "query");
  compare(data_path("tiny-sentence"), "the film ",
          [](const auto& item) { return item["query_vector"]; });
}

// Both ways to name a mode: since sentence-transformers 5.5, and before.
TEST_P(Sentences, EveryPoolingAsRecorded) {
  const std::vector<std::pair<std::string, std::string>> modes = {
      {"cls", "pooling_mode_cls_token"},
      {"max", "pooling_mode_max_tokens"},
      {"mean", "pooling_mode_mean_tokens"},
      {"mean_sqrt_len_tokens", "pooling_mode_mean_sqrt_len_tokens"},
      {"weightedmean", "pooling_mode_weightedmean_tokens"},
      {"lasttoken", "pooling_mode_lasttoken"}};
  const TemporaryFolder folder("tiny-sentence");
  folder.edit_json("modules.json", [](files::Json& json) {
    while (json.size() > 2) json.erase(json.size() - 1);
  });
  for (const auto& [name, flag] : modes) {
    const auto expected = [&](const auto& item) { return item["pooled"][name]; };
    folder.write("1_Pooling/config.json",
                 files::Json{{"embedding_dimension", 16}, {"pooling_mode", name}}.dump());
    compare(folder.path(), "", expected);
    files::Json older = {{"word_embedding_dimension", 16}, {flag, true}};
    for (const auto& [other, other_flag] : modes) {
      if (other != name) older[other_flag] = false;
    }
    folder.write("1_Pooling/config.json", older.dump());
    compare(folder.path(), "", expected);
  }
}

TEST_P(Sentences, PoolingsSideBySide) {
  const TemporaryFolder folder("tiny-sentence");
  folder.edit_json("modules.json", [](files::Json& json) {
    while (json.size() > 2) json.erase(json.size() - 1);
  });
  folder.write("1_Pooling/config.json",
               R"({"word_embedding_dimension": 16, "pooling_mode_mean_tokens": true,
                   "pooling_mode_lasttoken": true, "pooling_mode_cls_token": true})");
  EXPECT_EQ(load_or_die(folder.path(), *backend_)->info().embed_width, 48U);
  compare(folder.path(), "", [](const auto& item) {
    files::Json row = item["pooled"]["cls"];
    for (const char* name : {"mean", "lasttoken"}) {
      for (const auto& x : item["pooled"][name]) row.push_back(x);
    }
    return row;
  });
}

TEST_P(Sentences, RawLeavesOutTheScalingAtTheEndOnly) {
  const auto model = load_or_die(data_path("tiny-sentence"), *backend_);
  ASSERT_TRUE(model->info().normalizes);
  Batch batch;
  batch.add({2, 10, 11, 3});
  const std::vector<float> scaled = run_or_die(*model, Task::kEmbed, batch)[0];
  std::vector<float> row(model->info().embed_width);
  Packed packed = batch.packed();
  packed.raw = true;
  const auto status = model->run(Task::kEmbed, packed, std::vector<float*>{row.data()});
  ASSERT_TRUE(status) << status.error().message;
  EXPECT_GT(largest_difference(row, scaled), 0.1);
  EXPECT_NEAR(cosine(row, scaled), 1, 1e-6);

  // Where nothing scales, raw is the same.
  const TemporaryFolder folder("tiny-sentence");
  folder.edit_json("modules.json", [](files::Json& json) { json.erase(5); });
  const auto plain = load_or_die(folder.path(), *backend_);
  EXPECT_FALSE(plain->info().normalizes);
  EXPECT_EQ(run_or_die(*plain, Task::kEmbed, batch)[0], row);
}

TEST_P(Sentences, ATextAloneAndInABatchGivesTheSameBytes) {
  const auto model = load_or_die(data_path("tiny-sentence"), *backend_);
  std::vector<std::string> texts;
  for (int i = 0; i < 300; ++i) texts.push_back(i % 3 == 0 ? "good film" : "the cat sat on a mat");
  const Rows together = run_texts(*model, Task::kEmbed, texts, 24);
  for (const std::size_t i : {0U, 1U}) {
    const Rows alone = run_texts(*model, Task::kEmbed, {texts[i]}, 24);
    for (std::size_t j = 0; j < texts.size(); ++j) {
      if (texts[j] != texts[i]) continue;
      ASSERT_EQ(alone[0], together[j]) << j;
    }
  }
}

TEST_P(Sentences, ACrossEncoderScoresPairsAsRecorded) {
  const files::Json golden = read_golden(data_path("tiny-cross-encoder/reference.json"));
  const auto model = load_or_die(data_path("tiny-cross-encoder"), *backend_);
  ASSERT_TRUE(model->info().reranks);
  ASSERT_EQ(model->info().score, ScoreFunction::kSigmoid);
  Batch batch;
  for (const auto& item : golden["items"]) {
    batch.add(tokenizer::Encoding{item["ids"].get<std::vector<std::uint32_t>>(),
                                  item["types"].get<std::vector<std::uint32_t>>(), false});
  }
  const Rows rows = run_or_die(*model, Task::kClassify, batch);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto& item = golden["items"][i];
    EXPECT_NEAR(rows[i][0], item["logit"].get<float>(), kTolerance) << item["pair"];
    EXPECT_NEAR(1 / (1 + std::exp(-rows[i][0])), item["score"].get<float>(), kTolerance);
  }
}

TEST(SentenceInfo, TellsWidthPromptsAndLimit) {
  const auto backend = make_backend("reference", 1);
  const auto model = load_or_die(data_path("tiny-sentence"), *backend);
  EXPECT_EQ(model->info().embed_width, 12U);
  EXPECT_EQ(model->info().tokens_max, 24U);
  EXPECT_EQ(model->info().prompts, (std::vector<std::pair<std::string, std::string>>{
                                       {"document", ""}, {"query", "the film "}}));
  EXPECT_EQ(model->info().default_prompt, "query");
  EXPECT_FALSE(model->info().reranks);
}

TEST(SentenceInfo, ModulesWeightsAndPromptsCountForTheDigest) {
  const auto backend = make_backend("reference", 1);
  const TemporaryFolder folder("tiny-sentence");
  const std::string before = load_or_die(folder.path(), *backend)->info().digest;
  std::string dense = folder.read("2_Dense/model.safetensors");
  dense.back() = static_cast<char>(dense.back() ^ 1);
  folder.write("2_Dense/model.safetensors", dense);
  const std::string other_dense = load_or_die(folder.path(), *backend)->info().digest;
  EXPECT_NE(other_dense, before);
  folder.edit_json("config_sentence_transformers.json",
                   [](files::Json& json) { json["prompts"]["query"] = "a film "; });
  EXPECT_NE(load_or_die(folder.path(), *backend)->info().digest, other_dense);
}

// Where and how a cross-encoder's file may name its activation.
TEST(CrossEncoderInfo, TheScoreFunctionIsTheOneThatTheFilesName) {
  struct Row {
    files::Json config;
    ScoreFunction expected;
  };
  const auto backend = make_backend("reference", 1);
  const char* identity = "torch.nn.modules.linear.Identity";
  for (const Row& row : {
           Row{files::Json::object(), ScoreFunction::kSigmoid},
           Row{{{"sbert_ce_default_activation_function", identity}}, ScoreFunction::kNone},
           Row{{{"sentence_transformers", {{"activation_fn", identity}}}}, ScoreFunction::kNone},
           Row{{{"sentence_transformers", {{"version", "4.0.0"}}}}, ScoreFunction::kSigmoid},
           Row{{{"sentence_transformers",
                 {{"activation_fn", "torch.nn.modules.activation.Sigmoid"}}},
                {"sbert_ce_default_activation_function", identity}},
               ScoreFunction::kSigmoid},
           Row{{{"sbert_ce_default_activation_function", "my_package.Scale"}},
               ScoreFunction::kSigmoid},
           Row{{{"problem_type", "regression"}}, ScoreFunction::kSigmoid},
       }) {
    const TemporaryFolder folder("tiny-cross-encoder");
    folder.edit_json("config.json", [&](files::Json& json) { json.update(row.config); });
    folder.remove("config_sentence_transformers.json");
    const auto model = load_or_die(folder.path(), *backend);
    EXPECT_EQ(model->info().score, row.expected) << row.config;
    EXPECT_TRUE(model->info().reranks);
  }
  const TemporaryFolder folder("tiny-cross-encoder");
  folder.edit_json("config_sentence_transformers.json",
                   [&](files::Json& json) { json["activation_fn"] = identity; });
  EXPECT_EQ(load_or_die(folder.path(), *backend)->info().score, ScoreFunction::kNone);
  folder.edit_json("config_sentence_transformers.json", [&](files::Json& json) {
    json["activation_fn"] = "torch.nn.modules.activation.Hardtanh";
  });
  EXPECT_THAT(load_error(folder.path()), HasSubstr("Hardtanh\" is not supported"));
}

}  // namespace
}  // namespace nacelle::model
