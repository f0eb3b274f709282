// Every code point is treated as Hugging Face's tokenizers treats it: digests of the real library's
// answers, by blocks of 4096 code points, from tests/golden/make_unicode_pins.py.
#include "sidecar/tokenizer/unicode.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>

#include "sidecar/base/check.h"
#include "sidecar/tokenizer/component.h"
#include "sidecar/tokenizer/normal_forms.h"
#include "sidecar/tokenizer/utf8.h"
#include "tests/tokenizer/fixture.h"

namespace nacelle::tokenizer {
namespace {

std::string text_of(char32_t code_point) {
  std::string text;
  append(text, code_point);
  return text;
}

// FNV-1a, 64 bits, of the answers with a line feed between them.
std::string digest(char32_t first, std::size_t count,
                   const std::function<std::string(char32_t)>& answer) {
  std::uint64_t value = 0xCBF29CE484222325ULL;
  const auto add = [&](char byte) {
    value = (value ^ static_cast<unsigned char>(byte)) * 0x100000001B3ULL;
  };
  bool is_first = true;
  for (char32_t c = first; c < first + count; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    if (!is_first) add('\n');
    is_first = false;
    for (const char byte : answer(c)) add(byte);
  }
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

void expect_blocks(const std::string& name, const std::function<std::string(char32_t)>& answer) {
  const files::Json golden = read_golden(data_path("tokenizers/unicode.json"));
  const auto block_size = golden["block"].get<std::size_t>();
  const files::Json& blocks = golden["digests"].at(name);
  ASSERT_EQ(blocks.size() * block_size, kCodePoints);
  for (std::size_t block = 0; block < blocks.size(); ++block) {
    const auto expected = blocks[block].get<std::string>();
    const auto first = static_cast<char32_t>(block * block_size);
    EXPECT_EQ(digest(first, block_size, answer), expected)
        << name << " differs between U+" << std::hex << block * block_size << " and U+"
        << (block + 1) * block_size - 1
        << ": is this libutf8proc another version than the pins were made for?";
  }
}

std::function<std::string(char32_t)> normalizer(bool clean_text, bool handle_chinese_chars,
                                                bool strip_accents, bool lowercase) {
  const files::Json json = {{"type", "BertNormalizer"},
                            {"clean_text", clean_text},
                            {"handle_chinese_chars", handle_chinese_chars},
                            {"strip_accents", strip_accents},
                            {"lowercase", lowercase}};
  auto made = make_bert_normalizer(Section(json, "test", "normalizer"));
  CHECK(made.has_value());
  const std::shared_ptr<Normalizer> shared = std::move(*made);
  return [shared](char32_t c) {
    std::string out;
    EXPECT_TRUE(shared->normalize(text_of(c), out));
    return out;
  };
}

TEST(Unicode, CleanTextMatchesOnEveryCodePoint) {
  expect_blocks("clean", normalizer(true, false, false, false));
}
TEST(Unicode, IdeographsMatchOnEveryCodePoint) {
  expect_blocks("chinese", normalizer(false, true, false, false));
}
TEST(Unicode, StrippedAccentsMatchOnEveryCodePoint) {
  expect_blocks("strip", normalizer(false, false, true, false));
}
TEST(Unicode, LowerCaseMatchesOnEveryCodePoint) {
  expect_blocks("lower", normalizer(false, false, false, true));
}
TEST(Unicode, AllStepsTogetherMatchOnEveryCodePoint) {
  expect_blocks("uncased", normalizer(true, true, true, true));
}

TEST(Unicode, WordBordersMatchOnEveryCodePoint) {
  const files::Json json = {{"type", "BertPreTokenizer"}};
  auto made = make_bert_pre_tokenizer(Section(json, "test", "pre_tokenizer"));
  ASSERT_TRUE(made);
  expect_blocks("words", [&](char32_t c) -> std::string {
    const std::string text = "a" + text_of(c) + "b";
    Cursor cursor;
    cursor.reset(text, true);
    std::size_t words = 0;
    while (!(*made)->next(cursor).empty()) ++words;
    return words == 1 ? "-" : words == 2 ? "w" : "p";
  });
}

TEST(Unicode, WordCharactersMatchOnEveryCodePoint) {
  expect_blocks("word", [](char32_t c) { return is_word(c) ? "w" : "-"; });
}

TEST(Unicode, NumbersMatchOnEveryCodePoint) {
  expect_blocks("numeric", [](char32_t c) { return is_numeric(c) ? "n" : "-"; });
}

TEST(Unicode, ClassesOfRegularExpressionsMatchOnEveryCodePoint) {
  expect_blocks("regex", [](char32_t c) {
    std::string names;
    for (const auto& [name, its_class] :
         {std::pair{'L', kRegexLetter}, std::pair{'N', kRegexNumber},
          std::pair{'P', kRegexPunctuation}, std::pair{'S', kRegexSymbol},
          std::pair{'M', kRegexMark}}) {
      if ((regex_classes()[c] & its_class) != 0) names += name;
    }
    return names;
  });
}

std::string normal_form(const std::string& text, Form form) {
  std::string out;
  append_normal_form(text, form, out);
  return out;
}

TEST(Unicode, NormalFormsMatchOnEveryCodePoint) {
  for (const auto& [name, form] :
       {std::pair{"nfc", Form::kNfc}, std::pair{"nfd", Form::kNfd}, std::pair{"nfkc", Form::kNfkc},
        std::pair{"nfkd", Form::kNfkd}}) {
    expect_blocks(name, [form = form](char32_t c) { return normal_form(text_of(c), form); });
  }
}

TEST(Unicode, WhatIsDecomposedIsComposedAgainOnEveryCodePoint) {
  expect_blocks("nfc of nfd", [](char32_t c) {
    return normal_form(normal_form(text_of(c), Form::kNfd), Form::kNfc);
  });
}

TEST(Unicode, NmtAndAccentsMatchOnEveryCodePoint) {
  for (const auto& [name, type, make] :
       {std::tuple{"nmt", "Nmt", &make_nmt},
        std::tuple{"accents", "StripAccents", &make_strip_accents}}) {
    const files::Json json = {{"type", type}};
    auto made = make(Section(json, "test", "normalizer"));
    ASSERT_TRUE(made);
    expect_blocks(name, [&](char32_t c) {
      std::string out;
      EXPECT_TRUE((*made)->normalize(text_of(c), out));
      return out;
    });
  }
}

}  // namespace
}  // namespace nacelle::tokenizer
