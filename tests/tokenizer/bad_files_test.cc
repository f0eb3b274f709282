// tokenizer.json files that must not load: each names the file, the place and the reason.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "tests/support/temp_dir.h"
#include "tests/tokenizer/fixture.h"

namespace nacelle::tokenizer {
namespace {

using files::Json;
using ::testing::AllOf;
using ::testing::HasSubstr;

struct Bad {
  const char* what;
  std::function<void(Json&)> spoil;
  const char* reason;
};

const Bad kBad[] = {
    {"an unknown normalizer",
     [](Json& j) {
       j["normalizer"] = {{"type", "Foo"}};
     },
     "normalizer.type \"Foo\" is not known; known: BertNormalizer"},
    {"an unknown pre-tokenizer", [](Json& j) { j["pre_tokenizer"]["type"] = "Whitespace2"; },
     "pre_tokenizer.type \"Whitespace2\" is not known; known: BertPreTokenizer"},
    {"an unknown model", [](Json& j) { j["model"]["type"] = "Magic"; },
     "model.type \"Magic\" is not known; known: BPE, Unigram, WordPiece"},
    {"an unknown post-processor", [](Json& j) { j["post_processor"]["type"] = "Foo"; },
     "post_processor.type \"Foo\" is not known; known: BertProcessing, "},
    {"an unknown decoder",
     [](Json& j) {
       j["decoder"] = {{"type", "Foo"}};
     },
     "decoder.type \"Foo\" is not known; known: BPEDecoder, "},
    {"another version", [](Json& j) { j["version"] = "2.0"; }, "version \"2.0\" is not known"},
    {"an unknown key", [](Json& j) { j["surprise"] = 1; }, "key \"surprise\" is not known"},
    {"an unknown key of the normalizer", [](Json& j) { j["normalizer"]["nfkc"] = true; },
     "normalizer: key \"nfkc\" is not known"},
    {"an unknown key of the pre-tokenizer", [](Json& j) { j["pre_tokenizer"]["x"] = 1; },
     "pre_tokenizer: key \"x\" is not known"},
    {"an unknown key of the model", [](Json& j) { j["model"]["dropout"] = 0.1; },
     "model: key \"dropout\" is not known"},
    {"a normalizer that is text", [](Json& j) { j["normalizer"] = "BertNormalizer"; },
     "normalizer must be an object"},
    {"a type that is no text", [](Json& j) { j["normalizer"]["type"] = 7; },
     "normalizer.type must be a string"},
    {"a flag that is no flag", [](Json& j) { j["normalizer"]["lowercase"] = 1; },
     "normalizer.lowercase must be true or false"},
    {"a flag that is missing", [](Json& j) { j["normalizer"].erase("clean_text"); },
     "normalizer.clean_text must be true or false"},
    {"no model", [](Json& j) { j.erase("model"); }, "model must be an object"},
    {"a model that is null", [](Json& j) { j["model"] = nullptr; }, "model must be an object"},
    {"no vocabulary", [](Json& j) { j["model"].erase("vocab"); }, "model.vocab must be an object"},
    {"a vocabulary that is a list", [](Json& j) { j["model"]["vocab"] = Json::array(); },
     "model.vocab must be an object"},
    {"an empty vocabulary", [](Json& j) { j["model"]["vocab"] = Json::object(); },
     "model.unk_token \"[UNK]\" is not in model.vocab"},
    {"an id twice", [](Json& j) { j["model"]["vocab"]["the"] = 0; }, "two pieces have the id 0"},
    {"a negative id", [](Json& j) { j["model"]["vocab"]["the"] = -1; }, "the id of \"the\""},
    {"an id of 2^24", [](Json& j) { j["model"]["vocab"]["the"] = 1 << 24; }, "the id of \"the\""},
    {"an id of 2^64-1", [](Json& j) { j["model"]["vocab"]["the"] = UINT64_MAX; },
     "the id of \"the\""},
    {"an id that is a float", [](Json& j) { j["model"]["vocab"]["the"] = 5.0; },
     "the id of \"the\""},
    {"an id that is text", [](Json& j) { j["model"]["vocab"]["the"] = "5"; }, "the id of \"the\""},
    {"an empty piece", [](Json& j) { j["model"]["vocab"][""] = 9999; }, "an empty piece"},
    {"no unknown token", [](Json& j) { j["model"]["unk_token"] = "<none>"; },
     "model.unk_token \"<none>\" is not in model.vocab"},
    {"an unknown token that is null", [](Json& j) { j["model"]["unk_token"] = nullptr; },
     "model.unk_token must be a string"},
    {"no prefix", [](Json& j) { j["model"].erase("continuing_subword_prefix"); },
     "model.continuing_subword_prefix must be a string"},
    {"words without end", [](Json& j) { j["model"]["max_input_chars_per_word"] = 1'000'000; },
     "model.max_input_chars_per_word must be a whole number from 0 to 1000"},
    {"a template without the text", [](Json& j) { j["post_processor"]["single"].erase(1); },
     "post_processor.single must hold the sequences A once each"},
    {"a template with the text twice",
     [](Json& j) { j["post_processor"]["single"].push_back(j["post_processor"]["single"][1]); },
     "post_processor.single must hold the sequences A once each"},
    {"a single template with the second text",
     [](Json& j) { j["post_processor"]["single"][1]["Sequence"]["id"] = "B"; },
     "post_processor.single must hold the sequences A once each"},
    {"a pair template with one text",
     [](Json& j) { j["post_processor"]["pair"] = j["post_processor"]["single"]; },
     "post_processor.pair must hold the sequences AB once each"},
    {"a sequence C", [](Json& j) { j["post_processor"]["single"][1]["Sequence"]["id"] = "C"; },
     "post_processor.single[1].Sequence.id must be \"A\" or \"B\""},
    {"a template naming a missing special token",
     [](Json& j) { j["post_processor"]["special_tokens"].erase("[SEP]"); },
     "post_processor.single[2].SpecialToken.id \"[SEP]\" is not in post_processor.special_tokens"},
    {"a special token outside of the vocabulary",
     [](Json& j) { j["post_processor"]["special_tokens"]["[SEP]"]["ids"] = {100'000}; },
     "post_processor.special_tokens.[SEP].ids: holds an id that is not in the vocabulary"},
    {"a special token without ids",
     [](Json& j) { j["post_processor"]["special_tokens"]["[SEP]"]["ids"] = Json::array(); },
     "post_processor.special_tokens.[SEP].ids: is empty"},
    {"a huge type id",
     [](Json& j) { j["post_processor"]["single"][1]["Sequence"]["type_id"] = UINT64_MAX; },
     "post_processor.single[1].Sequence.type_id must be a whole number from 0 to 255"},
    {"a piece of two kinds",
     [](Json& j) {
       j["post_processor"]["single"][0]["Sequence"] = j["post_processor"]["single"][1]["Sequence"];
     },
     "post_processor.single[0]: must be either a SpecialToken or a Sequence"},
    {"a template that is text", [](Json& j) { j["post_processor"]["single"] = "[CLS] $A [SEP]"; },
     "post_processor.single must be a list"},
    {"added tokens that are no list", [](Json& j) { j["added_tokens"] = "x"; },
     "added_tokens must be a list"},
    {"an added token twice", [](Json& j) { j["added_tokens"].push_back(j["added_tokens"][0]); },
     "added_tokens[5].content \"[PAD]\" appears twice"},
    {"two added tokens of one id", [](Json& j) { j["added_tokens"][1]["id"] = 0; },
     "added_tokens[1].id 0 appears twice"},
    {"an added token with another id than the vocabulary's",
     [](Json& j) { j["added_tokens"][4]["id"] = 5000; },
     "added_tokens[4].id is 5000 but model.vocab gives \"[MASK]\" the id 4"},
    {"an added token on another piece's id",
     [](Json& j) { j["added_tokens"][4]["content"] = "<new>"; },
     "added_tokens[4].id is 4, which is one of model.vocab's"},
    {"an added token of nothing", [](Json& j) { j["added_tokens"][4]["content"] = ""; },
     "added_tokens[4].content must have 1 to 512 bytes, not 0"},
    {"an added token of a kilobyte",
     [](Json& j) { j["added_tokens"][4]["content"] = std::string(1024, 'x'); },
     "added_tokens[4].content must have 1 to 512 bytes, not 1024"},
    {"an added token with an unknown key", [](Json& j) { j["added_tokens"][0]["x"] = 1; },
     "added_tokens[0]: key \"x\" is not known"},
    {"an added token without a flag", [](Json& j) { j["added_tokens"][0].erase("lstrip"); },
     "added_tokens[0].lstrip must be true or false"},
    {"normalized added tokens that become the same",
     [](Json& j) {
       for (const int i : {0, 1}) {
         Json token = j["added_tokens"][0];
         token["content"] = i == 0 ? "Day" : "DAY";
         token["id"] = 2000 + i;
         token["normalized"] = true;
         j["added_tokens"].push_back(token);
       }
     },
     "added_tokens holds \"DAY\", whose normal form is empty or that of another"},
};

TEST(BadFiles, EachIsRefusedWithItsPlaceAndReason) {
  for (const Bad& bad : kBad) {
    SCOPED_TRACE(bad.what);
    Json json = small_tokenizer();
    bad.spoil(json);
    const auto tokenizer = load_json(json);
    if (tokenizer) {
      ADD_FAILURE() << "was accepted";
      continue;
    }
    EXPECT_EQ(tokenizer.error().code, base::Code::kInvalid);
    EXPECT_THAT(tokenizer.error().message,
                AllOf(HasSubstr("tokenizer.json: "), HasSubstr(bad.reason)));
  }
}

TEST(BadFiles, FilesThatAreNotTokenizersAreRefused) {
  const testing::TempDir dir;
  for (const std::string content :
       {"", "[]", "null", "7", "{}", "{\"model\": {}}", "{\"model\": {\"vocab\": {}}}", "\xff"}) {
    EXPECT_FALSE(Tokenizer::load(dir.write("tokenizer.json", content))) << content;
  }
  const auto missing = Tokenizer::load(dir / "none.json");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, base::Code::kNotFound);
}

TEST(BadFiles, AFileOverTheSizeLimitIsRefused) {
  const testing::TempDir dir;
  const std::string path = dir.write("tokenizer.json", "{}");
  std::filesystem::resize_file(path, (64U << 20U) + 1);
  const auto tokenizer = Tokenizer::load(path);
  ASSERT_FALSE(tokenizer);
  EXPECT_EQ(tokenizer.error().code, base::Code::kTooLarge);
}

TEST(BadFiles, EveryTruncationOfAFileIsRefused) {
  const testing::TempDir dir;
  Json json = small_tokenizer();
  json["model"]["vocab"] = {{"[PAD]", 0}, {"[UNK]", 1}, {"[CLS]", 2}, {"[SEP]", 3}, {"[MASK]", 4}};
  const std::string whole = json.dump();
  ASSERT_TRUE(Tokenizer::load(dir.write("tokenizer.json", whole)));
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(Tokenizer::load(dir.write("tokenizer.json", whole.substr(0, size)))) << size;
  }
}

}  // namespace
}  // namespace nacelle::tokenizer
