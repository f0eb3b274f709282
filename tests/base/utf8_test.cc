// Which bytes are UTF-8, and where they stop being it.
#include "sidecar/base/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace nacelle::base {
namespace {

TEST(Utf8, WellFormedTextHasNoBadByte) {
  for (const std::string text : {"", "plain", "한국어 텍스트", "\xF0\x9F\x98\x80", "\x7F",
                                 "\xC2\x80", "\xED\x9F\xBF", "\xEE\x80\x80", "\xF4\x8F\xBF\xBF"}) {
    EXPECT_EQ(find_invalid_utf8(text), std::nullopt) << text;
  }
  EXPECT_EQ(find_invalid_utf8(std::string("a\0b", 3)), std::nullopt) << "NUL is a character";
}

TEST(Utf8, EveryKindOfBadByteIsFoundWhereItIs) {
  struct Row {
    const char* what;
    std::string text;
  };
  const Row rows[] = {{"lone continuation", "\x80"},
                      {"overlong 2", "\xC0\x80"},
                      {"overlong 2", "\xC1\xBF"},
                      {"overlong 3", "\xE0\x9F\xBF"},
                      {"overlong 4", "\xF0\x8F\xBF\xBF"},
                      {"surrogate", "\xED\xA0\x80"},
                      {"above U+10FFFF", "\xF4\x90\x80\x80"},
                      {"never a lead byte", "\xF5\x80\x80\x80"},
                      {"never at all", "\xFF"},
                      {"cut short 2", "\xC3"},
                      {"cut short 3", "\xED\x95"},
                      {"cut short 4", "\xF0\x9F\x98"},
                      {"bad third byte", "\xED\x95\x41"}};
  for (const Row& row : rows) {
    EXPECT_EQ(find_invalid_utf8(row.text), 0U) << row.what;
    EXPECT_EQ(find_invalid_utf8("12345678é" + row.text + " more text"), 10U) << row.what;
  }
}

}  // namespace
}  // namespace nacelle::base
