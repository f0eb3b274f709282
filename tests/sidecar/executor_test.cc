// Batches on a model that runs out of memory: halves are run, and only what does not fit alone
// fails.
#include "sidecar/executor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <new>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "sidecar/base/check.h"
#include "tests/support/data.h"

namespace nacelle::sidecar {
namespace {

using base::Code;
using ::testing::HasSubstr;

// A real model on a device with room for so many tokens at a time.
class Cramped final : public model::Model {
 public:
  enum class Way { kStatus, kThrows, kDefect };

  explicit Cramped(std::unique_ptr<model::Model> real) : real_(std::move(real)) {}
  [[nodiscard]] const model::Info& info() const override { return real_->info(); }
  [[nodiscard]] const tokenizer::Tokenizer& tokenizer() const override {
    return real_->tokenizer();
  }
  base::Status run(model::Task task, const model::Packed& batch,
                   std::span<float* const> rows) override {
    ++runs;
    if (batch.ids.size() <= room) return real_->run(task, batch, rows);
    // What a device does that fails half way: some of the rows are written.
    for (float* row : rows.first(rows.size() / 2)) std::fill_n(row, info().row_width(task), -7.0F);
    if (way == Way::kThrows) throw std::bad_alloc();
    if (way == Way::kDefect) return base::Error{Code::kInternal, "the device is broken"};
    return base::Error{Code::kUnavailable, "cudaMalloc: out of memory"};
  }

  std::size_t room = SIZE_MAX;
  Way way = Way::kStatus;
  int runs = 0;

 private:
  std::unique_ptr<model::Model> real_;
};

// A request and the memory that its rows go to.
struct Wanted {
  Request request;
  std::vector<std::byte> reply;
};

class ExecutorTest : public ::testing::Test {
 protected:
  ExecutorTest() {
    auto backend = kernels::create_backend("auto", 1);
    CHECK(backend.has_value());
    backend_ = *std::move(backend);
    Config config;
    config.services = {{"tiny", testing::data_path("tiny-bert")}};
    config.scheduler.measure_ms = 0;
    auto services = Services::load(config, *backend_);
    CHECK(services.has_value());
    services_ = std::make_unique<Services>(*std::move(services));
    LoadedService& service = services_->at(0);
    auto cramped = std::make_unique<Cramped>(std::move(service.model));
    model_ = cramped.get();
    service.model = std::move(cramped);
    width_ = model_->info().embed_width;
    client_->account = counters_.accounts.open("tests", 0);
  }

  // Texts of so many tokens each; one text of several windows when `chunked`.
  std::unique_ptr<Wanted> want(const std::vector<std::uint32_t>& windows, bool chunked = false) {
    auto wanted = std::make_unique<Wanted>();
    Request& request = wanted->request;
    request.client = client_;
    const auto count = static_cast<std::uint32_t>(windows.size());
    request.texts = chunked ? 1 : count;
    request.plan = {.width = width_,
                    .size = static_cast<std::uint32_t>(width_ * sizeof(float)),
                    .direct = !chunked};
    request.offsets = {0};
    for (const std::uint32_t tokens : windows) {
      for (std::uint32_t i = 0; i < tokens; ++i) {
        request.ids.push_back(
            static_cast<std::uint32_t>(random_() % model_->tokenizer().vocabulary_size()));
      }
      request.offsets.push_back(static_cast<std::uint32_t>(request.ids.size()));
    }
    request.types.assign(request.ids.size(), 0);
    if (chunked) request.first_windows = {0, count};
    wanted->reply.assign(shm::row_list_size(request.texts, request.plan.size, false),
                         std::byte{0xEE});
    request.reply = wanted->reply;
    return wanted;
  }

  static Batch batch_of(const std::vector<std::unique_ptr<Wanted>>& all) {
    Batch batch;
    for (const auto& wanted : all) {
      Request& request = wanted->request;
      request.failed.reset();
      batch.slices.push_back({.request = &request, .first = 0, .count = request.windows()});
      batch.tokens += static_cast<std::uint32_t>(request.ids.size());
      for (std::uint32_t i = 0; i < request.windows(); ++i) {
        batch.texts += request.tokens(i) > 0 ? 1U : 0U;
      }
    }
    batch.clients = 1;
    return batch;
  }

  // Runs them together without a limit, and keeps what came out.
  std::vector<std::vector<std::byte>> right_answers(
      const std::vector<std::unique_ptr<Wanted>>& all) {
    model_->room = SIZE_MAX;
    Batch batch = batch_of(all);
    const base::Status done = executor().run(batch);
    CHECK(done.has_value());
    std::vector<std::vector<std::byte>> answers;
    for (const auto& wanted : all) {
      answers.push_back(wanted->reply);
      std::ranges::fill(wanted->reply, std::byte{0xEE});
    }
    model_->runs = 0;
    return answers;
  }
  // The same bytes, without what stands before the rows: the reports are intake's.
  static bool same_rows(const Wanted& wanted, const std::vector<std::byte>& right) {
    const std::size_t rows = shm::rows_offset(wanted.request.texts, false);
    return std::equal(wanted.reply.begin() + static_cast<std::ptrdiff_t>(rows), wanted.reply.end(),
                      right.begin() + static_cast<std::ptrdiff_t>(rows));
  }
  Executor& executor() {
    if (!executor_) executor_.emplace(*services_, counters_);
    return *executor_;
  }

  std::unique_ptr<kernels::Backend> backend_;
  std::unique_ptr<Services> services_;
  Cramped* model_ = nullptr;
  std::uint32_t width_ = 0;
  Counters counters_;
  std::shared_ptr<ClientState> client_ = std::make_shared<ClientState>();
  std::optional<Executor> executor_;
  std::mt19937 random_{11};
};

TEST_F(ExecutorTest, ABatchThatDoesNotFitIsHalvedAndEveryAnswerIsTheSame) {
  std::vector<std::unique_ptr<Wanted>> all;
  for (const std::uint32_t tokens : {5U, 9U, 3U, 12U, 4U, 7U, 8U, 2U})
    all.push_back(want({tokens}));
  const auto right = right_answers(all);
  for (const auto way : {Cramped::Way::kStatus, Cramped::Way::kThrows}) {
    for (const std::size_t room : {49U, 29U, 15U, 12U}) {
      Batch batch = batch_of(all);
      model_->room = room;
      model_->way = way;
      model_->runs = 0;
      ASSERT_TRUE(executor().run(batch));
      EXPECT_GT(model_->runs, 1);
      EXPECT_LE(model_->runs, 15) << "a tree over 8 texts has 15 nodes";
      for (std::size_t i = 0; i < all.size(); ++i) {
        EXPECT_FALSE(all[i]->request.failed);
        EXPECT_TRUE(same_rows(*all[i], right[i])) << "room " << room << ", request " << i;
      }
    }
  }
}

TEST_F(ExecutorTest, OnlyTheTextThatDoesNotFitAloneFails) {
  for (std::size_t culprit = 0; culprit < 6; ++culprit) {
    std::vector<std::unique_ptr<Wanted>> all;
    for (std::size_t i = 0; i < 6; ++i) {
      all.push_back(i == culprit ? want({4, 20, 3}) : want({6, 0, 5}));
    }
    const auto right = right_answers(all);
    const std::uint64_t texts = counters_.texts.get();
    Batch batch = batch_of(all);
    model_->room = 19;
    ASSERT_TRUE(executor().run(batch));
    for (std::size_t i = 0; i < all.size(); ++i) {
      const auto& failed = all[i]->request.failed;
      ASSERT_EQ(failed.has_value(), i == culprit) << i;
      if (failed) {
        EXPECT_EQ(failed->code, Code::kTooLarge);
        EXPECT_THAT(failed->message, HasSubstr("even alone"));
        EXPECT_LE(failed->message.size(), shm::kReplyInline);
      } else {
        EXPECT_TRUE(same_rows(*all[i], right[i])) << i;
      }
    }
    EXPECT_EQ(counters_.texts.get() - texts, 12U) << "what was computed is counted";
  }
}

TEST_F(ExecutorTest, AMeanOverWindowsIsTheSameFromHalvesAndFailsAsAWhole) {
  std::vector<std::unique_ptr<Wanted>> all;
  all.push_back(want({8, 8, 5}, true));
  all.push_back(want({3, 16, 4, 8}, true));
  all.push_back(want({7, 9}, true));
  const auto right = right_answers(all);
  for (const std::size_t room : {40U, 20U, 16U}) {
    Batch batch = batch_of(all);
    model_->room = room;
    ASSERT_TRUE(executor().run(batch));
    for (std::size_t i = 0; i < all.size(); ++i) {
      EXPECT_TRUE(same_rows(*all[i], right[i])) << "room " << room << ", request " << i;
    }
  }
  Batch batch = batch_of(all);
  model_->room = 15;  // the second text's second window does not fit
  ASSERT_TRUE(executor().run(batch));
  EXPECT_FALSE(all[0]->request.failed);
  ASSERT_TRUE(all[1]->request.failed);
  EXPECT_FALSE(all[2]->request.failed);
  EXPECT_TRUE(same_rows(*all[0], right[0]));
  EXPECT_TRUE(same_rows(*all[2], right[2]));
}

TEST_F(ExecutorTest, AFirstWindowThatDoesNotFitFailsItsTextAndNoOther) {
  std::vector<std::unique_ptr<Wanted>> all;
  all.push_back(want({20, 8, 5}, true));
  all.push_back(want({7, 9}, true));
  const auto right = right_answers(all);
  Batch batch = batch_of(all);
  model_->room = 19;
  ASSERT_TRUE(executor().run(batch));
  EXPECT_TRUE(all[0]->request.failed);
  EXPECT_FALSE(all[1]->request.failed);
  EXPECT_TRUE(same_rows(*all[1], right[1]));
}

TEST_F(ExecutorTest, WithoutAnyMemoryEveryRequestIsToldAndTheNextBatchRuns) {
  std::vector<std::unique_ptr<Wanted>> all;
  for (int i = 0; i < 5; ++i) all.push_back(want({6, 4}));
  const auto right = right_answers(all);
  Batch batch = batch_of(all);
  model_->room = 0;
  ASSERT_TRUE(executor().run(batch));
  for (const auto& wanted : all) EXPECT_TRUE(wanted->request.failed);
  batch = batch_of(all);
  model_->room = SIZE_MAX;
  ASSERT_TRUE(executor().run(batch));
  for (std::size_t i = 0; i < all.size(); ++i) EXPECT_TRUE(same_rows(*all[i], right[i]));
}

TEST_F(ExecutorTest, ADefectIsNotTriedAgain) {
  std::vector<std::unique_ptr<Wanted>> all;
  for (int i = 0; i < 4; ++i) all.push_back(want({6}));
  Batch batch = batch_of(all);
  model_->room = 0;
  model_->way = Cramped::Way::kDefect;
  const base::Status done = executor().run(batch);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Code::kInternal);
  EXPECT_EQ(model_->runs, 1);
}

}  // namespace
}  // namespace nacelle::sidecar
