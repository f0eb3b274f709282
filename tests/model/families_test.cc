// A tiny model of every family against what transformers answered for it, on every backend: its
// classifier, its encoder, the bare encoder, and old and other ways to spell the same file.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>

#include "tests/model/fixture.h"

namespace nacelle::model {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;

constexpr double kTolerance = 2e-5;  // values are of size 1, and recorded with 6 digits

std::vector<float> normalized(std::vector<float> row) {
  double squares = 0;
  for (const float x : row) squares += double{x} * double{x};
  for (float& x : row) x = static_cast<float>(double{x} / std::sqrt(squares));
  return row;
}

class Families : public ::testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<kernels::Backend> backend_ = make_backend(GetParam());
};

INSTANTIATE_TEST_SUITE_P(EveryBackend, Families, ::testing::ValuesIn(backend_names()),
                         backend_test_name);

TEST_P(Families, ClassifyAndEmbedAsRecorded) {
  for (const std::string name : kFamilies) {
    const Family folder(name);
    const files::Json golden = read_golden(folder.path("reference.json"));
    const auto model = load_or_die(folder.path(), *backend_);
    const Batch batch = recorded_batch(golden);
    const Rows logits = run_or_die(*model, Task::kClassify, batch);
    const Rows vectors = run_or_die(*model, Task::kEmbed, batch);
    double worst = 0;
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const auto& item = golden["items"][i];
      const double of_logits =
          largest_difference(logits[i], item["logits"].get<std::vector<float>>());
      const double of_vectors =
          largest_difference(vectors[i], normalized(item["mean"].get<std::vector<float>>()));
      EXPECT_LE(of_logits, kTolerance) << name << ", " << item["ids"].size() << " tokens";
      EXPECT_LE(of_vectors, kTolerance) << name << ", " << item["ids"].size() << " tokens";
      worst = std::max({worst, of_logits, of_vectors});
    }
    std::printf("%s: %s: largest difference %.1e\n", GetParam().c_str(), name.c_str(), worst);
  }
}

// The same encoder as <Family>Model has it: no prefix, no head. make_tiny_encoders.py has checked
// that these are transformers' names.
TEST_P(Families, ABareEncoderEmbedsAsTheOneInsideAClassifier) {
  for (const std::string name : kFamilies) {
    if (name == "xlm-roberta") continue;  // several files; its names are roberta's
    const Family folder(name);
    const files::Json golden = read_golden(folder.path("reference.json"));
    const auto prefix = golden["prefix"].get<std::string>();
    const Batch batch = recorded_batch(golden);
    const Rows expected = run_or_die(*load_or_die(folder.path(), *backend_), Task::kEmbed, batch);

    folder.edit_header([&](files::Json& header) {
      files::Json renamed;
      for (const auto& [tensor, entry] : header.items()) {
        const bool inside = tensor.starts_with(prefix);
        renamed[inside ? tensor.substr(prefix.size()) : tensor] = entry;
      }
      header = renamed;
    });
    for (const std::string suffix : {"Model", "ForMaskedLM", "ForPreTraining"}) {
      folder.edit_json("config.json", [&](files::Json& json) {
        auto architecture = json["architectures"][0].get<std::string>();
        for (const char* old : {"Model", "For"}) {
          architecture = architecture.substr(0, architecture.find(old, 1));
        }
        if (name.starts_with("modernbert")) architecture = "ModernBert";
        json["architectures"] = {architecture + suffix};
      });
      const auto bare = load_or_die(folder.path(), *backend_);
      EXPECT_FALSE(bare->info().can(Task::kClassify));
      EXPECT_EQ(run_or_die(*bare, Task::kEmbed, batch), expected) << name << " as " << suffix;
    }
  }
}

// More tokens and more sequences than one wave takes, of all lengths.
TEST_P(Families, ATextAloneAndInABatchOfManyWavesGivesTheSameBytes) {
  for (const std::string name : kFamilies) {
    const Family folder(name);
    const files::Json golden = read_golden(folder.path("reference.json"));
    const auto model = load_or_die(folder.path(), *backend_);
    const std::size_t kinds = golden["items"].size();
    Batch many;
    std::vector<Batch> alone(kinds);
    for (std::size_t i = 0; i < 3 * kinds; ++i) {
      const auto& item = golden["items"][(i * 5 + i / kinds) % kinds];
      many.add(tokenizer::Encoding{item["ids"].get<std::vector<std::uint32_t>>(),
                                   item["types"].get<std::vector<std::uint32_t>>(), false});
    }
    const Batch each = recorded_batch(golden);
    for (const Task task : {Task::kEmbed, Task::kClassify}) {
      const Rows together = run_or_die(*model, task, many);
      for (std::size_t i = 0; i < kinds; ++i) {
        const auto& item = golden["items"][i];
        Batch one;
        one.add(tokenizer::Encoding{item["ids"].get<std::vector<std::uint32_t>>(),
                                    item["types"].get<std::vector<std::uint32_t>>(), false});
        const Rows own = run_or_die(*model, task, one);
        for (std::size_t j = 0; j < together.size(); ++j) {
          if ((j * 5 + j / kinds) % kinds != i) continue;
          EXPECT_EQ(own[0], together[j]) << name << " " << i;
        }
      }
    }
  }
}

// The tokenizer that all of them share says type 1 for a pair's second text, as a BERT's does.
TEST_P(Families, AModelOfOneTypeTakesAPairOfTwo) {
  for (const std::string name : kFamilies) {
    const Family folder(name);
    const auto model = load_or_die(folder.path(), *backend_);
    const auto pair = model->tokenizer().encode_pair("a question", "the text that answers", 16);
    ASSERT_TRUE(pair) << pair.error().message;
    ASSERT_THAT(pair->types, Contains(1)) << name;
    Batch batch;
    batch.add(*pair);
    batch.add(pair->ids);  // of type 0 alone
    const int types = read_golden(folder.path("config.json")).value("type_vocab_size", 0);
    for (const Task task : {Task::kEmbed, Task::kClassify}) {
      const Rows rows = run_or_die(*model, task, batch);
      if (types > 1) {
        EXPECT_NE(rows[0], rows[1]) << name;
      } else {
        EXPECT_EQ(rows[0], rows[1]) << name;
      }
    }
  }
}

TEST_P(Families, OldNamesOfANormsVectorsAreRead) {
  const Family folder("roberta");
  const Batch batch = recorded_batch(read_golden(folder.path("reference.json")));
  const Rows expected = run_or_die(*load_or_die(folder.path(), *backend_), Task::kEmbed, batch);
  folder.edit_header([](files::Json& header) {
    files::Json renamed;
    for (const auto& [tensor, entry] : header.items()) {
      std::string name = tensor;
      for (const auto& [from, to] :
           {std::pair<std::string, std::string>{"LayerNorm.weight", "LayerNorm.gamma"},
            {"LayerNorm.bias", "LayerNorm.beta"}}) {
        if (name.ends_with(from)) name = name.substr(0, name.size() - from.size()) + to;
      }
      renamed[name] = entry;
    }
    header = renamed;
  });
  const auto old = load_or_die(folder.path(), *backend_);
  EXPECT_EQ(run_or_die(*old, Task::kEmbed, batch), expected);
}

// ModernBERT's config.json before transformers 5.
TEST_P(Families, OlderFieldsOfModernBertSayTheSame) {
  const Family folder("modernbert");
  const Batch batch = recorded_batch(read_golden(folder.path("reference.json")));
  const Rows expected = run_or_die(*load_or_die(folder.path(), *backend_), Task::kEmbed, batch);
  folder.edit_json("config.json", [](files::Json& json) {
    json.erase("layer_types");
    json.erase("rope_parameters");
    json["global_attn_every_n_layers"] = 3;
    json["global_rope_theta"] = 160000.0;
    json["local_rope_theta"] = 10000.0;
  });
  EXPECT_EQ(run_or_die(*load_or_die(folder.path(), *backend_), Task::kEmbed, batch), expected);
  folder.edit_json("config.json", [](files::Json& json) { json["local_rope_theta"] = 160000.0; });
  EXPECT_NE(run_or_die(*load_or_die(folder.path(), *backend_), Task::kEmbed, batch), expected);
}

// A limit below what the positions allow makes tables smaller and changes no answer.
TEST_P(Families, ALowerLimitOfTokensChangesNoAnswer) {
  for (const std::string name : {"mpnet", "modernbert", "roberta"}) {
    const Family folder(name);
    Batch batch;
    batch.add({5, 6, 7, 8, 9, 10, 11, 12, 13, 14});
    const Rows expected = run_or_die(*load_or_die(folder.path(), *backend_), Task::kEmbed, batch);
    folder.write("sentence_bert_config.json", R"({"max_seq_length": 10})");
    const auto model = load_or_die(folder.path(), *backend_);
    EXPECT_EQ(model->info().tokens_max, 10U);
    EXPECT_EQ(run_or_die(*model, Task::kEmbed, batch), expected) << name;
  }
}

TEST_P(Families, TypesAreIgnoredWhereThereIsNoTableOfThem) {
  for (const std::string name : {"distilbert", "mpnet", "modernbert", "roberta"}) {
    const Family folder(name);
    const auto model = load_or_die(folder.path(), *backend_);
    Batch zeros;
    zeros.add(tokenizer::Encoding{{2, 10, 3}, {0, 0, 0}, false});
    Batch ones;
    ones.add(tokenizer::Encoding{{2, 10, 3}, {0, 1, 1}, false});
    EXPECT_EQ(run_or_die(*model, Task::kEmbed, zeros), run_or_die(*model, Task::kEmbed, ones));
  }
}

TEST(FamilyInfo, TokensAndLabels) {
  const auto backend = make_backend("reference", 1);
  struct Row {
    const char* name;
    const char* architecture;
    std::uint32_t tokens_max;
  };
  for (const Row& row : {Row{"roberta", "RobertaForSequenceClassification", 40},  // of 42 positions
                         Row{"xlm-roberta", "XLMRobertaForSequenceClassification", 40},
                         Row{"mpnet", "MPNetForSequenceClassification", 260},
                         Row{"distilbert", "DistilBertForSequenceClassification", 40},
                         Row{"modernbert", "ModernBertForSequenceClassification", 420}}) {
    const Family folder(row.name);
    const auto model = load_or_die(folder.path(), *backend);
    EXPECT_EQ(model->info().architecture, row.architecture);
    EXPECT_EQ(model->info().tokens_max, row.tokens_max);
    EXPECT_EQ(model->info().labels, (std::vector<std::string>{"calm", "loud", "far"}));
    EXPECT_FALSE(model->info().reranks);
    EXPECT_EQ(model->info().score, ScoreFunction::kSoftmax);
  }
}

// Each row is a config that would be computed wrongly, or a file that lacks something.
TEST(BadFamily, EachIsRefusedWithTheFieldOrTensor) {
  struct Row {
    const char* name;
    const char* field;
    files::Json value;
    const char* message;
  };
  const files::Json yarn = {{"full_attention", {{"rope_type", "yarn"}, {"rope_theta", 1e4}}},
                            {"sliding_attention", {{"rope_theta", 1e4}}}};
  for (const Row& row : {
           Row{"roberta", "pad_token_id", 41, "leaves no position behind padding of id 41"},
           Row{"roberta", "position_embedding_type", "relative_key", "is not supported"},
           Row{"mpnet", "max_position_embeddings", 2, "leaves no position behind padding of id 1"},
           Row{"mpnet", "relative_attention_num_buckets", 8, "must be a whole number from 32"},
           Row{"mpnet", "relative_attention_num_buckets", 64, "of shape [64, 2]"},
           Row{"electra", "embedding_size", 16, "of shape [92, 16], found F16 of shape [92, 12]"},
           Row{"distilbert", "dim", nullptr, "dim: missing"},
           Row{"distilbert", "n_heads", 3, "dim: 16 is not a multiple of n_heads, 3"},
           Row{"modernbert", "num_attention_heads", 16, "cannot be rotated"},
           Row{"modernbert", "layer_types", {"full_attention"}, "one entry for each hidden layer"},
           Row{"modernbert",
               "layer_types",
               {"x", "x", "x", "x"},
               "layer_types: \"x\" is not supported"},
           Row{"modernbert", "rope_scaling", {{"factor", 2}}, "rope_scaling: is not supported"},
           Row{"modernbert", "rope_parameters", yarn, "only \"default\" is supported"},
           Row{"modernbert", "rope_parameters", 7, "has no object \"full_attention\""},
           Row{"modernbert", "local_attention", 1, "local_attention: must be a whole number"},
           Row{"modernbert", "classifier_pooling", "max", "classifier_pooling: \"max\""},
           Row{"modernbert", "attention_bias", true, "attn.Wqkv.bias\" is missing"},
           Row{"modernbert", "hidden_activation", "quick_gelu", "\"quick_gelu\" is not supported"},
       }) {
    const Family folder(row.name);
    folder.edit_json("config.json", [&](files::Json& json) { json[row.field] = row.value; });
    EXPECT_THAT(load_error(folder.path()), AllOf(HasSubstr(folder.path()), HasSubstr(row.message)))
        << row.name << ": " << row.field << " = " << row.value;
  }
}

class Shards : public ::testing::Test {
 protected:
  static constexpr char kIndex[] = "model.safetensors.index.json";
  Family folder_{"xlm-roberta"};  // transformers has cut it in several files
};

TEST_F(Shards, TheIndexNamesSeveralFiles) {
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
    if (entry.path().extension() == ".safetensors") ++files;
  }
  EXPECT_GE(files, 2U);
}

TEST_F(Shards, WhatAnIndexMayNotSay) {
  const std::string good = folder_.read(kIndex);
  struct Row {
    files::Json map;
    const char* message;
  };
  for (const Row& row : {
           Row{7, "weight_map: must map tensors to files"},
           Row{files::Json::object(), "weight_map: must map tensors to files"},
           Row{{{"a", 7}}, "\"a\" is in \"7\"; a shard is"},
           Row{{{"a", "../model-1.safetensors"}}, "a shard is a file named"},
           Row{{{"a", "model-1/../x.safetensors"}}, "a shard is a file named"},
           Row{{{"a", "model-9.safetensors"}}, "model-9.safetensors"},
       }) {
    folder_.edit_json(kIndex, [&](files::Json& json) { json["weight_map"] = row.map; });
    EXPECT_THAT(load_error(folder_.path()), HasSubstr(row.message)) << row.map;
    folder_.write(kIndex, good);
  }
  EXPECT_EQ(load_error(folder_.path()), "");
}

TEST_F(Shards, ATensorThatTheIndexLeavesOutIsMissing) {
  folder_.edit_json(kIndex,
                    [](files::Json& json) { json["weight_map"].erase("classifier.dense.bias"); });
  EXPECT_THAT(load_error(folder_.path()), HasSubstr("\"classifier.dense.bias\" is missing"));
}

TEST_F(Shards, EveryShardCountsForTheDigest) {
  const auto backend = make_backend("reference", 1);
  const std::string before = load_or_die(folder_.path(), *backend)->info().digest;
  for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
    if (entry.path().extension() != ".safetensors") continue;
    const std::string name = entry.path().filename().string();
    const std::string bytes = folder_.read(name);
    std::string other = bytes;
    other.back() = static_cast<char>(other.back() ^ 1);
    folder_.write(name, other);
    EXPECT_NE(load_or_die(folder_.path(), *backend)->info().digest, before) << name;
    folder_.write(name, bytes);
  }
  EXPECT_EQ(load_or_die(folder_.path(), *backend)->info().digest, before);
}

}  // namespace
}  // namespace nacelle::model
