// The model store: what it lists, what it finds, and names that must not leave it.
#include "sidecar/store/store.h"
#include "tests/support/temp_dir.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace nacelle::store {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

class StoreTest : public ::testing::Test {
 protected:
  void add(const std::string& name) const {
    fs::create_directories(root_ / name);
    std::ofstream(root_ / name / "config.json") << "{}";
  }
  [[nodiscard]] std::string find_error(const std::string& reference) const {
    const auto found = Store(root_.string()).find(reference);
    return found ? "" : found.error().message;
  }

  testing::TempDir folder_;
  fs::path root_ = folder_.path();
};

TEST_F(StoreTest, EntriesAreTheFoldersWithAConfigSorted) {
  add("sentiment");
  add("minilm");
  fs::create_directories(root_ / "empty");
  std::ofstream(root_ / "README.md") << "not a model";
  const auto names = Store(root_.string()).entries();
  ASSERT_TRUE(names) << names.error().message;
  EXPECT_EQ(*names, (std::vector<std::string>{"minilm", "sentiment"}));
}

TEST_F(StoreTest, FindsAnEntryByNameAndAModelByPath) {
  add("minilm");
  const std::string path = (root_ / "minilm").string();
  for (const std::string& reference : {std::string("minilm"), path}) {
    const auto found = Store(root_.string()).find(reference);
    ASSERT_TRUE(found) << found.error().message;
    EXPECT_EQ(*found, path);
  }
  EXPECT_TRUE(Store("").find(path));
}

TEST_F(StoreTest, AnUnknownNameListsWhatThereIs) {
  add("minilm");
  add("sentiment");
  EXPECT_EQ(find_error("qwen"),
            "no model \"qwen\" in " + root_.string() + "; it has: minilm, sentiment");
}

TEST_F(StoreTest, AnEmptyStoreSaysSo) { EXPECT_THAT(find_error("qwen"), HasSubstr("it has none")); }

TEST_F(StoreTest, ALongListIsCutShort) {
  for (int i = 10; i < 35; ++i) add("model" + std::to_string(i));
  EXPECT_THAT(find_error("qwen"), AllOf(HasSubstr("model29 and 5 more"), HasSubstr("model10, ")));
}

// Each would leave the store, or name no folder right inside it.
TEST_F(StoreTest, NamesThatCouldLeaveTheStoreAreRefused) {
  fs::create_directories(root_ / "store");
  add("outside");
  const Store store((root_ / "store").string());
  const std::vector<std::string> names = {"..",
                                          ".",
                                          "",
                                          "a/../../outside",
                                          "minilm/../../outside",
                                          "a/b",
                                          "outside/",
                                          std::string("out\0side", 8),
                                          std::string(300, 'a')};
  for (const std::string& name : names) {
    const auto found = store.find(name);
    ASSERT_FALSE(found) << name;
    EXPECT_EQ(found.error().code, base::Code::kInvalid) << name;
  }
}

TEST_F(StoreTest, APathWithoutAModelIsNotFound) {
  const auto found = Store("").find(root_.string());
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, base::Code::kNotFound);
  EXPECT_THAT(found.error().message, HasSubstr("config.json"));
}

TEST_F(StoreTest, ANameWithoutAStoreTellsWhichOptionToSet) {
  const auto found = Store("").find("minilm");
  ASSERT_FALSE(found);
  EXPECT_THAT(found.error().message, AllOf(HasSubstr("`models`"), HasSubstr("NACELLE_MODELS")));
}

TEST_F(StoreTest, AStoreThatIsNotThereTellsWhichOptionToSet) {
  const auto found = Store((root_ / "nowhere").string()).find("minilm");
  ASSERT_FALSE(found);
  EXPECT_THAT(found.error().message, AllOf(HasSubstr("nowhere"), HasSubstr("NACELLE_MODELS")));
}

}  // namespace
}  // namespace nacelle::store
