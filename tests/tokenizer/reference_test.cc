// Ids equal to those that Hugging Face's tokenizers gave for tests/data/inputs.json's 48 texts,
// with the real vocabularies. data/tokenizers/reference/ holds the recorded ids.
#include <gtest/gtest.h>

#include <vector>

#include "tests/tokenizer/fixture.h"

namespace nacelle::tokenizer {
namespace {

void expect_recorded_ids(const std::string& tokenizer_path, const std::string& recorded) {
  const auto tokenizer = Tokenizer::load(tokenizer_path);
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  const files::Json reference =
      read_golden(data_path("tokenizers/reference/" + recorded + ".json"));
  ASSERT_EQ(reference["items"].size(), 48U);
  for (const files::Json& item : reference["items"]) {
    const auto text = item["text"].get<std::string>();
    const auto with = (*tokenizer)->encode(text, SIZE_MAX);
    ASSERT_TRUE(with) << with.error().message;
    EXPECT_EQ(with->ids, item["ids"].get<std::vector<std::uint32_t>>()) << text;
    const auto plain = (*tokenizer)->encode_plain(text);
    ASSERT_TRUE(plain) << plain.error().message;
    EXPECT_EQ(plain->ids, item["ids_no_special"].get<std::vector<std::uint32_t>>()) << text;
  }
}

TEST(Reference, KoElectraCased) {
  expect_recorded_ids(data_path("nsmc-bert-ko/tokenizer.json"), "koelectra-wordpiece");
}

TEST(Reference, BertBaseUncased) {
  const auto path = asset_path("tokenizers/bert/tokenizer.json");
  if (!path) GTEST_SKIP() << "NACELLE_ASSETS has no tokenizers/bert/tokenizer.json";
  expect_recorded_ids(*path, "bert");
}

TEST(Reference, AllMiniLmL6) {
  const auto path = asset_path("all-MiniLM-L6-v2/tokenizer.json");
  if (!path) GTEST_SKIP() << "NACELLE_ASSETS has no all-MiniLM-L6-v2/tokenizer.json";
  expect_recorded_ids(*path, "all-MiniLM-L6-v2");
}

}  // namespace
}  // namespace nacelle::tokenizer
