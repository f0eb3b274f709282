// A converted model: what it holds, always the same bytes, and whole or not at all.
#include "sidecar/quantize/convert.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "sidecar/base/file.h"
#include "sidecar/files/json.h"
#include "sidecar/files/safetensors.h"
#include "sidecar/files/safetensors_writer.h"
#include "sidecar/store/store.h"
#include "tests/support/temp_dir.h"

namespace nacelle::quantize {
namespace {

namespace fs = std::filesystem;

class ConvertTest : public ::testing::Test {
 protected:
  ConvertTest() {
    fs::create_directories(dir_ / "source/1_Pooling");
    dir_.write("source/config.json", R"({"architectures": ["BertModel"], "hidden_size": 8})");
    dir_.write("source/tokenizer.json", "{}");
    dir_.write("source/pytorch_model.bin", "not ours");
    dir_.write("source/1_Pooling/config.json", R"({"word_embedding_dimension": 8})");
    dir_.write("source/notes/readme.txt", "no module");
    write_weights("source/model.safetensors", {"words.weight", "a.weight", "a.bias", "b.weight"});
  }

  // Matrices are 4 x 8, everything else has 4 elements.
  void write_weights(const std::string& name, const std::vector<std::string>& tensors) {
    std::vector<files::TensorEntry> entries;
    for (const std::string& tensor : tensors) {
      const bool matrix = tensor.ends_with(".weight");
      entries.push_back(
          {tensor, "F32",
           matrix ? std::vector<std::uint64_t>{4, 8} : std::vector<std::uint64_t>{4}});
    }
    auto writer = files::SafetensorsWriter::create(dir_ / name, entries, {});
    ASSERT_TRUE(writer) << writer.error().message;
    for (const std::string& tensor : tensors) {
      std::vector<float> values(tensor.ends_with(".weight") ? 32 : 4);
      for (float& x : values) x = normal_(random_);
      ASSERT_TRUE(writer->append(std::as_bytes(std::span(values))));
    }
    ASSERT_TRUE(writer->finish());
  }

  [[nodiscard]] Conversion int8(const std::string& target) const {
    return {.source = dir_ / "source",
            .target = dir_ / target,
            .scheme = Scheme::kInt8,
            .layers = {{"a"}, {"b"}}};
  }

  testing::TempDir dir_;
  std::mt19937 random_{5};
  std::normal_distribution<float> normal_;
};

TEST_F(ConvertTest, Int8HasCodesAndScalesForLayersAndLeavesTheRest) {
  Conversion conversion = int8("out");
  conversion.keep = {{"b"}};
  const auto layers = convert(conversion);
  ASSERT_TRUE(layers) << layers.error().message;
  ASSERT_EQ(layers->size(), 1U);
  EXPECT_EQ((*layers)[0].name, "a.weight");
  EXPECT_GT((*layers)[0].relative_error, 0);
  EXPECT_LT((*layers)[0].worst_row_error, 0.02);

  const auto before = files::Safetensors::open(dir_ / "source/model.safetensors");
  const auto after = files::Safetensors::open(dir_ / "out/model.safetensors");
  ASSERT_TRUE(after) << after.error().message;
  EXPECT_EQ(after->tensors().size(), 5U);
  for (const char* name : {"words.weight", "a.bias", "b.weight"}) {
    EXPECT_EQ(after->find(name)->dtype, "F32");
    EXPECT_TRUE(std::ranges::equal(after->find(name)->bytes, before->find(name)->bytes)) << name;
  }
  const files::TensorView& codes = *after->find("a.weight");
  const files::TensorView& scales = *after->find("a.weight_scale");
  EXPECT_EQ(codes.dtype, "I8");
  EXPECT_EQ(scales.shape, (std::vector<std::uint64_t>{4, 1}));
  for (std::size_t i = 0; i < 32; ++i) {
    float weight = 0;
    float scale = 0;
    std::memcpy(&weight, before->find("a.weight")->bytes.data() + 4 * i, 4);
    std::memcpy(&scale, scales.bytes.data() + 4 * (i / 8), 4);
    const auto code = static_cast<std::int8_t>(codes.bytes[i]);
    EXPECT_LE(std::abs(static_cast<float>(code) * scale - weight), 0.501F * scale);
  }

  const auto config = files::read_json(dir_ / "out/config.json", 1 << 20);
  ASSERT_TRUE(config);
  EXPECT_EQ((*config)["hidden_size"], 8);
  EXPECT_EQ((*config)["quantization_config"]["quant_method"], "compressed-tensors");
  EXPECT_EQ((*config)["quantization_config"]["ignore"], files::Json({"b", "words"}));
  EXPECT_TRUE(fs::exists(dir_ / "out/tokenizer.json"));
  EXPECT_TRUE(fs::exists(dir_ / "out/1_Pooling/config.json"));
  EXPECT_FALSE(fs::exists(dir_ / "out/pytorch_model.bin"));
  EXPECT_FALSE(fs::exists(dir_ / "out/notes"));
  EXPECT_FALSE(fs::exists(dir_ / "out.partial"));
}

TEST_F(ConvertTest, HalvesHoldEveryMatrix) {
  for (const Scheme scheme : {Scheme::kF16, Scheme::kBf16}) {
    const std::string name(scheme_name(scheme));
    Conversion conversion = int8(name);
    conversion.scheme = scheme;
    conversion.keep = {{"b"}};
    const auto layers = convert(conversion);
    ASSERT_TRUE(layers) << layers.error().message;
    EXPECT_EQ(layers->size(), 2U);  // the table, too
    EXPECT_LT((*layers)[0].relative_error, scheme == Scheme::kF16 ? 0.0005 : 0.004);
    const auto file = files::Safetensors::open(dir_ / (name + "/model.safetensors"));
    ASSERT_TRUE(file);
    const char* dtype = scheme == Scheme::kF16 ? "F16" : "BF16";
    EXPECT_EQ(file->find("words.weight")->dtype, dtype);
    EXPECT_EQ(file->find("a.weight")->dtype, dtype);
    EXPECT_EQ(file->find("b.weight")->dtype, "F32");
    EXPECT_EQ(file->find("a.bias")->dtype, "F32");
  }
}

TEST_F(ConvertTest, TheSameSourceGivesTheSameBytes) {
  ASSERT_TRUE(convert(int8("one")));
  ASSERT_TRUE(convert(int8("two")));
  const auto digest = store::digest(dir_ / "one");
  ASSERT_TRUE(digest);
  EXPECT_EQ(*digest, *store::digest(dir_ / "two"));
  EXPECT_NE(*digest, *store::digest(dir_ / "source"));
}

TEST_F(ConvertTest, ShardsBecomeOneFile) {
  fs::create_directory(dir_ / "shards");
  dir_.write("shards/config.json", "{}");
  write_weights("shards/model-00001-of-00002.safetensors", {"a.weight"});
  write_weights("shards/model-00002-of-00002.safetensors", {"b.weight", "a.bias"});
  Conversion conversion = int8("out");
  conversion.source = dir_ / "shards";
  ASSERT_TRUE(convert(conversion));
  const auto file = files::Safetensors::open(dir_ / "out/model.safetensors");
  ASSERT_TRUE(file);
  EXPECT_EQ(file->tensors().size(), 5U);

  write_weights("shards/model-00003-of-00002.safetensors", {"a.weight"});
  conversion.target = dir_ / "twice";
  const auto twice = convert(conversion);
  ASSERT_FALSE(twice);
  EXPECT_NE(twice.error().message.find("in another shard"), std::string::npos);
}

TEST_F(ConvertTest, SaysWhatIsWrongAndLeavesNothing) {
  const auto message = [&](const Conversion& conversion) {
    const auto result = convert(conversion);
    EXPECT_FALSE(fs::exists(dir_ / "out.partial"));
    return result ? "" : result.error().message;
  };
  Conversion conversion = int8("out");
  conversion.layers = {{"a", "c"}};
  EXPECT_NE(message(conversion).find("no layer \"c\""), std::string::npos);
  conversion = int8("out");
  conversion.layers = {{"a.bias"}};
  EXPECT_NE(message(conversion).find("no layer"), std::string::npos);
  conversion = int8("out");
  conversion.keep = {{"c"}};
  EXPECT_NE(message(conversion).find("to keep"), std::string::npos);
  conversion = int8("out");
  conversion.source = dir_ / "none";
  EXPECT_NE(message(conversion), "");
  EXPECT_FALSE(fs::exists(dir_ / "out"));

  ASSERT_EQ(message(int8("out")), "");
  EXPECT_NE(message(int8("out")).find("exists"), std::string::npos);
  conversion = int8("again");
  conversion.source = dir_ / "out";  // its layers hold codes
  EXPECT_NE(message(conversion).find("no layer \"a\" with a matrix of F32"), std::string::npos);
  EXPECT_NE(message(int8("not/there")).find("cannot be made"), std::string::npos);
}

TEST_F(ConvertTest, WeightsThatAreNotNumbersAreRefused) {
  auto writer = files::SafetensorsWriter::create(dir_ / "bad", {{"a.weight", "F32", {1, 2}}}, {});
  const std::vector<float> values = {70000, NAN};
  ASSERT_TRUE(writer->append(std::as_bytes(std::span(values))));
  ASSERT_TRUE(writer->finish());
  fs::rename(dir_ / "bad", dir_ / "source/model.safetensors");
  for (const Scheme scheme : {Scheme::kF16, Scheme::kBf16, Scheme::kInt8}) {
    Conversion conversion = int8("out");
    conversion.scheme = scheme;
    conversion.layers = {{"a"}};
    const auto result = convert(conversion);
    ASSERT_FALSE(result);
    EXPECT_NE(result.error().message.find("\"a.weight\" at byte"), std::string::npos);
    EXPECT_NE(result.error().message.find(scheme_name(scheme)), std::string::npos);
  }
}

// What the disk says when it is full, at every size of the file that is written.
TEST_F(ConvertTest, ADiskThatIsFullIsAnErrorAndLeavesNothing) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);  // so that the limit is an error instead
    const auto largest = fs::file_size(dir_ / "source/model.safetensors");
    int wrong = 0;
    // The new weights have more than half the bytes of the source's.
    for (rlim_t size = 0; size < largest / 2; size += 20) {
      const rlimit limit{size, RLIM_INFINITY};
      ::setrlimit(RLIMIT_FSIZE, &limit);
      const auto result = convert(int8("full"));
      const bool there = fs::exists(dir_ / "full") || fs::exists(dir_ / "full.partial");
      wrong += result || there || result.error().code != base::Code::kUnavailable ? 1 : 0;
    }
    ::_exit(wrong);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(ConvertTest, KilledAtAnyMomentTheTargetIsWholeOrNotThere) {
  ASSERT_TRUE(convert(int8("whole")));
  const std::string expected = *store::digest(dir_ / "whole");
  int killed = 0;
  std::printf("seed 5\n");
  for (int trial = 0; trial < 60; ++trial) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      for (;;) {
        static_cast<void>(convert(int8("out")).has_value());
        fs::remove_all(dir_ / "out.gone");
        fs::rename(dir_ / "out", dir_ / "out.gone");
      }
    }
    ::usleep(static_cast<useconds_t>(random_() % 3000));
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    killed += WIFSIGNALED(status) ? 1 : 0;
    if (fs::exists(dir_ / "out")) {
      EXPECT_EQ(*store::digest(dir_ / "out"), expected);
      fs::remove_all(dir_ / "out");
    }
  }
  EXPECT_GT(killed, 0);
  ASSERT_TRUE(convert(int8("out")));  // whatever was left behind is no hindrance
  EXPECT_EQ(*store::digest(dir_ / "out"), expected);
}

}  // namespace
}  // namespace nacelle::quantize
