// Encoders in bf16 and int8: close to fp32, the same bytes in any batch, and the same whether they
// were quantized beforehand or while they were loaded.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "sidecar/quantize/convert.h"
#include "tests/model/fixture.h"

namespace nacelle::model {
namespace {

// Least cosine to fp32. The tiny models' random weights are harsher than trained ones.
constexpr double kBf16Cosine = 0.999;
constexpr double kInt8Cosine = 0.99;

class Precisions : public ::testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<Model> load_as(const std::string& folder, Precision precision) {
    return load_or_die(folder, *backend_, {.precision = precision});
  }
  std::unique_ptr<kernels::Backend> backend_ = make_backend(GetParam());
};

INSTANTIATE_TEST_SUITE_P(EveryBackend, Precisions, ::testing::ValuesIn(backend_names()),
                         backend_test_name);

double least_cosine(const Rows& a, const Rows& b) {
  double least = 1;
  for (std::size_t i = 0; i < a.size(); ++i) least = std::min(least, cosine(a[i], b[i]));
  return least;
}

// <folder>'s int8 model at <folder>.int8, but for the matrices in `keep`, which may be parts of a
// layer: files of other tools do that.
std::string quantized(const std::string& folder, const Info& info,
                      const std::vector<std::string>& keep = {}) {
  const std::string target = folder + ".int8";
  std::filesystem::remove_all(target);
  std::vector<quantize::Layer> matrices;
  for (const auto& layer : info.layers) {
    for (const std::string& part : layer) {
      if (std::ranges::find(keep, part) == keep.end()) matrices.push_back({part});
    }
  }
  const auto converted = quantize::convert(
      {.source = folder, .target = target, .scheme = quantize::Scheme::kInt8, .layers = matrices});
  EXPECT_TRUE(converted) << converted.error().message;
  return target;
}

TEST_P(Precisions, AreCloseToFp32InEveryFamily) {
  for (const std::string name : kFamilies) {
    const Family folder(name);
    const Batch batch = recorded_batch(read_golden(folder.path("reference.json")));
    const auto exact = load_as(folder.path(), Precision::kF32);
    EXPECT_EQ(exact->info().precision, Precision::kF32);
    const Rows expected = run_or_die(*exact, Task::kEmbed, batch);
    for (const auto& [precision, bound] :
         {std::pair{Precision::kBf16, kBf16Cosine}, std::pair{Precision::kInt8, kInt8Cosine}}) {
      const auto model = load_as(folder.path(), precision);
      EXPECT_EQ(model->info().precision, precision);
      EXPECT_FALSE(model->info().quantized);
      EXPECT_LT(model->info().memory_bytes, exact->info().memory_bytes * 3 / 2);
      const Rows rows = run_or_die(*model, Task::kEmbed, batch);
      const double least = least_cosine(rows, expected);
      EXPECT_GE(least, bound) << name;
      EXPECT_NE(rows, expected) << name;  // it is another arithmetic
      std::printf("%s: %s in %s: least cosine %.5f\n", GetParam().c_str(), name.c_str(),
                  kPrecisionNames[static_cast<std::size_t>(precision)].data(), least);
    }
  }
}

TEST_P(Precisions, ATextAloneAndInABatchGivesTheSameBytes) {
  for (const std::string name : {"bert-relu", "mpnet", "modernbert"}) {
    const Family folder(name);
    const files::Json golden = read_golden(folder.path("reference.json"));
    const std::size_t kinds = golden["items"].size();
    Batch many;
    std::vector<Batch> alone(kinds);
    const auto encoding = [&](std::size_t i) {
      const auto& item = golden["items"][i];
      return tokenizer::Encoding{item["ids"].get<std::vector<std::uint32_t>>(),
                                 item["types"].get<std::vector<std::uint32_t>>(), false};
    };
    for (std::size_t i = 0; i < 3 * kinds; ++i) many.add(encoding((i * 5 + i / kinds) % kinds));
    for (std::size_t i = 0; i < kinds; ++i) alone[i].add(encoding(i));
    for (const Precision precision : {Precision::kBf16, Precision::kInt8}) {
      const auto model = load_as(folder.path(), precision);
      const Rows together = run_or_die(*model, Task::kEmbed, many);
      for (std::size_t i = 0; i < kinds; ++i) {
        const std::vector<float> own = run_or_die(*model, Task::kEmbed, alone[i])[0];
        for (std::size_t j = 0; j < together.size(); ++j) {
          if ((j * 5 + j / kinds) % kinds != i) continue;
          EXPECT_EQ(own, together[j]) << name << " " << i;
        }
      }
    }
  }
}

TEST_P(Precisions, QuantizedBeforehandOrAtLoadIsTheSameToTheBit) {
  for (const std::string name : {"roberta", "electra", "modernbert"}) {
    const Family folder(name);
    const Batch batch = recorded_batch(read_golden(folder.path("reference.json")));
    const auto source = load_as(folder.path(), Precision::kInt8);
    const std::string target = quantized(folder.path(), source->info());
    const auto stored = load_as(target, Precision::kAuto);
    EXPECT_TRUE(stored->info().quantized);
    EXPECT_EQ(stored->info().precision, Precision::kInt8);
    EXPECT_EQ(stored->info().parameters, source->info().parameters);
    EXPECT_NE(stored->info().digest, source->info().digest);
    EXPECT_EQ(run_or_die(*stored, Task::kEmbed, batch), run_or_die(*source, Task::kEmbed, batch))
        << name;
    // What the codes stand for, in other arithmetic.
    const Rows expected = run_or_die(*load_as(folder.path(), Precision::kF32), Task::kEmbed, batch);
    for (const Precision precision : {Precision::kF32, Precision::kBf16}) {
      const auto other = load_as(target, precision);
      EXPECT_EQ(other->info().precision, precision);
      EXPECT_GE(least_cosine(run_or_die(*other, Task::kEmbed, batch), expected), kInt8Cosine);
    }
    std::filesystem::remove_all(target);
  }
}

TEST_P(Precisions, LayersMayDifferAndEvenTheirParts) {
  const Family folder("bert-relu");
  const Batch batch = recorded_batch(read_golden(folder.path("reference.json")));
  const auto exact = load_as(folder.path(), Precision::kF32);
  const Rows expected = run_or_die(*exact, Task::kEmbed, batch);
  const auto& layers = exact->info().layers;
  ASSERT_GE(layers.size(), 4U);
  ASSERT_EQ(layers[0].size(), 3U);  // query, key, value
  // One layer alone in int8, each kind of layer: closer than all of them.
  const double all = least_cosine(
      run_or_die(*load_as(folder.path(), Precision::kInt8), Task::kEmbed, batch), expected);
  for (std::size_t i = 0; i < 4; ++i) {
    const auto one = load_or_die(folder.path(), *backend_,
                                 {.precision = Precision::kInt8, .only = layers[i].back()});
    const Rows rows = run_or_die(*one, Task::kEmbed, batch);
    EXPECT_NE(rows, expected) << layers[i][0];
    EXPECT_GT(least_cosine(rows, expected), all) << layers[i][0];
  }
  // Files where one layer, and where one part of a layer, stayed floats.
  for (const std::string& keep : {layers[1][0], layers[0][1]}) {
    const std::string target = quantized(folder.path(), exact->info(), {keep});
    const auto mixed = load_as(target, Precision::kAuto);
    EXPECT_GE(least_cosine(run_or_die(*mixed, Task::kEmbed, batch), expected), kInt8Cosine);
    std::filesystem::remove_all(target);
  }
}

TEST(Precision, FilesThatHoldHalfAQuantizedLayerAreRefused) {
  const Family folder("bert-relu");
  const auto backend = make_backend("reference", 1);
  const auto exact = load_or_die(folder.path(), *backend);
  const std::string part = exact->info().layers[0][0];
  const std::string target = quantized(folder.path(), exact->info());
  TemporaryFolder spoiled;
  std::filesystem::copy(target, spoiled.path(), std::filesystem::copy_options::recursive);
  spoiled.edit_header([&](files::Json& header) {
    header[part + ".weight_other"] = header[part + ".weight_scale"];
    header.erase(part + ".weight_scale");
  });
  EXPECT_THAT(load_error(spoiled.path()),
              ::testing::HasSubstr("\"" + part + ".weight_scale\" is missing"));
  std::filesystem::remove_all(target);
}

TEST(Precision, WhatAnOperatorAsksForMeetsWhatTheFilesHold) {
  using kernels::LinearFormat;
  struct Row {
    Precision wanted;
    bool stored_as_int8;
    LinearFormat format;
  };
  for (const Row& row : {Row{Precision::kAuto, false, LinearFormat::kF32},
                         Row{Precision::kAuto, true, LinearFormat::kInt8},
                         Row{Precision::kF32, false, LinearFormat::kF32},
                         Row{Precision::kF32, true, LinearFormat::kF32},
                         Row{Precision::kBf16, false, LinearFormat::kBF16},
                         Row{Precision::kBf16, true, LinearFormat::kBF16},
                         Row{Precision::kInt8, false, LinearFormat::kInt8},
                         Row{Precision::kInt8, true, LinearFormat::kInt8}}) {
    EXPECT_EQ(format_of(row.wanted, row.stored_as_int8), row.format);
  }
}

}  // namespace
}  // namespace nacelle::model
