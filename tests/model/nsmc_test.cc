// The shipped Korean sentiment classifier against transformers: logits, labels, accuracy.
#include <gtest/gtest.h>

#include <fstream>

#include "tests/model/fixture.h"

namespace nacelle::model {
namespace {

constexpr double kTolerance = 1e-4;
constexpr std::size_t kChunk = 500;             // texts in one run
constexpr std::size_t kTrainingTokensMax = 64;  // what training cut its test texts to
constexpr std::size_t kTrainingCorrect = 8220;  // of 9,613: the recorded 0.855092

struct Review {
  std::string text;
  int gold = 0;
  int predicted = 0;  // by transformers; in the sample only
};

// The lines of a TSV file of id, document, label and perhaps the predicted label.
std::vector<Review> read_reviews(const std::string& path) {
  std::vector<Review> reviews;
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);  // the column names
  while (std::getline(in, line)) {
    std::vector<std::string> columns;
    std::size_t start = 0;
    for (std::size_t tab = line.find('\t'); tab != std::string::npos;
         tab = line.find('\t', start)) {
      columns.push_back(line.substr(start, tab - start));
      start = tab + 1;
    }
    columns.push_back(line.substr(start));
    if (columns.size() < 3) {
      ADD_FAILURE() << path << " line " << reviews.size() + 2 << ": " << columns.size()
                    << " columns";
      return {};
    }
    reviews.push_back({columns[1], columns[2] == "1", columns.size() > 3 && columns[3] == "1"});
  }
  return reviews;
}

std::vector<int> predict(Model& model, const std::vector<Review>& reviews, std::size_t tokens_max) {
  std::vector<int> labels;
  for (std::size_t start = 0; start < reviews.size(); start += kChunk) {
    std::vector<std::string> texts;
    for (std::size_t i = start; i < std::min(start + kChunk, reviews.size()); ++i) {
      texts.push_back(reviews[i].text);
    }
    for (const auto& row : run_texts(model, Task::kClassify, texts, tokens_max)) {
      labels.push_back(row[1] > row[0]);
    }
  }
  return labels;
}

std::size_t correct(const std::vector<int>& labels, const std::vector<Review>& reviews) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    count += static_cast<std::size_t>(labels[i] == reviews[i].gold);
  }
  return count;
}

// Logits and ids of every recorded text, each run in one batch with all others.
void expect_recorded_logits(const std::string& directory, const std::string& golden_path,
                            const std::string& backend_name) {
  const files::Json golden = read_golden(golden_path);
  const auto backend = make_backend(backend_name);
  const auto model = load_or_die(directory, *backend);
  Batch batch;
  for (const auto& item : golden["items"]) {
    const auto encoding =
        model->tokenizer().encode(item["text"].get<std::string>(), model->info().tokens_max);
    ASSERT_TRUE(encoding) << encoding.error().message;
    ASSERT_EQ(encoding->ids, item["ids"].get<std::vector<std::uint32_t>>()) << item["text"];
    batch.add(*encoding);
  }
  ASSERT_EQ(batch.size(), 148U);
  const Rows rows = run_or_die(*model, Task::kClassify, batch);
  double worst = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const double difference =
        largest_difference(rows[i], golden["items"][i]["logits"].get<std::vector<float>>());
    EXPECT_LE(difference, kTolerance) << golden["items"][i]["text"];
    worst = std::max(worst, difference);
  }
  std::printf("%s: largest difference of a logit %.2e\n", backend_name.c_str(), worst);
}

class Nsmc : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(EveryBackend, Nsmc, ::testing::ValuesIn(backend_names()),
                         backend_test_name);

TEST_P(Nsmc, LogitsOfTheShippedWeightsAreTheRecordedOnes) {
  expect_recorded_logits(data_path("nsmc-bert-ko"), data_path("nsmc-bert-ko/reference_logits.json"),
                         GetParam());
}

TEST_P(Nsmc, LogitsOfTheOriginalWeightsAreTheRecordedOnes) {
  const auto original = asset_path("nsmc-bert-ko");
  if (!original) GTEST_SKIP() << "needs the optional assets (NACELLE_ASSETS): nsmc-bert-ko in fp32";
  expect_recorded_logits(*original, *original + "/reference_logits.json", GetParam());
}

TEST(NsmcLabels, OnTheShippedSampleAreTransformersLineByLine) {
  const std::vector<Review> reviews = read_reviews(data_path("nsmc_test_sample.tsv"));
  ASSERT_EQ(reviews.size(), 2000U);
  const auto backend = make_backend("auto");
  const auto model = load_or_die(data_path("nsmc-bert-ko"), *backend);
  const std::vector<int> labels = predict(*model, reviews, model->info().tokens_max);
  ASSERT_EQ(labels.size(), reviews.size());
  for (std::size_t i = 0; i < reviews.size(); ++i) {
    EXPECT_EQ(labels[i], reviews[i].predicted) << "line " << i + 2 << ": " << reviews[i].text;
  }
  EXPECT_EQ(correct(labels, reviews), 1691U);  // 84.55 %; 85.6 % on the whole file
}

// `weights` is "fp16" or "fp32" in nsmc_test_labels.json.
void expect_recorded_accuracy(const std::string& directory, const std::string& weights) {
  const auto path = asset_path("datasets/nsmc/nsmc_test.tsv");
  if (!path) GTEST_SKIP() << "needs the optional assets (NACELLE_ASSETS): NSMC's test file";
  const files::Json golden = read_golden(data_path("nsmc-bert-ko/nsmc_test_labels.json"));
  const std::vector<Review> reviews = read_reviews(*path);
  ASSERT_EQ(reviews.size(), golden["lines"].get<std::size_t>());
  const auto backend = make_backend("auto");
  const auto model = load_or_die(directory, *backend);

  const std::vector<int> labels = predict(*model, reviews, model->info().tokens_max);
  const auto digits = golden[weights]["predicted_hex"].get<std::string>();
  ASSERT_EQ(digits.size(), (reviews.size() + 3) / 4);
  for (std::size_t i = 0; i < reviews.size(); ++i) {
    const int digit = std::stoi(digits.substr(i / 4, 1), nullptr, 16);
    EXPECT_EQ(labels[i], (digit >> (i % 4)) & 1) << "line " << i + 2 << ": " << reviews[i].text;
  }
  EXPECT_EQ(correct(labels, reviews), golden[weights]["correct"].get<std::size_t>());

  // The accuracy that the training run printed was of texts cut to 64 tokens.
  EXPECT_EQ(correct(predict(*model, reviews, kTrainingTokensMax), reviews), kTrainingCorrect);
}

TEST(NsmcAccuracy, OfTheShippedWeightsOnAllTestLinesIsTheRecordedOne) {
  expect_recorded_accuracy(data_path("nsmc-bert-ko"), "fp16");
}

TEST(NsmcAccuracy, OfTheOriginalWeightsOnAllTestLinesIsTheRecordedOne) {
  const auto original = asset_path("nsmc-bert-ko");
  if (!original) GTEST_SKIP() << "needs the optional assets (NACELLE_ASSETS): nsmc-bert-ko in fp32";
  expect_recorded_accuracy(*original, "fp32");
}

}  // namespace
}  // namespace nacelle::model
