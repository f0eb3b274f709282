// The long lists of a file: what each kind of element reads as, and where reading stops.
#include "sidecar/tokenizer/listing.h"

#include <gtest/gtest.h>

#include <string>

namespace nacelle::tokenizer {
namespace {

using Kind = Listing::Kind;

// The list that `text` is.
Listing read(const std::string& text) {
  Listing listing;
  const files::JsonApart apart[] = {{.parent = "model", .name = "list", .reader = &listing}};
  const auto json = files::parse_json("{\"model\":{\"list\":" + text + "}}", "x", {.apart = apart});
  EXPECT_TRUE(json) << text;
  return listing;
}

TEST(Listing, APieceWithItsIdIsANumber) {
  const Listing listing = read(R"({"ab": 7, "\u00e9": 0, "": 18446744073709551615})");
  ASSERT_EQ(listing.size(), 3U);
  EXPECT_EQ(listing[0].kind, Kind::kNumber);
  EXPECT_EQ(listing[0].first, "ab");
  EXPECT_EQ(listing[0].second, "");
  EXPECT_EQ(listing[0].number, 7);
  EXPECT_EQ(listing[1].first, "\xC3\xA9");
  EXPECT_EQ(listing[2].first, "");
  EXPECT_GT(listing[2].number, 1e19);
  EXPECT_EQ(listing.text_size(), 4U);
}

TEST(Listing, ElementsOfAListAreTextsPairsOrScored) {
  const Listing listing = read(R"(["a b", ["c", "de"], ["f", -1.5], ["g", 2], ["", ""]])");
  ASSERT_EQ(listing.size(), 5U);
  EXPECT_EQ(listing[0].kind, Kind::kText);
  EXPECT_EQ(listing[0].first, "a b");
  EXPECT_EQ(listing[1].kind, Kind::kPair);
  EXPECT_EQ(listing[1].first, "c");
  EXPECT_EQ(listing[1].second, "de");
  EXPECT_EQ(listing[2].kind, Kind::kScored);
  EXPECT_EQ(listing[2].first, "f");
  EXPECT_EQ(listing[2].number, -1.5);
  EXPECT_EQ(listing[3].kind, Kind::kScored);
  EXPECT_EQ(listing[3].number, 2);
  EXPECT_EQ(listing[4].kind, Kind::kPair);
}

TEST(Listing, AnythingElseIsTheLastElement) {
  for (const std::string odd :
       {"null", "true", "7", "[]", "{}", "[1]", "[\"a\"]", "[1, \"a\"]", "[\"a\", null]",
        "[\"a\", \"b\", \"c\"]", "[\"a\", 1, 2]", "[\"a\", [\"b\"]]", "[[\"a\", \"b\"]]",
        "[\"a\", {\"b\": 1}]", "{\"a\": 1}", "[\"a\", 1, []]"}) {
    const Listing listing = read("[\"x\", " + odd + ", \"y\", [\"z\", 1]]");
    ASSERT_EQ(listing.size(), 2U) << odd;
    EXPECT_EQ(listing[0].kind, Kind::kText) << odd;
    EXPECT_EQ(listing[1].kind, Kind::kOther) << odd;
  }
  for (const std::string odd : {"null", "true", "-1", "1.0", "\"1\"", "[]", "{}", "[\"a\", \"b\"]",
                                "[\"a\", 1]", "{\"a\": 1}", "{\"a\": {\"b\": 2}}"}) {
    const Listing listing = read("{\"x\": 1, \"odd\": " + odd + ", \"y\": 2}");
    ASSERT_EQ(listing.size(), 2U) << odd;
    EXPECT_EQ(listing[0].kind, Kind::kNumber) << odd;
    EXPECT_EQ(listing[1].kind, Kind::kOther) << odd;
    EXPECT_EQ(listing[1].first, "odd");
  }
}

TEST(Listing, EndsAtItsLimit) {
  std::string text = "[\"a\"";
  for (std::size_t i = 1; i < Listing::kElementsMax; ++i) text += ",\"a\"";
  Listing listing = read(text + "]");
  EXPECT_EQ(listing.size(), Listing::kElementsMax);
  EXPECT_FALSE(listing.is_cut());
  listing = read(text + ",\"b\"]");
  EXPECT_EQ(listing.size(), Listing::kElementsMax);
  EXPECT_TRUE(listing.is_cut());
  listing.clear();
  EXPECT_EQ(listing.size(), 0U);
  EXPECT_EQ(listing.text_size(), 0U);
}

}  // namespace
}  // namespace nacelle::tokenizer
