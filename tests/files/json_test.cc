// JSON from strangers: what is refused, and what its error says.
#include "sidecar/files/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/support/temp_dir.h"

namespace nacelle::files {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string nested(std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); }

TEST(Json, EveryKindOfValueComesThrough) {
  const auto json = parse_json(
      " {\"a\": [1, -2, 2.5, true, null], \"b\": {\"\\ud55c\": \"\\u00e9\\n\"}} ", "x.json");
  ASSERT_TRUE(json) << json.error().message;
  EXPECT_EQ((*json)["a"][0].get<std::uint64_t>(), 1U);
  EXPECT_EQ((*json)["a"][1].get<std::int64_t>(), -2);
  EXPECT_EQ((*json)["a"][2].get<double>(), 2.5);
  EXPECT_TRUE((*json)["a"][3].get<bool>());
  EXPECT_TRUE((*json)["a"][4].is_null());
  EXPECT_EQ((*json)["b"]["\xED\x95\x9C"].get<std::string>(), "\xC3\xA9\n");
}

TEST(Json, TheLargestUnsignedNumberStaysExact) {
  const auto json = parse_json("18446744073709551615", "x");
  ASSERT_TRUE(json);
  EXPECT_TRUE(json->is_number_unsigned());
  EXPECT_EQ(json->get<std::uint64_t>(), UINT64_MAX);
}

TEST(Json, NestingIsAllowedUpToTheLimitAndNotBeyond) {
  EXPECT_TRUE(parse_json(nested(kJsonDepthMax), "x"));
  const auto json = parse_json(nested(kJsonDepthMax + 1), "x");
  ASSERT_FALSE(json);
  EXPECT_THAT(json.error().message, HasSubstr("deeper than 64"));
}

TEST(Json, AMillionBracketsAreRefusedAtTheLimitNotAtTheStackEnd) {
  EXPECT_FALSE(parse_json(std::string(1'000'000, '['), "x"));
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  EXPECT_FALSE(parse_json(objects, "x"));
}

TEST(Json, TooManyValuesAreRefused) {
  std::string text = "[0";
  for (std::size_t i = 0; i < kJsonValuesMax; ++i) text += ",0";
  const auto json = parse_json(text + "]", "x");
  ASSERT_FALSE(json);
  EXPECT_THAT(json.error().message, HasSubstr("more than 4000000 values"));
}

// Writes down what it is told.
class Recorder final : public nlohmann::json_sax<Json> {
 public:
  std::string told;
  bool null() override { return tell("null"); }
  bool boolean(bool value) override { return tell(value ? "true" : "false"); }
  bool number_integer(std::int64_t value) override { return tell(std::to_string(value)); }
  bool number_unsigned(std::uint64_t value) override { return tell(std::to_string(value)); }
  bool number_float(double /*value*/, const std::string& text) override { return tell(text); }
  bool string(std::string& value) override { return tell('"' + value + '"'); }
  bool binary(Json::binary_t& /*value*/) override { return tell("binary"); }
  bool start_object(std::size_t /*count*/) override { return tell("{"); }
  bool key(std::string& value) override { return tell(value + ':'); }
  bool end_object() override { return tell("}"); }
  bool start_array(std::size_t /*count*/) override { return tell("["); }
  bool end_array() override { return tell("]"); }
  bool parse_error(std::size_t /*position*/, const std::string& /*token*/,
                   const nlohmann::detail::exception& /*error*/) override {
    return tell("error");
  }

 private:
  bool tell(const std::string& what) {
    told += what + ' ';
    return false;  // which does not matter
  }
};

TEST(Json, AMemberApartGoesToItsReader) {
  Recorder list;
  Recorder other;
  const JsonApart apart[] = {{.parent = "a", .name = "list", .reader = &list},
                             {.parent = "a", .name = "other", .reader = &other}};
  const auto json = parse_json(
      R"({"list": [1], "a": {"x": {"list": [2]}, "other": 7,
          "list": [null, true, -1, 2, 0.5, "s", {"list": [{}]}], "y": 3},
          "b": {"list": [4]}})",
      "x", {.apart = apart});
  ASSERT_TRUE(json) << json.error().message;
  EXPECT_EQ(list.told, "[ null true -1 2 0.5 \"s\" { list: [ { } ] } ] ");
  EXPECT_EQ(other.told, "");  // neither an object nor a list
  EXPECT_EQ(json->dump(),
            R"({"a":{"list":[],"other":7,"x":{"list":[2]},"y":3},"b":{"list":[4]},"list":[1]})");
}

TEST(Json, AMemberApartKeepsTheOtherRules) {
  const auto parsed = [](const std::string& text, std::size_t values_max = 100) {
    Recorder list;
    const JsonApart apart[] = {{.parent = "a", .name = "list", .reader = &list}};
    return parse_json(text, "x", {.values_max = values_max, .apart = apart});
  };
  EXPECT_TRUE(parsed("{\"a\":{\"list\":" + nested(kJsonDepthMax - 2) + "}}"));
  EXPECT_FALSE(parsed("{\"a\":{\"list\":" + nested(kJsonDepthMax - 1) + "}}"));
  // The root, a, the list and b; what is in the list does not count.
  EXPECT_TRUE(parsed(R"({"a":{"list":[1,2,3,4,5]},"b":0})", 4));
  EXPECT_FALSE(parsed(R"({"a":{"list":[1,2,3,4,5]},"b":0})", 3));
  EXPECT_FALSE(parsed(R"({"a":{"list":[1],"list":[1]}})"));
  EXPECT_FALSE(parsed(R"({"a":{"list":[1]},"a":{"list":[1]}})"));
  EXPECT_FALSE(parsed(R"({"a":{"list":[1}})"));
  EXPECT_FALSE(parsed(R"({"a":{"list":["\ud800"]}})"));
}

TEST(Json, ErrorsNameTheFileTheByteAndTheReason) {
  const auto json = parse_json("{\"a\": 1, \"b\": 2, \"a\": 3}", "dir/x.json");
  ASSERT_FALSE(json);
  EXPECT_EQ(json.error().code, base::Code::kInvalid);
  EXPECT_EQ(json.error().message, "dir/x.json: byte 20: not valid JSON: key \"a\" appears twice");
}

TEST(Json, ErrorsHoldNoControlBytesOfTheFile) {
  for (const std::string bad : {"[\"\x1b[31m\"]", "\x1b]0;x\x07", "{\"\xff\": 1}"}) {
    const auto json = parse_json(bad, "x");
    ASSERT_FALSE(json) << bad;
    for (const char c : json.error().message) EXPECT_TRUE(c >= ' ' && c < '\x7f') << int{c};
  }
}

TEST(Json, WhatIsNotJsonIsRefused) {
  const std::string cases[] = {
      "",
      " ",
      "{",
      "}",
      "[1",
      "[1,]",
      "{\"a\"}",
      "{\"a\":}",
      "{\"a\":1,}",
      "{a:1}",
      "{'a':1}",
      "nul",
      "True",
      "NaN",
      "Infinity",
      "-",
      "01",
      "1.",
      "1e999",
      "+1",
      "0x1",
      "\"",
      "\"\\x\"",
      "\"\\ud800\"",
      "\"\\udc00\\ud800\"",
      "\"\t\"",
      "1 2",
      "{} {}",
      "// c\n1",
      "[1] x",
      std::string("1\0", 2),
      std::string("{}\0garbage", 10),
      std::string("\"\0\"", 3),
      "\"\xff\"",
      "\"\xc0\xaf\"",
      "\"\xed\xa0\x80\"",
      "\"\xf4\x90\x80\x80\"",
      "\"\xe1\x80\"",
  };
  for (const std::string& text : cases) {
    const auto json = parse_json(text, "x");
    ASSERT_FALSE(json) << text;
    EXPECT_THAT(json.error().message, StartsWith("x: byte ")) << text;
  }
}

TEST(Json, ADuplicateKeyIsSeenAtEveryDepth) {
  EXPECT_FALSE(parse_json("{\"a\": [{\"b\": 1, \"b\": 1}]}", "x"));
  EXPECT_FALSE(parse_json("{\"a\": 1, \"\\u0061\": 2}", "x"));
  EXPECT_TRUE(parse_json("{\"a\": {\"a\": 1}, \"b\": {\"a\": 1}}", "x"));
}

TEST(Json, AFileOverTheLimitIsNotRead) {
  const testing::TempDir dir;
  const std::string path = dir.write("x.json", "[1, 2]");
  EXPECT_TRUE(read_json(path, 6));
  const auto json = read_json(path, 5);
  ASSERT_FALSE(json);
  EXPECT_EQ(json.error().code, base::Code::kTooLarge);
}

TEST(Json, AMissingFileIsNamed) {
  const auto json = read_json("/nowhere/x.json", 100);
  ASSERT_FALSE(json);
  EXPECT_EQ(json.error().code, base::Code::kNotFound);
  EXPECT_THAT(json.error().message, HasSubstr("/nowhere/x.json"));
}

TEST(Quotes, LongAndStrangeTextIsMadeFitForAMessage) {
  EXPECT_EQ(in_quotes("a"), "\"a\"");
  EXPECT_EQ(in_quotes("a\n\x1b"), "\"a??\"");
  const std::string quoted = in_quotes(std::string(1000, 'x'));
  EXPECT_LT(quoted.size(), 110U);
  EXPECT_THAT(quoted, HasSubstr("..."));
  // Cut inside a character of three bytes: the character goes.
  std::string hangul;
  for (int i = 0; i < 50; ++i) hangul += "\xEA\xB0\x80";
  const std::string cut = in_quotes("x" + hangul);
  EXPECT_TRUE(parse_json(cut, "x")) << cut;  // it is still UTF-8
}

}  // namespace
}  // namespace nacelle::files
