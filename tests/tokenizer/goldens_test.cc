// Ids equal to those of Hugging Face's tokenizers for a small vocabulary in many settings, over
// adversarial texts. Recorded by tests/golden/make_tokenizer_goldens.py.
#include <gtest/gtest.h>

#include <vector>

#include "tests/tokenizer/fixture.h"

namespace nacelle::tokenizer {
namespace {

// The text with what a terminal cannot show as escapes.
std::string shown(const std::string& text) {
  return files::Json(text).dump(-1, ' ', /*ensure_ascii=*/true);
}

TEST(Goldens, IdsAreEqualInEverySetting) {
  const files::Json goldens = read_golden(data_path("tokenizers/small/goldens.json"));
  const auto texts = goldens["texts"].get<std::vector<std::string>>();
  ASSERT_GT(texts.size(), 2000U);
  ASSERT_GE(goldens["cases"].size(), 16U);
  for (const files::Json& golden : goldens["cases"]) {
    SCOPED_TRACE(golden["name"].get<std::string>());
    const auto tokenizer = load_json(merged(small_tokenizer(), golden["patch"]));
    ASSERT_TRUE(tokenizer) << tokenizer.error().message;
    for (std::size_t i = 0; i < golden["ids"].size(); ++i) {
      const std::size_t index =
          golden["texts"].is_null() ? i : golden["texts"][i].get<std::size_t>();
      const auto encoding = (*tokenizer)->encode(texts[index], SIZE_MAX);
      ASSERT_TRUE(encoding) << encoding.error().message;
      EXPECT_EQ(encoding->ids, golden["ids"][i].get<std::vector<std::uint32_t>>())
          << "text " << index << ": " << shown(texts[index]);
      EXPECT_EQ(encoding->types.size(), encoding->ids.size());
      EXPECT_FALSE(encoding->truncated);
      if (!golden.contains("types")) continue;
      EXPECT_EQ(encoding->types, golden["types"][i].get<std::vector<std::uint32_t>>())
          << "text " << index << ": " << shown(texts[index]);
    }
  }
}

// Cutting a long text at white space must not show: the texts one after the other give the ids one
// after the other.
TEST(Goldens, LongTextsGiveTheSameIdsAsTheirParts) {
  const files::Json goldens = read_golden(data_path("tokenizers/small/goldens.json"));
  const auto texts = goldens["texts"].get<std::vector<std::string>>();
  const auto tokenizer = load_or_die(small_tokenizer());
  std::string all;
  std::vector<std::uint32_t> ids;
  for (const std::string& text : texts) {
    const auto part = tokenizer->encode_plain(text);
    ASSERT_TRUE(part) << part.error().message;
    ids.insert(ids.end(), part->ids.begin(), part->ids.end());
    all += text + (text.size() % 2 == 0 ? " " : "\n");
  }
  const auto whole = tokenizer->encode_plain(all);
  ASSERT_TRUE(whole) << whole.error().message;
  EXPECT_EQ(whole->ids, ids);
}

}  // namespace
}  // namespace nacelle::tokenizer
