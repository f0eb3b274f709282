// sentence-transformers' files: what is read, and what is refused because it would not be honoured.
#include "sidecar/model/sentence_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sidecar/model/token_limit.h"
#include "tests/model/fixture.h"

namespace nacelle::model {
namespace {

using ::testing::HasSubstr;

constexpr std::uint32_t kWidth = 32;

std::string config_error(const TemporaryFolder& folder) {
  const auto config = read_sentence_config(folder.path(), kWidth, false);
  return config ? "" : config.error().message;
}

using Kind = SentenceStep::Kind;

TEST(Pooling, WithoutModulesIsTheNormalizedMean) {
  const TemporaryFolder folder;
  const auto config = read_sentence_config(folder.path(), kWidth, false);
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->pooling, std::vector{kernels::Pooling::kMean});
  ASSERT_EQ(config->steps.size(), 1U);
  EXPECT_EQ(config->steps[0].kind, Kind::kNormalize);
  EXPECT_EQ(config->width, kWidth);
}

TEST(Pooling, ReadsModeAndNormalization) {
  const TemporaryFolder folder("tiny-bert");
  folder.edit_json("1_Pooling/config.json", [](files::Json& json) {
    json["pooling_mode_cls_token"] = true;
    json["pooling_mode_mean_tokens"] = false;
  });
  folder.edit_json("modules.json", [](files::Json& json) { json.erase(2); });
  const auto config = read_sentence_config(folder.path(), kWidth, false);
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->pooling, std::vector{kernels::Pooling::kFirst});
  EXPECT_TRUE(config->steps.empty());
}

TEST(Pooling, ModesThatAreNotKnownAreRefusedByName) {
  const TemporaryFolder folder("tiny-bert");
  folder.edit_json("1_Pooling/config.json",
                   [](files::Json& json) { json["pooling_mode_attention"] = true; });
  EXPECT_THAT(config_error(folder), HasSubstr("\"pooling_mode_attention\" is not known"));
  for (const files::Json& bad : {files::Json("median"), files::Json(7), files::Json{"cls", "x"}}) {
    folder.edit_json("1_Pooling/config.json",
                     [&](files::Json& json) { json["pooling_mode"] = bad; });
    EXPECT_THAT(config_error(folder), HasSubstr("is not known")) << bad;
  }
  folder.edit_json("1_Pooling/config.json",
                   [&](files::Json& json) { json["pooling_mode"] = files::Json::array(); });
  EXPECT_THAT(config_error(folder), HasSubstr("must name 1 to 6 modes"));
}

TEST(Pooling, NoModeIsRefused) {
  const TemporaryFolder folder("tiny-bert");
  folder.edit_json("1_Pooling/config.json",
                   [](files::Json& json) { json["pooling_mode_mean_tokens"] = false; });
  EXPECT_THAT(config_error(folder), HasSubstr("the pooling mode is missing"));
}

TEST(Pooling, AnotherWidthBelongsToAnotherModel) {
  const TemporaryFolder folder("tiny-bert");
  folder.edit_json("1_Pooling/config.json",
                   [](files::Json& json) { json["word_embedding_dimension"] = 384; });
  EXPECT_THAT(config_error(folder), HasSubstr("384, but the model's vectors have 32 floats"));
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
           Row{2, "sentence_transformers.models.LSTM", "2_LSTM", "models.LSTM\" is not known"},
           Row{2, "sentence_transformers.models.Dense", "../x", "is not the name of a folder"},
           Row{2, "sentence_transformers.models.Dense", "2_Dense", "2_Dense/config.json"},
           Row{2, "sentence_transformers.models.Pooling", "1_Pooling", "Pooling\" is not known"},
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
    EXPECT_THAT(config_error(folder), HasSubstr(row.message)) << row.type << " at " << row.path;
  }
}

TEST(Pooling, ModulesThatAreNoListOrTooFewAreRefused) {
  const TemporaryFolder folder("tiny-bert");
  folder.write("modules.json", "{}");
  EXPECT_THAT(config_error(folder), HasSubstr("not a list"));
  folder.write("modules.json", "[7]");
  EXPECT_THAT(config_error(folder), HasSubstr("not a JSON object"));
  folder.write("modules.json", "[]");
  EXPECT_THAT(config_error(folder), HasSubstr("no Pooling"));
}

TEST(Modules, TooManyAreRefused) {
  const TemporaryFolder folder("tiny-bert");
  folder.edit_json("modules.json", [](files::Json& json) {
    while (json.size() <= kSentenceStepsMax) json.push_back(json[2]);
  });
  EXPECT_THAT(config_error(folder), HasSubstr("more than 8 modules"));
}

TEST(Modules, ATransformerAloneIsAClassifiersOnly) {
  const TemporaryFolder folder("tiny-bert");
  folder.edit_json("modules.json", [](files::Json& json) {
    json.erase(2);
    json.erase(1);
  });
  EXPECT_THAT(config_error(folder), HasSubstr("no Pooling"));
  const auto config = read_sentence_config(folder.path(), kWidth, true);
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->pooling, std::vector{kernels::Pooling::kMean});
}

// Each row replaces a field of a module's config.json.
TEST(Modules, SettingsThatWouldBeComputedWronglyAreRefused) {
  struct Row {
    const char* file;
    const char* field;
    files::Json value;
    const char* message;
  };
  for (const Row& row : {
           Row{"2_Dense", "in_features", 31, "is 31, but it gets vectors of 32 floats"},
           Row{"2_Dense", "out_features", 0, "out_features: must be a whole number"},
           Row{"2_Dense", "activation_function", "my.Tanh", "\"my.Tanh\" is not supported"},
           Row{"2_Dense", "activation_function", "torch.nn.ELU", "\"torch.nn.ELU\" is not"},
           Row{"2_Dense", "use_residual", true, "where in_features is not out_features"},
           Row{"2_Dense", "module_input_name", "token_embeddings", "module_input_name"},
           Row{"4_LayerNorm", "dimension", 13, "is 13, but it gets vectors of 12 floats"},
       }) {
    const TemporaryFolder folder("tiny-sentence");
    folder.edit_json(std::string(row.file) + "/config.json",
                     [&](files::Json& json) { json[row.field] = row.value; });
    EXPECT_THAT(load_error(folder.path()), HasSubstr(row.message)) << row.field;
  }
}

TEST(Modules, WeightsThatAreMissingAreNamed) {
  const TemporaryFolder folder("tiny-sentence");
  folder.remove("3_Dense/model.safetensors");
  EXPECT_THAT(load_error(folder.path()), HasSubstr("3_Dense/model.safetensors"));
}

TEST(Prompts, WhatTheFileMayNotSay) {
  struct Row {
    const char* text;
    const char* message;
  };
  for (const Row& row : {
           Row{"[]", "not a JSON object"},
           Row{R"({"prompts": ["query"]})", "prompts: must map at most 64 names"},
           Row{R"({"prompts": {"query": 7}})", "prompts: \"query\" must be a text"},
           Row{R"({"default_prompt_name": "query"})", "there is no prompt \"query\""},
           Row{R"({"default_prompt_name": 7})", "default_prompt_name: must be a string"},
       }) {
    const TemporaryFolder folder;
    folder.write("config_sentence_transformers.json", row.text);
    const auto prompts = read_prompts(folder.path());
    ASSERT_FALSE(prompts) << row.text;
    EXPECT_THAT(prompts.error().message, HasSubstr(row.message));
  }
  const TemporaryFolder folder;
  folder.write("config_sentence_transformers.json", R"({"prompts": {"a": null, "b": "x"}})");
  const auto prompts = read_prompts(folder.path());
  ASSERT_TRUE(prompts) << prompts.error().message;
  EXPECT_EQ(prompts->texts,
            (std::vector<std::pair<std::string, std::string>>{{"a", ""}, {"b", "x"}}));
}

TEST(Prompts, AreCounted) {
  for (const std::size_t count : {kPromptsMax, kPromptsMax + 1}) {
    files::Json prompts;
    for (std::size_t i = 0; i < count; ++i) prompts["p" + std::to_string(i)] = "x";
    const TemporaryFolder folder;
    folder.write("config_sentence_transformers.json", files::Json{{"prompts", prompts}}.dump());
    EXPECT_EQ(read_prompts(folder.path()).has_value(), count == kPromptsMax) << count;
  }
}

TEST(Prompts, ThatThePoolingLeavesOutAreRefused) {
  const TemporaryFolder folder("tiny-sentence");
  folder.edit_json("1_Pooling/config.json",
                   [](files::Json& json) { json["include_prompt"] = false; });
  EXPECT_THAT(load_error(folder.path()), HasSubstr("include_prompt is false"));
  folder.remove("config_sentence_transformers.json");
  EXPECT_EQ(load_error(folder.path()), "");
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
