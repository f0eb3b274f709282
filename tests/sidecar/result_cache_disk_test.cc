// Answers that outlive the sidecar: a whole one with small models, started again on the same
// directory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "sidecar/result_cache.h"
#include "tests/sidecar/texts_fixture.h"

namespace nacelle::sidecar {
namespace {

using ::testing::HasSubstr;

class ResultCacheDiskTest : public TextsTest {
 protected:
  void SetUp() override {
    TextsTest::SetUp();
    config_.cache.memory_bytes = 16ULL << 20;
    config_.cache.directory = dir_ / "cache";
    config_.cache.disk_bytes = 4ULL << 20;
    for (std::size_t i = 0; i < 20; ++i) texts_.push_back(words(3 + i) + std::to_string(i));
  }
  Rows embed(CallOptions options = {}) {
    const auto client = connect();
    const std::vector<std::string_view> views(texts_.begin(), texts_.end());
    auto rows = client->embed("embed", views, options);
    CHECK(rows.has_value());
    return *std::move(rows);
  }
  [[nodiscard]] std::uint64_t computed() const { return pipeline_->report().totals.texts; }
  // Every file of the domain's journal, the largest ones being its segments.
  [[nodiscard]] std::vector<std::filesystem::path> files() const {
    std::vector<std::filesystem::path> found;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(dir_ / "cache")) {
      if (entry.is_regular_file() && entry.file_size() > 0) found.push_back(entry.path());
    }
    return found;
  }

  std::vector<std::string> texts_;
};

TEST_F(ResultCacheDiskTest, ASidecarThatComesBackKnowsItsAnswers) {
  for (const char* durability : {"none", "interval", "always"}) {
    SCOPED_TRACE(durability);
    config_.cache.directory = dir_ / durability;
    config_.cache.durability = durability;
    start();
    const Rows first = embed();
    EXPECT_EQ(computed(), texts_.size());
    pipeline_.reset();
    start();
    const Rows again = embed();
    EXPECT_EQ(computed(), 0U);
    EXPECT_EQ(again.report.items_cached, texts_.size());
    EXPECT_EQ(
        std::memcmp(again.values.data(), first.values.data(), first.values.size() * sizeof(float)),
        0);
    pipeline_.reset();
  }
}

TEST_F(ResultCacheDiskTest, WithoutADirectoryItBeginsAnew) {
  config_.cache.directory.clear();
  start();
  embed();
  pipeline_.reset();
  start();
  EXPECT_EQ(embed().report.items_cached, 0U);
  EXPECT_EQ(computed(), texts_.size());
}

// Whatever was done to the files: the right bytes, or computed once more.
TEST_F(ResultCacheDiskTest, DamagedFilesCostAnswersAndNothingElse) {
  start();
  const Rows first = embed();
  pipeline_.reset();
  for (const std::filesystem::path& path : files()) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    for (std::uintmax_t at = 5000; at < std::filesystem::file_size(path); at += 5000) {
      file.seekp(static_cast<std::streamoff>(at));
      file.put('\x55');
    }
  }
  start();
  const Rows again = embed();
  EXPECT_EQ(
      std::memcmp(again.values.data(), first.values.data(), first.values.size() * sizeof(float)),
      0);
  EXPECT_EQ(again.report.items_cached + computed(), texts_.size());
  EXPECT_GT(computed(), 0U) << "some were damaged";
}

TEST_F(ResultCacheDiskTest, AnotherSidecarOnTheDirectoryIsRefused) {
  start();
  Config other = config_;
  other.socket = dir_ / "other.sock";
  const auto refused = Pipeline::start(other, *services_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, base::Code::kBusy);
  EXPECT_THAT(refused.error().message, HasSubstr("cache.directory"));
  pipeline_.reset();
  EXPECT_TRUE(Pipeline::start(other, *services_)) << "it is free again";
}

TEST_F(ResultCacheDiskTest, ADirectoryThatCannotBeIsSaidSo) {
  config_.cache.directory = dir_ / "no/such";
  const auto refused = Pipeline::start(config_, *services_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, base::Code::kUnavailable);
  EXPECT_THAT(refused.error().message, HasSubstr("cache.directory"));
}

}  // namespace
}  // namespace nacelle::sidecar
