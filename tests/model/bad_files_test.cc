// Folders that are no good model: each is a clear error that names the file and the problem.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/model/fixture.h"

namespace nacelle::model {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr char kWords[] = "embeddings.word_embeddings.weight";
constexpr char kQuery[] = "encoder.layer.1.attention.self.query.weight";

TEST(BadModel, AMissingFolderNamesItsConfig) {
  EXPECT_THAT(load_error("/nowhere/at/all"), HasSubstr("/nowhere/at/all/config.json"));
}

TEST(BadModel, EachMissingFileIsNamed) {
  for (const std::string name :
       {"config.json", "model.safetensors", "tokenizer.json", "1_Pooling/config.json"}) {
    const TemporaryFolder folder("tiny-bert");
    folder.remove(name);
    EXPECT_THAT(load_error(folder.path()),
                AllOf(HasSubstr(folder.path(name)), HasSubstr("ENOENT")));
  }
}

TEST(BadModel, ATruncatedWeightsFileSaysSoAtEveryLength) {
  const TemporaryFolder folder("tiny-bert");
  const std::string whole = folder.read("model.safetensors");
  for (const std::size_t size : {std::size_t{0}, std::size_t{7}, std::size_t{8}, std::size_t{100},
                                 whole.size() / 2, whole.size() - 1}) {
    folder.write("model.safetensors", whole.substr(0, size));
    EXPECT_THAT(load_error(folder.path()),
                AllOf(HasSubstr(folder.path("model.safetensors")), HasSubstr("truncated")))
        << size << " bytes";
  }
}

TEST(BadModel, AWrongTypeTellsTensorOffsetAndBothTypes) {
  const TemporaryFolder folder("tiny-bert");
  folder.edit_header([](files::Json& header) { header[kQuery]["dtype"] = "I32"; });
  EXPECT_THAT(load_error(folder.path()),
              AllOf(HasSubstr("model.safetensors: tensor \"" + std::string(kQuery) + "\" at byte "),
                    HasSubstr("expected F32, F16, BF16 or I8 of shape [32, 32]"),
                    HasSubstr("found I32 of shape [32, 32]")));
}

TEST(BadModel, AWrongShapeTellsBothShapes) {
  for (const auto& shape : {files::Json{32, 92}, files::Json{92 * 32}, files::Json{92, 32, 1}}) {
    const TemporaryFolder folder("tiny-bert");
    folder.edit_header([&](files::Json& header) { header[kWords]["shape"] = shape; });
    EXPECT_THAT(load_error(folder.path()),
                AllOf(HasSubstr(kWords), HasSubstr("of shape [92, 32], found F32 of shape [")));
  }
}

TEST(BadModel, AMissingTensorIsNamedWithItsShape) {
  const TemporaryFolder folder("tiny-bert");
  folder.edit_header([](files::Json& header) {
    header["something.else"] = header[kQuery];
    header.erase(kQuery);
  });
  EXPECT_THAT(load_error(folder.path()), HasSubstr("tensor \"" + std::string(kQuery) +
                                                   "\" is missing; it must have shape [32, "
                                                   "32]"));
}

TEST(BadModel, AnEncoderCalledAClassifierLacksItsHead) {
  const TemporaryFolder folder("tiny-bert");
  folder.edit_json("config.json", [](files::Json& json) {
    json["architectures"] = {"BertForSequenceClassification"};
  });
  EXPECT_THAT(load_error(folder.path()), HasSubstr("tensor \"pooler.dense.weight\" is missing"));
}

TEST(BadModel, AnUnknownTokenizerComponentIsNamed) {
  const TemporaryFolder folder("tiny-bert");
  folder.edit_json("tokenizer.json",
                   [](files::Json& json) { json["normalizer"]["type"] = "Frobnicate"; });
  EXPECT_THAT(load_error(folder.path()), AllOf(HasSubstr(folder.path("tokenizer.json")),
                                               HasSubstr("normalizer"), HasSubstr("Frobnicate")));
}

TEST(BadModel, AnUnknownArchitectureListsTheKnownOnes) {
  const TemporaryFolder folder("tiny-bert");
  folder.edit_json("config.json",
                   [](files::Json& json) { json["architectures"] = {"LlamaForCausalLM"}; });
  EXPECT_THAT(load_error(folder.path()),
              AllOf(HasSubstr("config.json: architectures: \"LlamaForCausalLM\" is not known"),
                    HasSubstr("this version knows Bert, Camembert, DistilBert"),
                    HasSubstr("followed by one of Model, ForMaskedLM")));
  for (const files::Json& bad : {files::Json(), files::Json(7), files::Json::array(),
                                 files::Json{"BertModel", "BertModel"}, files::Json{7}}) {
    folder.edit_json("config.json", [&](files::Json& json) { json["architectures"] = bad; });
    EXPECT_THAT(load_error(folder.path()), HasSubstr("architectures: must be a list of one name"))
        << bad;
  }
}

TEST(BadModel, AConfigThatIsNoJsonOrNoObjectIsRefused) {
  const TemporaryFolder folder("tiny-bert");
  folder.write("config.json", "{\"hidden_size\": ");
  EXPECT_THAT(load_error(folder.path()), HasSubstr("config.json"));
  folder.write("config.json", "[1, 2]");
  EXPECT_THAT(load_error(folder.path()), HasSubstr("not a JSON object"));
}

// Each row is a field that would make the arithmetic wrong, or memory run out.
TEST(BadModel, EachConfigFieldIsHeldToItsBounds) {
  struct Row {
    const char* field;
    files::Json value;
    const char* message;
  };
  for (const Row& row : {
           Row{"hidden_act", "quick_gelu", "hidden_act: \"quick_gelu\" is not supported"},
           Row{"hidden_act", "GELU", "this version knows gelu, gelu_python, gelu_new"},
           Row{"hidden_act", 3, "hidden_act: must be a string"},
           Row{"position_embedding_type", "relative_key", "is not supported"},
           Row{"is_decoder", true, "is_decoder: true is not supported"},
           Row{"quantization_config", {{"bits", 4}}, "is of a kind that is not supported"},
           Row{"hidden_size", 0, "hidden_size: must be a whole number from 1"},
           Row{"hidden_size", -32, "hidden_size: must be a whole number from 1"},
           Row{"hidden_size", 32.5, "hidden_size: must be a whole number from 1"},
           Row{"hidden_size", 1e18, "hidden_size: must be a whole number from 1"},
           Row{"hidden_size", 18446744073709551615ULL, "hidden_size: must be a whole number"},
           Row{"hidden_size", nullptr, "hidden_size: missing"},
           Row{"num_hidden_layers", 1'000'000, "num_hidden_layers: must be a whole number"},
           Row{"num_attention_heads", 5, "32 is not a multiple of num_attention_heads, 5"},
           Row{"vocab_size", "92", "vocab_size: must be a whole number"},
           Row{"vocab_size", 50, "the two belong to different models"},
           Row{"vocab_size", 200, "expected F32, F16 or BF16 of shape [200, 32], found"},
           Row{"max_position_embeddings", 2, "special tokens, but a text may have 2 tokens"},
           Row{"max_position_embeddings", 512, "of shape [512, 32], found F32 of shape [24, 32]"},
           Row{"layer_norm_eps", 0, "layer_norm_eps: must be a number above 0"},
           Row{"layer_norm_eps", "tiny", "layer_norm_eps: must be a number above 0"},
       }) {
    const TemporaryFolder folder("tiny-bert");
    folder.edit_json("config.json", [&](files::Json& json) { json[row.field] = row.value; });
    EXPECT_THAT(load_error(folder.path()), AllOf(HasSubstr(folder.path()), HasSubstr(row.message)))
        << row.field << " = " << row.value;
  }
}

TEST(BadModel, LabelsMustBeNamedOnceEachFromZero) {
  struct Row {
    const char* field;
    files::Json value;
    const char* message;
  };
  for (const Row& row : {
           Row{"id2label", {{"0", "a"}, {"2", "b"}, {"3", "c"}}, "no name for index 1"},
           Row{"id2label", {{"0", "a"}, {"1", 7}, {"2", "c"}}, "no name for index 1"},
           Row{"id2label", {{"0", "a"}, {"1", ""}, {"2", "c"}}, "must have 1 to 256 bytes"},
           Row{"id2label", files::Json::object(), "must map 1 to 4096 indices"},
           Row{"id2label", {"a", "b", "c"}, "must map 1 to 4096 indices"},
           Row{"id2label", {{"0", "a"}, {"1", "b"}}, "expected F32, F16 or BF16 of shape [2, 32]"},
           Row{"problem_type", "regression", "\"regression\" is not supported"},
       }) {
    const TemporaryFolder folder("tiny-classifier");
    folder.edit_json("config.json", [&](files::Json& json) { json[row.field] = row.value; });
    EXPECT_THAT(load_error(folder.path()), HasSubstr(row.message)) << row.field << row.value;
  }
}

TEST(BadModel, LabelsWithoutNamesAreNumbered) {
  const TemporaryFolder folder("tiny-classifier");
  folder.edit_json("config.json", [](files::Json& json) {
    json.erase("id2label");
    json["num_labels"] = 3;
  });
  const auto backend = make_backend("reference", 1);
  EXPECT_EQ(load_or_die(folder.path(), *backend)->info().labels,
            (std::vector<std::string>{"LABEL_0", "LABEL_1", "LABEL_2"}));
}

}  // namespace
}  // namespace nacelle::model
