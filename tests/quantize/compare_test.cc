// The gate on a real model: what is quantized well passes, what is broken does not, and a loader
// asks for the report.
#include "sidecar/quantize/compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "sidecar/files/safetensors.h"
#include "sidecar/store/store.h"
#include "tests/support/data.h"
#include "tests/support/temp_dir.h"

namespace nacelle::quantize {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

// The first reviews of the sample, one a line.
std::vector<std::string> reviews(std::size_t count) {
  std::vector<std::string> texts;
  std::ifstream file(testing::data_path("nsmc_test_sample.tsv"));
  std::string line;
  std::getline(file, line);  // the column names
  while (texts.size() < count && std::getline(file, line)) {
    const std::size_t begin = line.find('\t') + 1;
    texts.push_back(line.substr(begin, line.find('\t', begin) - begin));
  }
  EXPECT_EQ(texts.size(), count);
  return texts;
}

class CompareTest : public ::testing::Test {
 protected:
  static constexpr std::size_t kInputs = 200;

  CompareTest() {
    auto layers = layers_of(source_, *backend_);
    EXPECT_TRUE(layers) << layers.error().message;
    layers_ = *layers;
    const auto converted =
        convert({.source = source_, .target = target_, .scheme = Scheme::kInt8, .layers = layers_});
    EXPECT_TRUE(converted) << converted.error().message;
  }

  [[nodiscard]] Comparison comparison() const {
    Comparison comparison{
        .source = source_, .quantized = target_, .inputs = reviews(kInputs), .seed = 3};
    comparison.thresholds.inputs_min = kInputs;
    return comparison;
  }

  Report compare_or_die() {
    auto report = compare(comparison(), *backend_);
    EXPECT_TRUE(report) << report.error().message;
    return *report;
  }

  // Changes the bytes of a tensor of the quantized model where they lie.
  void edit(const std::string& tensor, const std::function<void(std::vector<char>&)>& change) {
    const std::string path = target_ + "/model.safetensors";
    std::uint64_t offset = 0;
    std::vector<char> bytes;
    {
      const auto file = files::Safetensors::open(path);
      ASSERT_TRUE(file);
      const files::TensorView* view = file->find(tensor);
      ASSERT_NE(view, nullptr) << tensor;
      offset = view->file_offset;
      bytes.resize(view->bytes.size());
      std::memcpy(bytes.data(), view->bytes.data(), bytes.size());
    }
    change(bytes);
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(offset));
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }

  void scale(const std::string& layer, float by) {
    edit(layer + ".weight_scale", [&](std::vector<char>& bytes) {
      for (std::size_t i = 0; i < bytes.size(); i += sizeof(float)) {
        float value = 0;
        std::memcpy(&value, &bytes[i], sizeof value);
        value *= by;
        std::memcpy(&bytes[i], &value, sizeof value);
      }
    });
  }

  testing::TempDir dir_;
  std::string source_ = testing::data_path("nsmc-bert-ko");
  std::string target_ = dir_ / "int8";
  std::unique_ptr<kernels::Backend> backend_ = *kernels::create_backend("auto", 1);
  std::vector<Layer> layers_;
};

constexpr char kValue[] = "bert.encoder.layer.0.attention.self.value";
constexpr char kOther[] = "bert.encoder.layer.1.attention.self.value";
constexpr char kNarrow[] = "bert.encoder.layer.1.output.dense";

TEST_F(CompareTest, AGoodQuantizationPassesAndItsReportIsReproducible) {
  const Report report = compare_or_die();
  EXPECT_EQ(report.judgement.verdict, Verdict::kPass)
      << (report.judgement.reasons.empty() ? "" : report.judgement.reasons[0]);
  EXPECT_EQ(report.evidence.inputs, kInputs);
  ASSERT_TRUE(report.evidence.cosine && report.evidence.flips);
  EXPECT_GT(report.evidence.cosine->p1, 0.99);
  EXPECT_LE(report.evidence.flips->flipped, 1U);
  std::size_t parts = 0;
  for (const Layer& layer : layers_) parts += layer.size();
  EXPECT_EQ(report.evidence.layers.size(), parts);
  EXPECT_GT(report.cost.source_texts_per_second, 0);
  EXPECT_LT(report.cost.quantized_bytes, report.cost.source_bytes);

  Report again = compare_or_die();
  again.cost = report.cost;  // the only part that is measured with a clock
  EXPECT_EQ(to_json(again), to_json(report));
}

TEST_F(CompareTest, ALayerThatIsScaledIsRefused) {
  scale(kValue, 1.3F);
  const Report report = compare_or_die();
  EXPECT_EQ(report.judgement.verdict, Verdict::kRefuse);
  EXPECT_THAT(report.judgement.reasons, ::testing::Contains(HasSubstr(kValue)));
  EXPECT_EQ(report.evidence.layers[0].name, kValue);  // the worst
}

TEST_F(CompareTest, LayersThatAreSwappedAreRefused) {
  std::vector<char> first;
  std::vector<char> second;
  edit(std::string(kValue) + ".weight", [&](std::vector<char>& bytes) { first = bytes; });
  edit(std::string(kOther) + ".weight", [&](std::vector<char>& bytes) {
    std::swap(second, bytes);
    bytes = first;
  });
  edit(std::string(kValue) + ".weight", [&](std::vector<char>& bytes) { bytes = second; });
  const Report report = compare_or_die();
  EXPECT_EQ(report.judgement.verdict, Verdict::kRefuse);
  EXPECT_THAT(report.judgement.reasons, ::testing::Contains(HasSubstr(kOther)));
}

TEST_F(CompareTest, RowsOfZerosAreRefusedEvenOneAlone) {
  edit(std::string(kNarrow) + ".weight",
       [](std::vector<char>& bytes) { std::fill_n(bytes.begin() + 512 * 7, 512, '\0'); });
  const Report report = compare_or_die();
  EXPECT_EQ(report.judgement.verdict, Verdict::kRefuse);
  EXPECT_THAT(report.judgement.reasons,
              ::testing::Contains(HasSubstr("worst output of " + std::string(kNarrow))));
}

TEST_F(CompareTest, TheLayersAreRankedByWhatTheyDoToAnswers) {
  Comparison wanted = comparison();
  wanted.sensitivity_inputs = 20;
  const auto report = compare(wanted, *backend_);
  ASSERT_TRUE(report) << report.error().message;
  double last = HUGE_VAL;
  for (const LayerDistance& layer : report->evidence.layers) {
    ASSERT_TRUE(layer.sensitivity) << layer.name;
    EXPECT_GT(*layer.sensitivity, 0) << layer.name;
    EXPECT_LE(*layer.sensitivity, last);
    last = *layer.sensitivity;
  }
}

// A limit that int8 misses by a little is met once the worst layer stays as it is, whole.
TEST_F(CompareTest, TheWorstLayersStayAsTheyAreUntilTheGatePasses) {
  const Report plain = compare_or_die();
  fs::remove_all(target_);
  // All weights' distances are alike: the limit is just below the worst.
  Comparison wanted = comparison();
  const LayerDistance& worst = plain.evidence.layers[0];
  wanted.thresholds.layer_error = {worst.relative_error * 0.9999, worst.relative_error * 0.99995};
  const auto refused = quantize(Scheme::kInt8, wanted, 0, *backend_);
  ASSERT_TRUE(refused) << refused.error().message;
  EXPECT_EQ(refused->report.judgement.verdict, Verdict::kRefuse);
  EXPECT_TRUE(refused->kept.empty());
  EXPECT_EQ(check_gate(target_, refused->report.quantized_digest).error().code,
            base::Code::kDenied);
  fs::remove_all(target_);

  const auto kept = quantize(Scheme::kInt8, wanted, 2, *backend_);
  ASSERT_TRUE(kept) << kept.error().message;
  EXPECT_EQ(kept->report.judgement.verdict, Verdict::kPass);
  ASSERT_EQ(kept->kept.size(), 1U);
  EXPECT_THAT(kept->kept[0], ::testing::Contains(worst.name));
  for (const LayerDistance& layer : kept->report.evidence.layers) {
    const bool stays = std::ranges::find(kept->kept[0], layer.name) != kept->kept[0].end();
    EXPECT_EQ(layer.relative_error == 0, stays) << layer.name;
  }
  EXPECT_TRUE(check_gate(target_, kept->report.quantized_digest));
}

// A query's, a key's and a value's matrices are one layer: one that is worst keeps all three.
TEST_F(CompareTest, ALayerOfSeveralMatricesStaysWhole) {
  fs::remove_all(target_);
  Comparison wanted = comparison();
  wanted.thresholds.cosine_p1 = {2, 2};  // beyond reach
  const auto kept = quantize(Scheme::kInt8, wanted, layers_.size() + 1, *backend_);
  ASSERT_TRUE(kept) << kept.error().message;
  EXPECT_THAT(kept->kept, ::testing::UnorderedElementsAreArray(layers_));
  for (const LayerDistance& layer : kept->report.evidence.layers) {
    EXPECT_EQ(layer.relative_error, 0) << layer.name;
  }
}

TEST_F(CompareTest, ALoaderAsksForAReportAboutTheseVeryFiles) {
  const std::string digest = *store::digest(target_);
  EXPECT_THAT(check_gate(target_, digest).error().message, HasSubstr("nacellectl gate"));
  const Report report = compare_or_die();
  ASSERT_TRUE(write_report(target_, report));
  EXPECT_EQ(*store::digest(target_), digest);  // the report is no part of the model
  EXPECT_TRUE(check_gate(target_, digest));
  scale(kValue, 1.0001F);
  EXPECT_THAT(check_gate(target_, *store::digest(target_)).error().message,
              HasSubstr("is about other files"));
}

TEST_F(CompareTest, WhatIsNotComparableIsSaid) {
  const auto message = [&](const Comparison& wanted) {
    const auto report = compare(wanted, *backend_);
    return report ? "" : report.error().message;
  };
  Comparison wanted = comparison();
  wanted.quantized = testing::data_path("tiny-classifier");
  EXPECT_THAT(message(wanted), HasSubstr("is not a form of"));
  wanted = comparison();
  wanted.inputs[7] = "\xff";
  EXPECT_THAT(message(wanted), HasSubstr("input 8: "));
  wanted = comparison();
  wanted.source = wanted.quantized = testing::data_path("tiny-reranker");
  EXPECT_THAT(message(wanted), HasSubstr("with a tab between them"));
  // Fewer inputs than asked for are a reason to refuse, not an error.
  wanted = comparison();
  wanted.inputs.resize(10);
  const auto few = compare(wanted, *backend_);
  ASSERT_TRUE(few);
  EXPECT_EQ(few->judgement.verdict, Verdict::kRefuse);
  EXPECT_THAT(few->judgement.reasons[0], HasSubstr("10 inputs, at least 200"));
}

TEST_F(CompareTest, EncodersAndRerankersAreJudgedByRanks) {
  for (const bool reranks : {false, true}) {
    Comparison wanted = comparison();
    wanted.source = testing::data_path(reranks ? "tiny-reranker" : "tiny-bert");
    wanted.quantized = wanted.source;
    if (reranks) {
      for (std::string& text : wanted.inputs) text = "query\t" + text;
    }
    const auto report = compare(wanted, *backend_);
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_EQ(report->judgement.verdict, Verdict::kPass);
    ASSERT_TRUE(report->evidence.ranks);
    EXPECT_EQ(report->evidence.ranks->spearman, 1);
    EXPECT_EQ(report->evidence.ranks->queries, reranks ? 1U : kInputs);
  }
}

}  // namespace
}  // namespace nacelle::quantize
