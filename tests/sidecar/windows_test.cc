// Texts of more tokens than their model takes: what they are refused with, what is counted, and
// what the mean over their windows is.
#include "sidecar/windows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/sidecar/texts_fixture.h"

namespace nacelle::sidecar {
namespace {

using base::Code;
using shm::Function;
using shm::LongInput;
using shm::Op;
using ::testing::HasSubstr;

class WindowsTest : public TextsTest {
 protected:
  Rows embed(const std::string& text, const CallOptions& options,
             std::string_view service = "embed") {
    if (!client_) client_ = connect();
    const std::string_view texts[] = {text};
    const auto rows = client_->embed(service, texts, options);
    if (!rows) ADD_FAILURE() << rows.error().message;
    CHECK(rows.has_value());
    return *rows;
  }
  std::unique_ptr<Client> client_;
};

// Words [begin, end) of a text.
std::string part(const std::string& text, std::size_t begin, std::size_t end) {
  std::size_t word = 0;
  std::string out;
  for (const char c : text) {
    if (c == ' ') ++word;
    if (word < begin || word >= end || (out.empty() && c == ' ')) continue;
    out += c;
  }
  return out;
}

TEST_F(WindowsTest, FramesAreFoundAsTheTemplatesHaveThem) {
  for (std::size_t i = 0; i < services_->size(); ++i) {
    ASSERT_TRUE(services_->at(i).frame);
    EXPECT_EQ(services_->at(i).frame->before, 1U) << "[CLS], and [SEP] behind";
  }
}

TEST_F(WindowsTest, ATruncatedTextSaysSoAndIsCountedWhenTheCallNamesThePolicy) {
  start();
  const std::string text = words(100);
  const Rows silent = embed(text, {});
  const Rows counted = embed(text, {.long_input = LongInput::kTruncate});
  EXPECT_EQ(silent.values, counted.values);
  EXPECT_EQ(silent.values, embed(words(kWindow), {}).values);
  for (const Rows* rows : {&silent, &counted}) {
    EXPECT_EQ(rows->items[0].flags, shm::kItemTruncated);
    EXPECT_EQ(rows->items[0].tokens, 24U);
    EXPECT_EQ(rows->items[0].detail, 1U);
  }
  EXPECT_EQ(silent.items[0].tokens_total, 0U);
  EXPECT_EQ(counted.items[0].tokens_total, 102U);
}

TEST_F(WindowsTest, ARejectedTextFailsAloneWithItsTokensAndTheLimit) {
  start();
  const auto client = connect();
  const std::string fits = words(kWindow);
  const std::string over = words(kWindow + 1);
  const std::string_view texts[] = {fits, over, "the cat"};
  const auto rows = client->embed("embed", texts, {.long_input = LongInput::kReject});
  ASSERT_TRUE(rows) << rows.error().message;
  EXPECT_EQ(rows->report.items_failed, 1U);
  EXPECT_EQ(rows->items[0].code, 0U);
  EXPECT_EQ(rows->items[0].tokens_total, 24U);
  EXPECT_EQ(rows->items[1].code, static_cast<std::uint16_t>(Code::kTooLarge));
  EXPECT_EQ(rows->items[1].tokens_total, 25U);
  EXPECT_EQ(rows->items[1].detail, 24U);
  EXPECT_EQ(rows->items[1].tokens, 0U);
  EXPECT_EQ(row(*rows, 1), std::vector<float>(32));
  EXPECT_EQ(row(*rows, 2), embed("the cat", {}).values);
  // A service may be set to it; without items the call fails in words.
  const auto labels = client->classify("strict", texts);
  ASSERT_FALSE(labels);
  EXPECT_EQ(labels.error().code, Code::kTooLarge);
  EXPECT_THAT(labels.error().message, HasSubstr("text 1 has 25 tokens; the limit is 24"));
  EXPECT_TRUE(client->classify("strict", texts, {.long_input = LongInput::kTruncate}));
  const auto ranking = client->rerank("rank", "the cat", texts, {.long_input = LongInput::kReject});
  ASSERT_TRUE(ranking) << ranking.error().message;
  EXPECT_EQ(ranking->items[0].code, static_cast<std::uint16_t>(Code::kTooLarge));
  EXPECT_EQ(ranking->items[0].tokens_total, 3 + 2 + 22U) << "[CLS] query [SEP] document [SEP]";
  EXPECT_EQ(ranking->items[2].code, 0U);
}

// 53 words: windows of 22, 22 and 9.
TEST_F(WindowsTest, TheRowIsTheMeanOfTheWindowsByTheirTokens) {
  start();
  const std::string text = words(53);
  const std::size_t ends[] = {0, 22, 44, 53};
  for (const auto normalize : {shm::Normalize::kModel, shm::Normalize::kOff, shm::Normalize::kOn}) {
    for (const std::uint32_t dimensions : {0U, 8U}) {
      std::vector<double> mean(32);
      for (std::size_t i = 0; i + 1 < std::size(ends); ++i) {
        const auto own = normalize == shm::Normalize::kOff ? normalize : shm::Normalize::kModel;
        const Rows window = embed(part(text, ends[i], ends[i + 1]), {.normalize = own});
        for (std::size_t k = 0; k < mean.size(); ++k) {
          mean[k] += static_cast<double>(ends[i + 1] - ends[i]) / 53 * double{window.values[k]};
        }
      }
      mean.resize(dimensions > 0 ? dimensions : 32);
      double norm = 0;
      for (const double number : mean) norm += number * number;
      norm = normalize == shm::Normalize::kOff ? 1 : std::sqrt(norm);
      const Rows rows = embed(
          text,
          {.dimensions = dimensions, .normalize = normalize, .long_input = LongInput::kChunkMean});
      for (std::size_t k = 0; k < mean.size(); ++k) {
        EXPECT_NEAR(rows.values[k], mean[k] / norm, 1e-6);
      }
      EXPECT_EQ(rows.items[0].flags, 0U);
      EXPECT_EQ(rows.items[0].detail, 3U);
      EXPECT_EQ(rows.items[0].tokens, 53U + 3 * 2);
      EXPECT_EQ(rows.items[0].tokens_total, 55U);
    }
  }
}

TEST_F(WindowsTest, LabelsComeFromTheMeanOfTheLogits) {
  start();
  const auto client = connect();
  const std::string text = words(30);
  const std::string first = part(text, 0, 22);
  const std::string second = part(text, 22, 30);
  const std::string_view texts[] = {text, first, second};
  const auto raw = client->classify(
      "labels", texts, {.function = Function::kNone, .long_input = LongInput::kChunkMean});
  const auto scores = client->classify("labels", texts, {.long_input = LongInput::kChunkMean});
  ASSERT_TRUE(raw && scores);
  for (std::size_t label = 0; label < 3; ++label) {
    const double mean =
        (22 * double{(*raw)[1].scores[label]} + 8 * double{(*raw)[2].scores[label]}) / 30;
    EXPECT_NEAR((*raw)[0].scores[label], mean, 1e-6);
    EXPECT_NEAR((*scores)[0].scores[label], 1 / (1 + std::exp(-mean)), 1e-6);
  }
}

TEST_F(WindowsTest, ATextThatFitsHasTheBytesThatItHasWithoutThePolicy) {
  start();
  for (const std::size_t count : {0U, 1U, 21U, 22U}) {
    const Rows plain = embed(words(count), {});
    const Rows asked = embed(words(count), {.long_input = LongInput::kChunkMean});
    EXPECT_EQ(plain.values, asked.values) << count;
    EXPECT_EQ(asked.items[0].detail, 1U);
    EXPECT_EQ(plain.items[0].tokens_total, count + 2);
  }
}

// Alone, among neighbours of every kind, and in batches that cut it anywhere.
TEST_F(WindowsTest, ALongTextHasTheSameBytesInAnyBatch) {
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < 30; ++i) texts.push_back(words(i * 7 % 90, i));
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  const CallOptions options{
      .dtype = shm::Element::kFloat16, .dimensions = 24, .long_input = LongInput::kChunkMean};
  start();
  std::vector<std::vector<std::byte>> alone;
  for (const std::string& text : texts) alone.push_back(embed(text, options).encoded);
  client_.reset();
  pipeline_.reset();
  for (const std::uint32_t tokens : {24U, 60U, 4096U}) {
    config_.scheduler.batch_tokens_max = tokens;
    start();
    const auto rows = connect()->embed("embed", views, options);
    ASSERT_TRUE(rows) << rows.error().message;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      EXPECT_TRUE(std::equal(alone[i].begin(), alone[i].end(),
                             rows->encoded.begin() + static_cast<long>(i) * 48))
          << "text " << i << " in batches of " << tokens;
    }
    const auto plain = connect()->embed("embed", views, {.long_input = LongInput::kChunkMean});
    const auto truncated = connect()->embed("embed", views);
    ASSERT_TRUE(plain && truncated);
    for (std::size_t i = 0; i < texts.size(); ++i) {
      if (plain->items[i].detail > 1) continue;
      EXPECT_EQ(row(*plain, i), row(*truncated, i)) << "a neighbour was cut, and it shows";
    }
    pipeline_.reset();
  }
}

TEST_F(WindowsTest, TwentyThousandTokensAreAnsweredUnderEveryPolicy) {
  config_.limits.windows_max = 1000;
  start();
  const std::string text = words(20'000);
  const Rows chunked = embed(text, {.long_input = LongInput::kChunkMean});
  EXPECT_EQ(chunked.items[0].code, 0U);
  EXPECT_EQ(chunked.items[0].detail, 910U) << "20,000 by 22";
  EXPECT_EQ(chunked.items[0].tokens, 20'000U + 2 * 910);
  EXPECT_EQ(chunked.items[0].tokens_total, 20'002U);
  const Rows truncated = embed(text, {.long_input = LongInput::kTruncate});
  EXPECT_EQ(truncated.items[0].flags, shm::kItemTruncated);
  EXPECT_EQ(truncated.items[0].tokens, 24U);
  EXPECT_EQ(truncated.items[0].tokens_total, 20'002U);
  const Rows rejected = embed(text, {.long_input = LongInput::kReject});
  EXPECT_EQ(rejected.items[0].code, static_cast<std::uint16_t>(Code::kTooLarge));
  EXPECT_EQ(rejected.items[0].tokens_total, 20'002U);
}

TEST_F(WindowsTest, ThereIsAMostToWindowsAndToCounting) {
  config_.limits.windows_max = 3;
  start();
  EXPECT_EQ(embed(words(66), {.long_input = LongInput::kChunkMean}).items[0].detail, 3U);
  for (const auto policy : {LongInput::kChunkMean, LongInput::kReject}) {
    const Rows rows = embed(words(67), {.long_input = policy});
    EXPECT_EQ(rows.items[0].code, static_cast<std::uint16_t>(Code::kTooLarge));
    EXPECT_EQ(rows.items[0].flags, shm::kItemMoreTokens);
    EXPECT_EQ(rows.items[0].tokens_total, 68U);
    EXPECT_EQ(rows.items[0].detail, policy == LongInput::kReject ? 24U : 68U);
  }
  const Rows truncated = embed(words(67), {.long_input = LongInput::kTruncate});
  EXPECT_EQ(truncated.items[0].flags, shm::kItemTruncated | shm::kItemMoreTokens);
  std::vector<float> row(32);
  const std::string text = words(67);
  const auto failed =
      connect()->run(Op::kEmbed, "embed", std::vector<std::string_view>{text},
                     std::span<float>(row), {}, {.long_input = LongInput::kChunkMean});
  ASSERT_FALSE(failed);
  EXPECT_THAT(failed.error().message, HasSubstr("has more than 68 tokens; the limit is 68"));
}

// The prompt is a part of the first window only, as it is a part of the text.
TEST_F(WindowsTest, AServiceMayBeSetToWindowsAndAPromptCountsAsText) {
  start();
  const Rows rows = embed(words(60), {}, "prompted");
  EXPECT_EQ(rows.items[0].code, 0U);
  EXPECT_GT(rows.items[0].detail, 2U);
  EXPECT_EQ(rows.values, embed("this is a text: " + words(60),
                               {.prompt = "", .long_input = LongInput::kChunkMean})
                             .values);
  EXPECT_EQ(embed(words(60), {.long_input = LongInput::kTruncate}, "prompted").items[0].flags,
            shm::kItemTruncated);
}

}  // namespace
}  // namespace nacelle::sidecar
