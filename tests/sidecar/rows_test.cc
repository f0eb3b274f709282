// From logits to scores and from floats to elements, number by number.
#include "sidecar/rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "kernels/element.h"

namespace nacelle::sidecar {
namespace {

using shm::Element;
using shm::Function;
using ::testing::ElementsAre;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<int> elements(std::vector<float> numbers, Element element) {
  std::vector<std::byte> bytes(shm::row_size(element, numbers.size()));
  write_elements(numbers, element, bytes.data());
  std::vector<int> out;
  for (const std::byte byte : bytes) {
    const auto code = static_cast<std::uint8_t>(byte);
    out.push_back(element == Element::kUbinary ? int{code} : int{static_cast<std::int8_t>(code)});
  }
  return out;
}

TEST(Scores, SumToOneAndKeepTheirOrder) {
  float row[] = {1.0F, 3.0F, 2.0F};
  to_scores(row, Function::kSoftmax);
  EXPECT_NEAR(row[0] + row[1] + row[2], 1, 1e-6);
  EXPECT_NEAR(row[1], 0.66524096, 1e-6);
  EXPECT_GT(row[2], row[0]);
}

TEST(Scores, HugeLogitsDoNotOverflow) {
  float row[] = {1000.0F, -1000.0F};
  to_scores(row, Function::kSoftmax);
  EXPECT_EQ(row[0], 1.0F);
  EXPECT_EQ(row[1], 0.0F);
}

TEST(Scores, IndependentLabelsDoNotShareOne) {
  float row[] = {0.0F, 100.0F, -100.0F};
  to_scores(row, Function::kSigmoid);
  EXPECT_FLOAT_EQ(row[0], 0.5F);
  EXPECT_FLOAT_EQ(row[1], 1.0F);
  EXPECT_NEAR(row[2], 0, 1e-6);
}

TEST(Scores, LogitsStayAsTheyAreWhenNothingIsWanted) {
  float row[] = {3.5F, -7.0F};
  to_scores(row, Function::kNone);
  EXPECT_THAT(row, ElementsAre(3.5F, -7.0F));
}

TEST(Elements, Int8KeepsTheDirection) {
  EXPECT_THAT(elements({1.0F, -2.0F, 0.5F, 0.0F}, Element::kInt8), ElementsAre(64, -127, 32, 0))
      << "63.5 goes to the even 64, 31.75 to 32";
  EXPECT_THAT(elements({0.0F, -0.0F}, Element::kInt8), ElementsAre(0, 0));
  EXPECT_THAT(elements({1e-42F, 3e38F}, Element::kInt8), ElementsAre(0, 127));
  EXPECT_THAT(elements({1e-44F, -1e-45F}, Element::kInt8), ElementsAre(127, -18))
      << "the smallest numbers there are: 7 and -1 times 2^-149";
}

// A broken model may give such numbers; they must stay inside int8.
TEST(Elements, Int8OfWhatIsNoNumberIsZero) {
  EXPECT_THAT(elements({std::nanf(""), 1.0F, kInfinity}, Element::kInt8), ElementsAre(0, 0, 0));
}

TEST(Elements, BitsAreNumbersAboveZeroTheFirstHighest) {
  const std::vector<float> numbers = {0.1F,  0.0F, -0.1F, 5.0F, -0.0F, -5.0F, 1e-45F, 1.0F,
                                      -1.0F, 2.0F, 2.0F,  2.0F, 2.0F,  2.0F,  2.0F,   2.0F};
  EXPECT_THAT(elements(numbers, Element::kUbinary), ElementsAre(0b10010011, 0b01111111));
  EXPECT_THAT(elements(numbers, Element::kBinary), ElementsAre(0b10010011 - 128, 127 - 128));
}

TEST(Float16, EveryValueThatItHasStaysItself) {
  for (std::uint32_t bits = 0; bits <= UINT16_MAX; ++bits) {
    const float value = kernels::float_from_f16(static_cast<std::uint16_t>(bits));
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(kernels::float_from_f16(to_float16(value)))) << bits;
    } else {
      EXPECT_EQ(to_float16(value), bits);
    }
  }
}

// Between two neighbours the nearer one, in the middle the even one.
TEST(Float16, RoundsToTheNearestAndToEven) {
  for (std::uint16_t bits = 0; bits < 0x7BFF; ++bits) {
    const float low = kernels::float_from_f16(bits);
    const float high = kernels::float_from_f16(static_cast<std::uint16_t>(bits + 1));
    const float middle = low + (high - low) / 2;  // exact
    const int even = bits % 2 == 0 ? bits : bits + 1;
    ASSERT_EQ(to_float16(middle), even) << middle;
    ASSERT_EQ(to_float16(-middle), even | 0x8000) << middle;
    ASSERT_EQ(to_float16(std::nextafter(middle, 0.0F)), bits) << middle;
    ASSERT_EQ(to_float16(std::nextafter(middle, kInfinity)), bits + 1) << middle;
  }
}

TEST(Float16, WhatIsTooLargeIsInfinite) {
  EXPECT_EQ(to_float16(65504.0F), 0x7BFF);
  EXPECT_EQ(to_float16(65519.996F), 0x7BFF);
  EXPECT_EQ(to_float16(65520.0F), 0x7C00);
  EXPECT_EQ(to_float16(-1e30F), 0xFC00);
  EXPECT_EQ(to_float16(kInfinity), 0x7C00);
}

TEST(Normalize, ScalesToLengthOneAndLeavesZerosAlone) {
  std::vector<float> row = {3.0F, -4.0F};
  normalize(row);
  EXPECT_THAT(row, ElementsAre(0.6F, -0.8F));
  std::vector<float> zeros = {0.0F, 0.0F};
  normalize(zeros);
  EXPECT_THAT(zeros, ElementsAre(0.0F, 0.0F));
  std::vector<float> huge = {3e38F, 3e38F};
  normalize(huge);
  EXPECT_NEAR(huge[0], std::sqrt(0.5), 1e-6);
}

// A request of one text in `windows` of these sizes, special tokens included, and a plain one.
struct Cut {
  explicit Cut(const std::vector<std::uint32_t>& sizes, std::uint32_t width, RowPlan plan) {
    request.texts = 2;
    request.specials = 2;
    request.offsets.assign(1, 0);
    for (const std::uint32_t size : sizes) request.offsets.push_back(request.offsets.back() + size);
    request.offsets.push_back(request.offsets.back() + 3);
    request.first_windows = {0, static_cast<std::uint32_t>(sizes.size()),
                             static_cast<std::uint32_t>(sizes.size()) + 1};
    plan.width = plan.width > 0 ? plan.width : width;
    plan.size = plan.width * 4;
    plan.direct = false;
    request.plan = plan;
    bytes.resize(shm::row_list_size(2, plan.size, false));
    request.reply = bytes;
  }
  [[nodiscard]] std::vector<float> row(std::uint32_t text) const {
    std::vector<float> out(request.plan.width);
    std::memcpy(out.data(), request.row(text), request.plan.size);
    return out;
  }
  std::vector<std::byte> bytes;
  Request request;
};

TEST(Windows, AreAveragedByTheirOwnTokens) {
  Cut cut({5, 3}, 2, {});  // 3 and 1 tokens of the text's own
  std::vector<float> first = {1.0F, 0.0F};
  std::vector<float> second = {5.0F, 8.0F};
  std::vector<float> other = {7.0F, 9.0F};
  finish_window(cut.request, 0, first);
  finish_window(cut.request, 1, second);
  finish_window(cut.request, 2, other);
  EXPECT_THAT(cut.row(0), ElementsAre(2.0F, 2.0F));
  EXPECT_THAT(cut.row(1), ElementsAre(7.0F, 9.0F));
}

TEST(Windows, AMeanIsCutAndScaledAndAWholeRowThatTheModelScaledIsLeftAlone) {
  Cut cut({4, 4}, 3, {.normalize = true, .scaled = true});
  std::vector<float> rows[] = {{3.0F, 0.0F, 0.0F}, {3.0F, 8.0F, 0.0F}, {7.0F, 0.0F, 0.0F}};
  for (std::uint32_t i = 0; i < 3; ++i) finish_window(cut.request, i, rows[i]);
  EXPECT_THAT(cut.row(0), ElementsAre(0.6F, 0.8F, 0.0F));
  EXPECT_THAT(cut.row(1), ElementsAre(7.0F, 0.0F, 0.0F));

  Cut shorter({4, 4}, 3, {.width = 1, .normalize = true, .scaled = true});
  std::vector<float> more[] = {{3.0F, 0.0F, 0.0F}, {3.0F, 8.0F, 0.0F}, {7.0F, 0.0F, 0.0F}};
  for (std::uint32_t i = 0; i < 3; ++i) finish_window(shorter.request, i, more[i]);
  EXPECT_THAT(shorter.row(0), ElementsAre(1.0F));
  EXPECT_THAT(shorter.row(1), ElementsAre(1.0F));
}

TEST(Windows, LogitsAreAveragedBeforeTheyBecomeScores) {
  Cut cut({3, 3}, 2, {.function = Function::kSigmoid});
  std::vector<float> first = {100.0F, -4.0F};
  std::vector<float> second = {-100.0F, 4.0F};
  finish_window(cut.request, 0, first);
  finish_window(cut.request, 1, second);
  EXPECT_THAT(cut.row(0), ElementsAre(0.5F, 0.5F));
}

}  // namespace
}  // namespace nacelle::sidecar
