// The two tiny models against what transformers answered for them, on every backend.
#include <gtest/gtest.h>

#include <fstream>

#include "tests/model/fixture.h"

namespace nacelle::model {
namespace {

constexpr double kTolerance = 1e-4;  // values are of size 1

class TinyModels : public ::testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<kernels::Backend> backend_ = make_backend(GetParam());
};

INSTANTIATE_TEST_SUITE_P(EveryBackend, TinyModels, ::testing::ValuesIn(backend_names()),
                         backend_test_name);

Batch recorded_batch(const files::Json& golden) {
  Batch batch;
  for (const auto& item : golden["items"]) {
    batch.add(item["ids"].get<std::vector<std::uint32_t>>());
  }
  return batch;
}

// Writes modules.json for one of the four combinations.
void set_pooling(const TemporaryFolder& folder, bool cls, bool normalize) {
  folder.edit_json("1_Pooling/config.json", [&](files::Json& json) {
    json["pooling_mode_cls_token"] = cls;
    json["pooling_mode_mean_tokens"] = !cls;
  });
  folder.edit_json("modules.json", [&](files::Json& json) {
    while (json.size() > 2) json.erase(json.size() - 1);
    if (normalize) {
      json.push_back({{"idx", 2},
                      {"name", "2"},
                      {"path", "2_Normalize"},
                      {"type", "sentence_transformers.models.Normalize"}});
    }
  });
}

TEST_P(TinyModels, EmbedAsRecordedForEveryStoragePoolingAndNormalization) {
  const files::Json golden = read_golden(data_path("tiny-bert/reference.json"));
  const Batch batch = recorded_batch(golden);
  for (const std::string storage : {"f32", "f16", "bf16"}) {
    for (const bool cls : {false, true}) {
      for (const bool normalize : {false, true}) {
        TemporaryFolder folder("tiny-bert");
        if (storage != "f32") {
          folder.write("model.safetensors", folder.read("model." + storage + ".safetensors"));
        }
        set_pooling(folder, cls, normalize);
        const auto model = load_or_die(folder.path(), *backend_);
        const Rows rows = run_or_die(*model, Task::kEmbed, batch);
        const std::string answer =
            std::string(cls ? "cls" : "mean") + (normalize ? "_normalized" : "");
        for (std::size_t i = 0; i < rows.size(); ++i) {
          const auto expected = golden["items"][i][storage][answer].get<std::vector<float>>();
          EXPECT_LE(largest_difference(rows[i], expected), kTolerance)
              << storage << " " << answer << ", text " << golden["items"][i]["text"];
        }
      }
    }
  }
}

TEST_P(TinyModels, ClassifyAsRecorded) {
  const files::Json golden = read_golden(data_path("tiny-classifier/reference.json"));
  const auto model = load_or_die(data_path("tiny-classifier"), *backend_);
  const Rows rows = run_or_die(*model, Task::kClassify, recorded_batch(golden));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_LE(largest_difference(rows[i], golden["items"][i]["logits"].get<std::vector<float>>()),
              kTolerance)
        << "text " << golden["items"][i]["text"];
  }
}

TEST_P(TinyModels, AClassifierWithoutModulesEmbedsByNormalizedMean) {
  const files::Json golden = read_golden(data_path("tiny-classifier/reference.json"));
  const auto model = load_or_die(data_path("tiny-classifier"), *backend_);
  const Rows rows = run_or_die(*model, Task::kEmbed, recorded_batch(golden));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_LE(largest_difference(rows[i],
                                 golden["items"][i]["mean_normalized"].get<std::vector<float>>()),
              kTolerance)
        << "text " << golden["items"][i]["text"];
  }
}

TEST_P(TinyModels, TablesAtOddAddressesGiveTheSameAnswers) {
  const Batch batch = recorded_batch(read_golden(data_path("tiny-bert/reference.json")));
  const auto model = load_or_die(data_path("tiny-bert"), *backend_);
  // The format's own writer aligns the data; nothing in the format says that a file must.
  for (const std::size_t spaces : {1U, 2U, 3U}) {
    TemporaryFolder folder("tiny-bert");
    folder.edit_header([](files::Json&) {}, spaces);
    const auto odd = load_or_die(folder.path(), *backend_);
    EXPECT_EQ(run_or_die(*odd, Task::kEmbed, batch), run_or_die(*model, Task::kEmbed, batch));
  }
}

TEST_P(TinyModels, AnEncoderMayKeepItsTensorsUnderBert) {
  const Batch batch = recorded_batch(read_golden(data_path("tiny-bert/reference.json")));
  const auto model = load_or_die(data_path("tiny-bert"), *backend_);
  TemporaryFolder folder("tiny-bert");
  folder.edit_header([](files::Json& header) {
    files::Json renamed;
    for (const auto& [name, entry] : header.items()) {
      renamed[name == "__metadata__" ? name : "bert." + name] = entry;
    }
    header = renamed;
  });
  const auto prefixed = load_or_die(folder.path(), *backend_);
  EXPECT_EQ(run_or_die(*prefixed, Task::kEmbed, batch), run_or_die(*model, Task::kEmbed, batch));
}

// 11 texts, 40 times over, are more tokens and more sequences than one wave takes.
TEST_P(TinyModels, ATextAloneAndInABatchOfManyWavesGivesTheSameBytes) {
  const files::Json golden = read_golden(data_path("tiny-classifier/reference.json"));
  const auto model = load_or_die(data_path("tiny-classifier"), *backend_);
  Batch many;
  for (int i = 0; i < 40; ++i) {
    for (const auto& item : golden["items"]) {
      many.add(item["ids"].get<std::vector<std::uint32_t>>());
    }
  }
  for (const Task task : {Task::kEmbed, Task::kClassify}) {
    const Rows together = run_or_die(*model, task, many);
    for (std::size_t i = 0; i < golden["items"].size(); ++i) {
      Batch alone;
      alone.add(golden["items"][i]["ids"].get<std::vector<std::uint32_t>>());
      const Rows row = run_or_die(*model, task, alone);
      for (std::size_t j = i; j < together.size(); j += golden["items"].size()) {
        ASSERT_EQ(row[0], together[j]) << "text " << golden["items"][i]["text"] << " as row " << j;
      }
    }
  }
}

TEST_P(TinyModels, TokenTypesCount) {
  const auto model = load_or_die(data_path("tiny-bert"), *backend_);
  Batch zeros;
  zeros.add(tokenizer::Encoding{{2, 10, 3}, {0, 0, 0}, false});
  Batch ones;
  ones.add(tokenizer::Encoding{{2, 10, 3}, {0, 1, 1}, false});
  EXPECT_GT(largest_difference(run_or_die(*model, Task::kEmbed, zeros)[0],
                               run_or_die(*model, Task::kEmbed, ones)[0]),
            1e-3);
}

TEST(TinyModelInfo, TellsWhatClientsNeed) {
  const auto backend = make_backend("reference", 1);
  const auto encoder = load_or_die(data_path("tiny-bert"), *backend);
  EXPECT_EQ(encoder->info().architecture, "BertModel");
  EXPECT_EQ(encoder->info().embed_width, 32U);
  EXPECT_EQ(encoder->info().tokens_max, 24U);
  EXPECT_TRUE(encoder->info().can(Task::kEmbed));
  EXPECT_FALSE(encoder->info().can(Task::kClassify));
  EXPECT_EQ(encoder->info().digest.size(), 64U);
  // Counted by hand: tables (92 + 24 + 2) * 32 and a norm of 64; per layer 4 * (32 * 32 + 32),
  // 32 * 72 + 72, 72 * 32 + 32 and two norms of 64.
  EXPECT_EQ(encoder->info().parameters,
            118U * 32 + 64 + 2U * (4 * 1056 + 32 * 72 + 72 + 72 * 32 + 32 + 128));
  EXPECT_GT(encoder->info().memory_bytes, encoder->info().parameters);

  const auto classifier = load_or_die(data_path("tiny-classifier"), *backend);
  EXPECT_EQ(classifier->info().labels, (std::vector<std::string>{"calm", "loud", "far away"}));
  EXPECT_TRUE(classifier->info().multi_label);
  EXPECT_TRUE(classifier->info().can(Task::kEmbed));
  EXPECT_NE(classifier->info().digest, encoder->info().digest);
}

TEST(TinyModelInfo, ItsTokenizerGivesTheRecordedIds) {
  const auto backend = make_backend("reference", 1);
  const auto model = load_or_die(data_path("tiny-bert"), *backend);
  const files::Json golden = read_golden(data_path("tiny-bert/reference.json"));
  for (const auto& item : golden["items"]) {
    const auto encoding =
        model->tokenizer().encode(item["text"].get<std::string>(), model->info().tokens_max);
    ASSERT_TRUE(encoding) << encoding.error().message;
    EXPECT_EQ(encoding->ids, item["ids"].get<std::vector<std::uint32_t>>()) << item["text"];
  }
}

}  // namespace
}  // namespace nacelle::model
