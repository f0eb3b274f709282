// modules.json and its pooling: what is read, and what is refused because it would not be honoured.
#include "sidecar/model/pooling.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sidecar/model/token_limit.h"
#include "tests/model/fixture.h"

namespace nacelle::model {
namespace {

using ::testing::HasSubstr;

constexpr std::uint32_t kWidth = 32;

std::string pooling_error(const TemporaryFolder& folder) {
  const auto pooling = read_pooling(folder.path(), kWidth);
  return pooling ? "" : pooling.error().message;
}

TEST(Pooling, WithoutModulesIsTheNormalizedMean) {
  const TemporaryFolder folder;
  const auto pooling = read_pooling(folder.path(), kWidth);
  ASSERT_TRUE(pooling) << pooling.error().message;
  EXPECT_EQ(pooling->mode, kernels::Pooling::kMean);
  EXPECT_TRUE(pooling->normalize);
}

TEST(Pooling, ReadsModeAndNormalization) {
  const TemporaryFolder folder("tiny-bert");
  folder.edit_json("1_Pooling/config.json", [](files::Json& json) {
    json["pooling_mode_cls_token"] = true;
    json["pooling_mode_mean_tokens"] = false;
  });
  folder.edit_json("modules.json", [](files::Json& json) { json.erase(2); });
  const auto pooling = read_pooling(folder.path(), kWidth);
  ASSERT_TRUE(pooling) << pooling.error().message;
  EXPECT_EQ(pooling->mode, kernels::Pooling::kFirst);
  EXPECT_FALSE(pooling->normalize);
}

TEST(Pooling, OtherModesAreRefusedByName) {
  for (const std::string mode : {"max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens"}) {
    const TemporaryFolder folder("tiny-bert");
    folder.edit_json("1_Pooling/config.json", [&](files::Json& json) {
      json["pooling_mode_mean_tokens"] = false;
      json["pooling_mode_" + mode] = true;
    });
    EXPECT_THAT(pooling_error(folder), HasSubstr("\"pooling_mode_" + mode + "\""));
  }
}

TEST(Pooling, NoModeAndTwoModesAreRefused) {
  const TemporaryFolder folder("tiny-bert");
  folder.edit_json("1_Pooling/config.json",
                   [](files::Json& json) { json["pooling_mode_cls_token"] = true; });
  EXPECT_THAT(pooling_error(folder),
              HasSubstr("pooling_mode_cls_token and pooling_mode_mean_tokens"));
  folder.edit_json("1_Pooling/config.json", [](files::Json& json) {
    json["pooling_mode_cls_token"] = false;
    json["pooling_mode_mean_tokens"] = false;
  });
  EXPECT_THAT(pooling_error(folder), HasSubstr("the pooling mode is missing"));
}

TEST(Pooling, AnotherWidthBelongsToAnotherModel) {
  const TemporaryFolder folder("tiny-bert");
  folder.edit_json("1_Pooling/config.json",
                   [](files::Json& json) { json["word_embedding_dimension"] = 384; });
  EXPECT_THAT(pooling_error(folder), HasSubstr("384, but the model's vectors have 32 floats"));
}

// Each row replaces module `index`.
TEST(Pooling, ModulesOfOtherKindsAndOrdersAreRefused) {
  struct Row {
    std::size_t index;
    const char* type;
    const char* path;
    const char* message;
  };
  for (const Row& row : {
           Row{2, "sentence_transformers.models.Dense", "2_Dense", "models.Dense\" is not known"},
           Row{1, "sentence_transformers.models.Normalize", "", "models.Normalize\" is not known"},
           Row{0, "sentence_transformers.models.CLIPModel", "", "module 0"},
           Row{2, "my_package.Normalize", "", "my_package.Normalize\" is not known"},
           Row{0, "sentence_transformers.models.Transformer", "0_Transformer", "own folder"},
           Row{1, "sentence_transformers.models.Pooling", "../1_Pooling", "is not the name of"},
           Row{1, "sentence_transformers.models.Pooling", "a/b", "is not the name of a folder"},
           Row{1, "sentence_transformers.models.Pooling", "..", "is not the name of a folder"},
           Row{1, "sentence_transformers.models.Pooling", "", "is not the name of a folder"},
       }) {
    const TemporaryFolder folder("tiny-bert");
    folder.edit_json("modules.json", [&](files::Json& json) {
      json[row.index]["type"] = row.type;
      json[row.index]["path"] = row.path;
    });
    EXPECT_THAT(pooling_error(folder), HasSubstr(row.message)) << row.type << " at " << row.path;
  }
}

TEST(Pooling, ModulesThatAreNoListOrTooFewAreRefused) {
  const TemporaryFolder folder("tiny-bert");
  folder.write("modules.json", "{}");
  EXPECT_THAT(pooling_error(folder), HasSubstr("not a list"));
  folder.write("modules.json", "[7]");
  EXPECT_THAT(pooling_error(folder), HasSubstr("not a JSON object"));
  folder.write("modules.json", "[]");
  EXPECT_THAT(pooling_error(folder), HasSubstr("no Pooling"));
}

std::uint32_t limit_of(const TemporaryFolder& folder, std::uint32_t positions) {
  const auto limit = read_token_limit(folder.path(), positions);
  if (!limit) ADD_FAILURE() << limit.error().message;
  return limit ? *limit : 0;
}

TEST(TokenLimit, IsTheSmallestThatAnyFileStates) {
  const TemporaryFolder folder;
  EXPECT_EQ(limit_of(folder, 512), 512U);
  // What transformers writes for "no limit".
  folder.write("tokenizer_config.json",
               R"({"model_max_length": 1000000000000000019884624838656, "do_lower_case": true})");
  EXPECT_EQ(limit_of(folder, 512), 512U);
  folder.write("tokenizer_config.json", R"({"model_max_length": 300})");
  EXPECT_EQ(limit_of(folder, 512), 300U);
  folder.write("sentence_bert_config.json", R"({"max_seq_length": 256})");
  EXPECT_EQ(limit_of(folder, 512), 256U);
  EXPECT_EQ(limit_of(folder, 128), 128U);
  folder.write("sentence_bert_config.json", R"({"max_seq_length": null, "do_lower_case": false})");
  EXPECT_EQ(limit_of(folder, 512), 300U);
}

TEST(TokenLimit, NonsenseIsRefusedWithTheFileAndTheField) {
  const TemporaryFolder folder;
  for (const std::string value : {"0", "-1", "\"256\"", "[]"}) {
    folder.write("sentence_bert_config.json", "{\"max_seq_length\": " + value + "}");
    const auto limit = read_token_limit(folder.path(), 512);
    ASSERT_FALSE(limit) << value;
    EXPECT_THAT(limit.error().message, HasSubstr("sentence_bert_config.json: max_seq_length"));
  }
  folder.write("sentence_bert_config.json", R"({"do_lower_case": true})");
  const auto limit = read_token_limit(folder.path(), 512);
  ASSERT_FALSE(limit);
  EXPECT_THAT(limit.error().message, HasSubstr("do_lower_case: true is not supported"));
}

}  // namespace
}  // namespace nacelle::model
