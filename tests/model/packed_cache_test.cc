// Packed weights kept on disk: the same answers with them, and no harm when they are not right.
#include "sidecar/model/packed_cache.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "tests/model/fixture.h"

namespace nacelle::model {
namespace {

namespace fs = std::filesystem;

class PackedCacheTest : public ::testing::Test {
 protected:
  Rows load_and_run(Precision precision = Precision::kInt8, const std::string& backend = "") {
    const auto made = make_backend(backend.empty() ? backend_names().front() : backend, 1);
    const auto model =
        load_or_die(model_.path(), *made, {.precision = precision, .packed_folder = folder()});
    return run_or_die(*model, Task::kEmbed, batch_);
  }
  [[nodiscard]] std::string folder() const { return dir_ / "packed"; }
  [[nodiscard]] std::vector<fs::path> files() const {
    std::set<fs::path> found;
    for (const auto& entry : fs::directory_iterator(folder())) found.insert(entry.path());
    return {found.begin(), found.end()};
  }
  [[nodiscard]] static std::string content(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  testing::TempDir dir_;
  Family model_{"bert-relu"};
  Batch batch_ = recorded_batch(testing::read_golden(model_.path("reference.json")));
};

TEST_F(PackedCacheTest, TheNextLoadUsesWhatTheFirstOnePacked) {
  const Rows first = load_and_run();
  ASSERT_EQ(files().size(), 1U);
  const auto written = fs::last_write_time(files()[0]);
  const auto bytes = content(files()[0]);
  EXPECT_EQ(load_and_run(), first);
  EXPECT_EQ(fs::last_write_time(files()[0]), written);  // nothing was packed again
  EXPECT_TRUE(content(files()[0]) == bytes);
  // Other arithmetic has a file of its own.
  load_and_run(Precision::kBf16);
  EXPECT_EQ(files().size(), 2U);
}

TEST_F(PackedCacheTest, EveryBackendHasItsOwn) {
  for (const std::string& name : backend_names()) {
    const Rows packed = load_and_run(Precision::kInt8, name);
    EXPECT_EQ(load_and_run(Precision::kInt8, name), packed) << name;
  }
}

// What was kept is really what is used: a change with the right checksum would change the answer,
// so each change without one must be seen.
TEST_F(PackedCacheTest, DamageIsSeenAndMended) {
  const Rows right = load_and_run();
  const fs::path file = files()[0];
  const std::string whole = content(file);
  const auto put = [&](const std::string& bytes) {
    std::ofstream(file, std::ios::binary | std::ios::trunc) << bytes;
  };
  std::vector<std::size_t> places;
  for (std::size_t at = 0; at < whole.size(); at += 1 + whole.size() / 60) places.push_back(at);
  places.push_back(whole.size() - 1);  // of the checksums
  for (const std::size_t at : places) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    put(damaged);
    EXPECT_EQ(load_and_run(), right) << at;
    EXPECT_TRUE(content(file) == whole) << at;  // mended
  }
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{7}, whole.size() / 2, whole.size() - 1}) {
    put(whole.substr(0, size));
    EXPECT_EQ(load_and_run(), right) << size;
    EXPECT_TRUE(content(file) == whole) << size;
  }
}

TEST_F(PackedCacheTest, AnotherModelsWeightsAreNotUsed) {
  const Rows right = load_and_run();
  const fs::path file = files()[0];
  const std::string of_one = content(file);
  Family other("bert-gelu-new");
  const Batch batch = recorded_batch(testing::read_golden(other.path("reference.json")));
  const auto backend = make_backend(backend_names().front(), 1);
  const LoadOptions options{.precision = Precision::kInt8, .packed_folder = folder()};
  const Rows expected = run_or_die(
      *load_or_die(other.path(), *backend, {.precision = Precision::kInt8}), Task::kEmbed, batch);
  EXPECT_EQ(run_or_die(*load_or_die(other.path(), *backend, options), Task::kEmbed, batch),
            expected);
  EXPECT_EQ(files().size(), 2U);
  EXPECT_EQ(load_and_run(), right);
}

TEST_F(PackedCacheTest, AFolderThatCannotBeWrittenCostsNothingButTime) {
  std::ofstream(folder()) << "a file, not a folder";
  const Rows rows = load_and_run();
  fs::remove(folder());
  EXPECT_EQ(load_and_run(), rows);
}

}  // namespace
}  // namespace nacelle::model
