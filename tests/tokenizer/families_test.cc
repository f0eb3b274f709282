// Ids and decoded texts equal to those of Hugging Face's tokenizers, for a small tokenizer of each
// family and changes of its parts. Recorded by tests/golden/make_family_goldens.py.
#include <gtest/gtest.h>

#include <vector>

#include "tests/tokenizer/fixture.h"

namespace nacelle::tokenizer {
namespace {

using Ids = std::vector<std::uint32_t>;

// A patch takes a piece away by setting its id to null.
void drop_nulls(files::Json& vocabulary) {
  if (!vocabulary.is_object()) return;
  for (auto piece = vocabulary.begin(); piece != vocabulary.end();) {
    piece = piece->is_null() ? vocabulary.erase(piece) : std::next(piece);
  }
}

class Families : public ::testing::TestWithParam<const char*> {};

TEST_P(Families, IdsAndTextsAreEqual) {
  const files::Json goldens =
      read_golden(data_path(std::string("tokenizers/families/") + GetParam() + ".json"));
  const auto texts = goldens["texts"].get<std::vector<std::string>>();
  ASSERT_GT(texts.size(), 100U);
  for (const files::Json& golden : goldens["cases"]) {
    SCOPED_TRACE(golden["name"].get<std::string>());
    files::Json json = merged(goldens["tokenizer"], golden["patch"]);
    drop_nulls(json["model"]["vocab"]);
    const auto tokenizer = load_json(json);
    ASSERT_TRUE(tokenizer) << tokenizer.error().message;
    ASSERT_FALSE(golden["ids"].empty());
    for (std::size_t i = 0; i < golden["ids"].size(); ++i) {
      const std::string& text = texts[golden["texts"][i].get<std::size_t>()];
      SCOPED_TRACE(files::Json(text).dump(-1, ' ', /*ensure_ascii=*/true));
      const auto ids = golden["ids"][i].get<Ids>();
      const auto encoding = (*tokenizer)->encode(text, SIZE_MAX);
      ASSERT_TRUE(encoding) << encoding.error().message;
      EXPECT_EQ(encoding->ids, ids);
      // Cut short, the ids are the front of the whole.
      const std::size_t special = (*tokenizer)->special_tokens();
      const auto whole = (*tokenizer)->encode_plain(text);
      const auto cut = (*tokenizer)->encode(text, special + 3);
      ASSERT_TRUE(whole && cut);
      EXPECT_EQ(cut->truncated, whole->ids.size() > 3);
      EXPECT_EQ(cut->ids.size(), special + std::min<std::size_t>(3, whole->ids.size()));
      if (golden["decoded"].is_null()) continue;
      const auto decoded = (*tokenizer)->decode(ids, /*skip_special=*/true);
      ASSERT_TRUE(decoded) << decoded.error().message;
      EXPECT_EQ(*decoded, golden["decoded"][i].get<std::string>());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Small, Families,
                         ::testing::Values("gpt2", "roberta", "clip", "llama", "marked", "xlm-r"),
                         [](const auto& one) {
                           std::string name = one.param;
                           std::erase(name, '-');
                           return name;
                         });

}  // namespace
}  // namespace nacelle::tokenizer
