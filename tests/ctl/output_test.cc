// What a person reads: units, columns, and nothing that a terminal would act on.
#include "ctl/output.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace nacelle::ctl {
namespace {

TEST(Output, CountsHaveSeparators) {
  EXPECT_EQ(count_text(0), "0");
  EXPECT_EQ(count_text(999), "999");
  EXPECT_EQ(count_text(1000), "1,000");
  EXPECT_EQ(count_text(123456), "123,456");
  EXPECT_EQ(count_text(UINT64_MAX), "18,446,744,073,709,551,615");
}

TEST(Output, SizesTakeTheUnitThatReadsBest) {
  EXPECT_EQ(bytes_text(0), "0 B");
  EXPECT_EQ(bytes_text(1023), "1023 B");
  EXPECT_EQ(bytes_text(1024), "1.0 KiB");
  EXPECT_EQ(bytes_text((1ULL << 20) - 1), "1.0 MiB") << "not 1024.0 KiB";
  EXPECT_EQ(bytes_text(1536ULL << 20), "1.5 GiB");
  EXPECT_EQ(bytes_text(UINT64_MAX), "16777216.0 TiB");
}

TEST(Output, DurationsShowTheTwoLargestUnits) {
  EXPECT_EQ(duration_text(0), "0 s");
  EXPECT_EQ(duration_text(59), "59 s");
  EXPECT_EQ(duration_text(61), "1 min 1 s");
  EXPECT_EQ(duration_text(8070), "2 h 14 min");
  EXPECT_EQ(duration_text(200'000), "2 d 7 h");
}

// Each row: what somebody wrote, what a terminal is shown, and how many columns it takes.
TEST(Output, BytesThatATerminalActsOnAreEscaped) {
  const std::tuple<std::string, std::string, std::size_t> rows[] = {
      {"plain", "plain", 5},
      {"한글", "한글", 4},
      {"é", "é", 1},
      {"😀", "😀", 2},
      {"a\x1b[31m", "a\\x1b[31m", 9},
      {"a\nb", "a\\x0ab", 6},
      {"\x7f", "\\x7f", 4},
      {"\xc2\x9b", "\\x9b", 4},                 // CSI as one character
      {"\xe2\x80\xae", "\\u202e", 6},           // right-to-left override
      {"a\xff", "a\\xff", 5},                   // no UTF-8 at all
      {"\xed\xa0\x80", "\\xed\\xa0\\x80", 12},  // a surrogate
      {"\xe2\x80", "\\xe2\\x80", 8},            // cut off
      {"", "", 0},
  };
  for (const auto& [written, shown, width] : rows) {
    EXPECT_EQ(printable(written), shown);
    EXPECT_EQ(display_width(shown), width) << shown;
  }
}

TEST(Output, ColumnsLineUpWhateverTheLettersAre) {
  Output out(false);
  out.table({{"name"}, {"count", Output::Side::kRight}},
            {{"한글", "1"}, {"abc", "1,000"}, {"", ""}});
  EXPECT_EQ(out.text(),
            "  name  count\n"
            "  한글      1\n"
            "  abc   1,000\n"
            "  -         -\n");
}

TEST(Output, ATableWithoutRowsIsItsTitles) {
  Output out(false);
  out.table({{"name"}, {"count"}}, {});
  EXPECT_EQ(out.text(), "  name  count\n");
}

TEST(Output, AnEmptyListIsSaidInAWord) {
  EXPECT_EQ(list_text({}), "none");
  EXPECT_EQ(list_text({"a"}), "a");
  EXPECT_EQ(list_text({"a", "b"}), "a, b");
}

TEST(Output, JsonKeepsLettersAndReplacesWhatIsNone) {
  Output out(true);
  out.json({{"name", "한글\xff"}});
  EXPECT_EQ(out.text(), "{\n  \"name\": \"한글\xEF\xBF\xBD\"\n}\n");
}

}  // namespace
}  // namespace nacelle::ctl
