// The gate's report: reproducible, readable, and distrusted when it is not one.
#include "sidecar/quantize/report.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <string>

#include "sidecar/files/json.h"
#include "tests/support/temp_dir.h"

namespace nacelle::quantize {
namespace {

Report example() {
  Report report{.source_digest = "aa",
                .quantized_digest = "bb",
                .scheme = "int8",
                .inputs_digest = "cc",
                .seed = 7};
  report.evidence = {.inputs = 1200,
                     .cosine = Distribution{0.9, 0.93, 0.99, 0.98},
                     .flips = Flips{.inputs = 1200, .flipped = 60},
                     .ranks = Ranks{.queries = 100, .first_kept = 1, .ten_kept = 1, .spearman = 1},
                     .layers = {{.name = "layer.0", .relative_error = HUGE_VAL},
                                {.name = "layer.1", .relative_error = 0.01, .sensitivity = 0.02}}};
  report.judgement = judge(report.evidence, report.thresholds);
  report.cost = {.source_texts_per_second = 100, .quantized_texts_per_second = 76.5};
  return report;
}

class ReportTest : public ::testing::Test {
 protected:
  base::Result<Vouch> read(const std::string& text) {
    const std::string path = dir_.path() + "/gate.json";
    std::ofstream(path) << text;
    return read_report(path);
  }
  testing::TempDir dir_;
};

TEST_F(ReportTest, SaysWhatWasMeasuredAndDecided) {
  const Report report = example();
  const std::string text = to_json(report);
  EXPECT_EQ(text, to_json(example()));
  const auto json = files::parse_json(text, "report");
  ASSERT_TRUE(json);
  EXPECT_EQ((*json)["verdict"], "refuse");
  EXPECT_EQ((*json)["answers"]["cosine"]["p1"], 0.93);
  EXPECT_EQ((*json)["answers"]["labels"]["flipped"], 60);
  EXPECT_EQ((*json)["layers"][0]["relative_error"], nullptr);
  EXPECT_EQ((*json)["layers"][1]["sensitivity"], 0.02);
  EXPECT_EQ((*json)["thresholds"]["cosine_p1"]["refuse"], 0.9);
  EXPECT_FALSE(report.faster());

  const auto vouch = read(text);
  ASSERT_TRUE(vouch);
  EXPECT_EQ(vouch->source_digest, "aa");
  EXPECT_EQ(vouch->quantized_digest, "bb");
  EXPECT_EQ(vouch->verdict, Verdict::kRefuse);
  EXPECT_EQ(vouch->reasons,
            "cosine p1 is 0.93, below 0.95; the share of flipped labels is 0.05, above 0.03; "
            "the relative error of layer.0 is inf, above 0.15");
}

TEST_F(ReportTest, IsDistrustedWhenItIsNotOne) {
  const auto message = [&](const std::string& text) {
    const auto vouch = read(text);
    EXPECT_FALSE(vouch) << text;
    return vouch ? "" : vouch.error().message;
  };
  EXPECT_NE(message("{"), "");
  EXPECT_NE(message("[]").find("version"), std::string::npos);
  EXPECT_NE(message(R"({"version": 2})").find("\"version\" is not 1"), std::string::npos);
  EXPECT_NE(message(R"({"version": 1})").find("source_digest"), std::string::npos);
  const std::string digests = R"("version": 1, "source_digest": "a", "quantized_digest": "b")";
  EXPECT_NE(message("{" + digests + R"(, "verdict": "fine"})").find("verdict"), std::string::npos);
  EXPECT_NE(message("{" + digests + R"(, "verdict": "pass", "reasons": [1]})").find("reasons"),
            std::string::npos);
  // Types that nobody would write.
  EXPECT_NE(message("{" + digests + R"(, "verdict": ["pass"]})"), "");
  EXPECT_NE(message("{" + digests + R"(, "verdict": "pass", "reasons": 3.5})"), "");
  EXPECT_EQ(read_report(dir_.path() + "/none").error().code, base::Code::kNotFound);
}

}  // namespace
}  // namespace nacelle::quantize
