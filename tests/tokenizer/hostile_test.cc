// Files and texts made to do harm: refused with a reason. What loading takes is in loading_test.cc,
// what texts take in steps_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "sidecar/tokenizer/component.h"
#include "tests/tokenizer/fixture.h"

namespace nacelle::tokenizer {
namespace {

using files::Json;
using ::testing::HasSubstr;

// The small tokenizer of a family, with a patch of its goldens laid over it.
Json family(const std::string& name, const std::string& patch = "as it is") {
  const Json goldens = read_golden(data_path("tokenizers/families/" + name + ".json"));
  for (const Json& golden : goldens["cases"]) {
    if (golden["name"] == patch) return merged(goldens["tokenizer"], golden["patch"]);
  }
  ADD_FAILURE() << name << " has no patch " << patch;
  return {};
}

struct Bad {
  const char* what;
  Json json;
  const char* reason;
};

Json spoiled(Json json, const std::function<void(Json&)>& spoil) {
  spoil(json);
  return json;
}

TEST(Hostile, FilesOfOtherFamiliesNameThePlaceAndReason) {
  const Json gpt2 = family("gpt2");
  const Json llama = family("llama");
  const Json xlmr = family("xlm-r");
  const Bad bad[] = {
      {"a merge of an unknown piece",
       spoiled(gpt2,
               [](Json& j) {
                 j["model"]["merges"][3] = {"nope", "a"};
               }),
       "model.merges[3]: names \"nope\", which is not in model.vocab"},
      {"a merge that makes an unknown piece",
       spoiled(gpt2, [](Json& j) { j["model"]["merges"][3] = "% }"; }),
       "model.merges[3]: makes \"%}\", which is not in model.vocab"},
      {"a merge of three", spoiled(gpt2, [](Json& j) { j["model"]["merges"][0] = "a b c"; }),
       "model.merges[0]: must be two pieces"},
      {"a merge that is a number", spoiled(gpt2, [](Json& j) { j["model"]["merges"][0] = 7; }),
       "model.merges[0]: must be two pieces"},
      {"dropout", spoiled(gpt2, [](Json& j) { j["model"]["dropout"] = 0.1; }),
       "model.dropout must be null or 0"},
      {"two pieces of one id", spoiled(gpt2, [](Json& j) { j["model"]["vocab"]["a"] = 1; }),
       "two pieces have the id 1"},
      {"an unknown token that is none",
       spoiled(llama, [](Json& j) { j["model"]["unk_token"] = "<nope>"; }),
       "model.unk_token \"<nope>\" is not in model.vocab"},
      {"an expression that is none",
       spoiled(gpt2,
               [](Json& j) {
                 j["pre_tokenizer"] = {{"type", "Split"},
                                       {"pattern", {{"Regex", "("}}},
                                       {"behavior", "Isolated"},
                                       {"invert", false}};
               }),
       "pre_tokenizer.pattern.Regex \"(\" is not valid: "},
      {"a sequence of too many parts",
       spoiled(gpt2,
               [](Json& j) {
                 Json parts = Json::array();
                 for (int i = 0; i < 8; ++i) {
                   Json inner = Json::array();
                   for (int k = 0; k < 8; ++k) inner.push_back({{"type", "NFC"}});
                   parts.push_back({{"type", "Sequence"}, {"normalizers", inner}});
                 }
                 j["normalizer"] = {{"type", "Sequence"}, {"normalizers", parts}};
               }),
       "is one part too many: the limit is 32"},
      {"two parts that add tokens",
       spoiled(family("roberta"),
               [](Json& j) {
                 j["post_processor"] = {{"type", "Sequence"},
                                        {"processors", {j["post_processor"], j["post_processor"]}}};
               }),
       "post_processor.processors[1]: is the second part that adds tokens"},
      {"a score that is no number", spoiled(xlmr, [](Json& j) { j["model"]["vocab"][5][1] = "x"; }),
       "model.vocab[5]: must be a piece and its finite score"},
      {"a piece of a thousand characters",
       spoiled(xlmr, [](Json& j) { j["model"]["vocab"][5][0] = std::string(1000, 'a'); }),
       "model.vocab[5]: is longer than 128 characters"},
      {"an unknown piece behind the vocabulary",
       spoiled(xlmr, [](Json& j) { j["model"]["unk_id"] = 100'000; }), "model.unk_id is 100000"},
      {"no unknown piece", spoiled(xlmr, [](Json& j) { j["model"]["unk_id"] = nullptr; }),
       "model.unk_id must be a whole number"},
      {"a map that is not base64",
       spoiled(xlmr, [](Json& j) { j["normalizer"]["precompiled_charsmap"] = "?"; }),
       "normalizer.precompiled_charsmap is not base64"},
      {"a map shorter than its trie",
       spoiled(xlmr, [](Json& j) { j["normalizer"]["precompiled_charsmap"] = "////fwAA"; }),
       "normalizer.precompiled_charsmap tells of a trie of"},
      {"a mark of two characters",
       spoiled(xlmr, [](Json& j) { j["decoder"]["replacement"] = "__"; }),
       "decoder.replacement must be one character, not \"__\""},
      {"a huge text to insert",
       spoiled(llama,
               [](Json& j) {
                 j["normalizer"] = {{"type", "Prepend"}, {"prepend", std::string(1000, 'a')}};
               }),
       "normalizer.prepend is longer than 512 bytes"},
  };
  for (const Bad& one : bad) {
    SCOPED_TRACE(one.what);
    const auto tokenizer = load_json(one.json);
    if (tokenizer) {
      ADD_FAILURE() << "was accepted";
      continue;
    }
    EXPECT_EQ(tokenizer.error().code, base::Code::kInvalid);
    EXPECT_THAT(tokenizer.error().message, HasSubstr(one.reason));
  }
}

// Each part makes 500 characters of one: the second would make a quarter of a terabyte.
TEST(Hostile, ATextThatGrowsWithoutEndIsRefused) {
  Json json = family("llama");
  const Json grow = {
      {"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", std::string(500, 'a')}};
  json["normalizer"] = {{"type", "Sequence"}, {"normalizers", {grow, grow, grow}}};
  const auto tokenizer = load_or_die(json);
  EXPECT_TRUE(tokenizer->encode("b", 100));
  const auto encoding = tokenizer->encode(std::string(1U << 20U, 'a'), 100);
  ASSERT_FALSE(encoding);
  EXPECT_THAT(encoding.error().message, HasSubstr("grows too much"));
}

TEST(Hostile, EveryTruncationOfEveryFamilyIsRefused) {
  for (const char* name : {"gpt2", "llama", "xlm-r"}) {
    const std::string whole = family(name).dump();
    ASSERT_TRUE(Tokenizer::parse(whole, name));
    for (std::size_t size = 0; size < whole.size(); size += 1 + whole.size() / 200) {
      EXPECT_FALSE(Tokenizer::parse(whole.substr(0, size), name)) << name << " " << size;
    }
  }
}

}  // namespace
}  // namespace nacelle::tokenizer
