// run() with batches that do not fit its contract: an error, never a read out of bounds.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/model/fixture.h"

namespace nacelle::model {
namespace {

using ::testing::HasSubstr;

class BadBatch : public ::testing::Test {
 protected:
  // The message that running `batch` gives; empty when it runs.
  std::string error(const Packed& batch, std::size_t rows, Task task = Task::kEmbed) {
    std::vector<std::vector<float>> out(rows, std::vector<float>(kWidth));
    std::vector<float*> pointers;
    for (auto& row : out) pointers.push_back(row.data());
    const auto status = model_->run(task, batch, pointers);
    return status ? "" : status.error().message;
  }

  static constexpr std::size_t kWidth = 32;
  std::unique_ptr<kernels::Backend> backend_ = make_backend("auto", 1);
  std::unique_ptr<Model> model_ = load_or_die(data_path("tiny-bert"), *backend_);
  std::vector<std::uint32_t> ids_ = {2, 10, 3, 2, 3};
  std::vector<std::uint32_t> types_ = {0, 0, 0, 0, 0};
  std::vector<std::uint32_t> offsets_ = {0, 3, 5};
};

TEST_F(BadBatch, TheGoodOneRuns) { EXPECT_EQ(error({ids_, types_, offsets_}, 2), ""); }

TEST_F(BadBatch, NoSequencesIsNothingToDo) {
  const std::vector<std::uint32_t> offsets = {0};
  EXPECT_EQ(error({{}, {}, offsets}, 0), "");
}

TEST_F(BadBatch, AnIdBehindTheVocabularyIsRefused) {
  for (const std::uint32_t lie : {92U, 1U << 31, UINT32_MAX}) {
    ids_[4] = lie;
    EXPECT_THAT(error({ids_, types_, offsets_}, 2), HasSubstr("token 4 has id "));
  }
}

TEST_F(BadBatch, ATypeBehindTheTableIsRefused) {
  types_[1] = 2;
  EXPECT_THAT(error({ids_, types_, offsets_}, 2), HasSubstr("token 1 has id 10 and type 2"));
}

TEST_F(BadBatch, OffsetsThatLieAreRefused) {
  using Offsets = std::vector<std::uint32_t>;
  for (const Offsets& lie :
       {Offsets{}, Offsets{0}, Offsets{0, 5}, Offsets{0, 3, 4}, Offsets{0, 3, 6}, Offsets{1, 3, 5},
        Offsets{0, 0, 5}, Offsets{0, 5, 5}, Offsets{0, 7, 5}, Offsets{0, UINT32_MAX, 5}}) {
    EXPECT_NE(error({ids_, types_, lie}, 2), "");
  }
}

TEST_F(BadBatch, TypesAndIdsMustBeEquallyMany) {
  types_.pop_back();
  EXPECT_THAT(error({ids_, types_, offsets_}, 2), HasSubstr("ids and types differ"));
}

TEST_F(BadBatch, ATextOverTheLimitIsRefusedAndOneAtTheLimitRuns) {
  for (const std::uint32_t tokens : {24U, 25U}) {
    const std::vector<std::uint32_t> ids(tokens, 10);
    const std::vector<std::uint32_t> types(tokens, 0);
    const std::vector<std::uint32_t> offsets = {0, tokens};
    const std::string message = error({ids, types, offsets}, 1);
    if (tokens == 24) {
      EXPECT_EQ(message, "");
    } else {
      EXPECT_THAT(message, HasSubstr("sequence 0 has 25 tokens; the limit is 24"));
    }
  }
}

TEST_F(BadBatch, ATaskThatTheModelLacksIsRefused) {
  EXPECT_THAT(error({ids_, types_, offsets_}, 2, Task::kClassify), HasSubstr("no labels"));
}

}  // namespace
}  // namespace nacelle::model
