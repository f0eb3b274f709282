// D5: memory runs out at each allocation of an operation in turn: tokenizing a text, running a
// batch, replying; D6: at each request for the device's memory, while services are loaded. The
// process lives, what was asked is answered rightly or refused, nothing leaks, and the next try is
// as the first.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "kernels/kernels.h"
#include "shm/shm.h"
#include "sidecar/base/check.h"
#include "sidecar/base/log.h"
#include "sidecar/executor.h"
#include "sidecar/replier.h"
#include "sidecar/services.h"
#include "sidecar/windows.h"
#include "tests/crash/trials.h"
#include "tests/support/data.h"
#include "tests/support/failing_new.h"
#include "tests/support/raw_client.h"
#include "tests/support/temp_dir.h"
#include "tests/support/wire.h"

namespace nacelle::crash {
namespace {

using nacelle::testing::FailingNew;
using nacelle::testing::live_objects;
using sidecar::Batch;
using sidecar::Executor;
using sidecar::Request;
using sidecar::Services;

class AllocationTest : public ::testing::Test {
 protected:
  AllocationTest() {
    base::set_log_level(base::LogLevel::kError);
    auto backend = kernels::create_backend("auto", 2);
    CHECK(backend.has_value());
    backend_ = *std::move(backend);
    config_.services = {{"tiny", nacelle::testing::data_path("tiny-bert")}};
  }
  base::Result<Services> load() { return Services::load(config_, *backend_); }
  Services load_well() {
    auto services = load();
    CHECK(services.has_value());
    return *std::move(services);
  }

  // `operate` with one allocation after the other failing, `trials` of them evenly chosen when
  // there are more; then `judge`, with plenty of memory.
  template <typename Operate, typename Judge>
  static void fail_each(Trials& trials, Operate&& operate, Judge&& judge) {
    const std::uint64_t before = nacelle::testing::allocations();
    operate();
    const std::uint64_t all = nacelle::testing::allocations() - before;
    judge(0);
    ASSERT_GT(all, 0U);
    const std::uint64_t stride = std::max<std::uint64_t>(1, all / trials.count());
    for (std::uint64_t nth = 1 + trials.below(stride); nth <= all; nth += stride) {
      bool happened = false;
      {
        const FailingNew failing(nth);
        operate();
        happened = FailingNew::happened();
      }
      judge(nth);
      if (::testing::Test::HasFailure()) break;
      if (happened) trials.ran();
    }
    trials.report(::testing::Test::HasFailure() ? 1 : 0, std::to_string(all) + " allocations");
  }

  std::unique_ptr<kernels::Backend> backend_;
  sidecar::Config config_;
};

// A backend of which the nth request for memory fails; the others do as always.
class Countdown final : public kernels::Backend {
 public:
  explicit Countdown(kernels::Backend& real) : real_(real) {}
  [[nodiscard]] std::string_view name() const override { return real_.name(); }
  [[nodiscard]] std::string description() const override { return real_.description(); }
  base::Result<kernels::Buffer> allocate(std::size_t size) override {
    if (fails()) return base::Error{base::Code::kUnavailable, "no memory for a buffer"};
    return real_.allocate(size);
  }
  base::Result<std::unique_ptr<kernels::PackedLinear>> pack(
      const kernels::LinearWeights& weights) override {
    if (fails()) return base::Error{base::Code::kUnavailable, "no memory for weights"};
    return real_.pack(weights);
  }
  [[nodiscard]] std::string_view layout(kernels::LinearFormat format) const override {
    return real_.layout(format);
  }
  base::Result<std::unique_ptr<kernels::PackedLinear>> view(
      kernels::LinearFormat format, std::uint32_t inputs, std::uint32_t outputs,
      std::span<const std::byte> bytes) override {
    return real_.view(format, inputs, outputs, bytes);
  }
  void embed(const kernels::EmbedNorm& op) override { real_.embed(op); }
  void linear(const kernels::Linear& op) override { real_.linear(op); }
  void rotary(const kernels::Rotary& op) override { real_.rotary(op); }
  void attention(const kernels::Attention& op) override { real_.attention(op); }
  void gate(const kernels::Gate& op) override { real_.gate(op); }
  void layer_norm(const kernels::LayerNorm& op) override { real_.layer_norm(op); }
  void pool(const kernels::Pool& op) override { real_.pool(op); }
  void normalize(const kernels::Normalize& op) override { real_.normalize(op); }
  void quantize(const kernels::Quantize& op) override { real_.quantize(op); }

  std::uint64_t asked = 0;
  std::uint64_t nth = 0;

 private:
  bool fails() { return ++asked == nth; }
  kernels::Backend& real_;
};

TEST_F(AllocationTest, ALoadWithoutMemoryOnTheDeviceSaysSoAndLeavesNothing) {
  Trials trials("D6", 1'000);
  config_.scheduler.measure_ms = 0;  // what a clock decides about is not the same each time
  Countdown device(*backend_);
  ASSERT_TRUE(Services::load(config_, device));  // what is made once is there from here on
  const std::uint64_t all = device.asked;
  ASSERT_GT(all, 5U);
  const std::int64_t baseline = live_objects();
  for (std::uint64_t nth = 1; nth <= std::min(all, trials.count()); ++nth) {
    device.asked = 0;
    device.nth = nth;
    {
      const auto services = Services::load(config_, device);
      ASSERT_FALSE(services) << nth;
      EXPECT_EQ(services.error().code, base::Code::kUnavailable);
      EXPECT_NE(services.error().message.find("loading service tiny: "), std::string::npos)
          << services.error().message;
    }
    EXPECT_EQ(live_objects(), baseline) << "request " << nth;
    trials.ran();
  }
  device.nth = 0;
  EXPECT_TRUE(Services::load(config_, device)) << "afterwards all is well";
  trials.report(::testing::Test::HasFailure() ? 1 : 0, std::to_string(all) + " requests");
}

TEST_F(AllocationTest, TokenizingGivesTheSameTokensAfterwards) {
  Trials trials("D5", 200);
  const Services services = load_well();
  const Services undisturbed = load_well();
  sidecar::Asked asked;
  asked.long_input = shm::LongInput::kChunkMean;
  int round = 0;
  std::string text;
  const auto tokens_by = [&](const Services& by) {
    Request request;
    sidecar::Windows windows(by.at(0), asked, 128, request);
    const auto report = windows.add(text);
    CHECK(report.has_value());
    windows.finish();
    return std::move(request.ids);
  };
  const auto next_text = [&] {  // words that no cache has seen
    text = "the cat";
    for (int i = 0; i < 30; ++i) text += " Café" + std::to_string(round) + "x" + std::to_string(i);
    ++round;
  };
  next_text();
  fail_each(
      trials,
      [&] {
        try {
          tokens_by(services);
        } catch (const std::bad_alloc&) {  // as intake does
        }
      },
      [&](std::uint64_t nth) {
        EXPECT_EQ(tokens_by(services), tokens_by(undisturbed)) << "allocation " << nth;
        next_text();
      });
}

TEST_F(AllocationTest, ABatchIsAnsweredAllButWhatFailsAlone) {
  Trials trials("D5", 200);
  Services services = load_well();
  const auto width = services.at(0).model->info().embed_width;
  constexpr std::uint32_t kRequests = 6;
  sidecar::Counters counters;
  std::vector<std::unique_ptr<Request>> requests;
  std::vector<std::vector<std::byte>> replies(kRequests);
  const auto client = std::make_shared<sidecar::ClientState>();
  client->account = counters.accounts.open("tests", 0);
  for (std::uint32_t i = 0; i < kRequests; ++i) {
    auto request = std::make_unique<Request>();
    request->client = client;
    const bool is_cut = i % 2 == 1;  // a text of two windows, or two texts
    request->texts = is_cut ? 1 : 2;
    if (is_cut) request->first_windows = {0, 2};
    request->plan = {.width = width,
                     .size = static_cast<std::uint32_t>(width * sizeof(float)),
                     .direct = !is_cut};
    for (std::uint32_t id = 5; id < 12 + i; ++id) request->ids.push_back(id);
    request->types.assign(request->ids.size(), 0);
    request->offsets = {0, 3, static_cast<std::uint32_t>(request->ids.size())};
    replies[i].resize(shm::row_list_size(request->texts, request->plan.size, false));
    request->reply = replies[i];
    requests.push_back(std::move(request));
  }
  std::vector<std::vector<std::byte>> right;
  std::optional<base::Status> status;
  std::unique_ptr<Executor> executor;
  Batch batch;
  const auto prepare = [&] {  // with plenty of memory
    batch = {};
    for (auto& request : requests) {
      request->failed.reset();
      request->sum = {};
      batch.slices.push_back({.request = request.get(), .first = 0, .count = 2});
      batch.tokens += static_cast<std::uint32_t>(request->ids.size());
      batch.texts += 2;
    }
    for (auto& reply : replies) std::ranges::fill(reply, std::byte{0});
    executor = std::make_unique<Executor>(services, counters);
  };
  prepare();
  std::uint64_t refused = 0;
  fail_each(
      trials, [&] { status.emplace(executor->run(batch)); },
      [&](std::uint64_t nth) {
        EXPECT_TRUE(*status) << "allocation " << nth;
        if (nth == 0) right = replies;
        for (std::uint32_t i = 0; i < kRequests; ++i) {
          if (requests[i]->failed) {
            EXPECT_EQ(requests[i]->failed->code, base::Code::kTooLarge);
            ++refused;
          } else {
            EXPECT_EQ(replies[i], right[i]) << "allocation " << nth << ", request " << i;
          }
        }
        prepare();
      });
  EXPECT_EQ(refused, 0U) << "one failure leaves room for the next try";
}

// A client without a library, all of whose threads sleep on their replies.
struct Sleepers {
  static constexpr std::uint32_t kSlots = 6;
  Sleepers() {
    const std::string path = dir / "nacelle.sock";
    base::Result<shm::Listener> listener = shm::Listener::listen(path);
    CHECK(listener.has_value());
    std::thread other([&] { raw = std::make_unique<nacelle::testing::RawClient>(path); });
    auto [socket, hello] = nacelle::testing::meet(*listener);
    const shm::Geometry geometry{
        .slots = kSlots, .request_arena_size = 65'536, .reply_arena_size = 65'536};
    client->connection =
        *shm::Connection::open(std::move(socket), shm::Peer{}, **hello, geometry, {}, 1, 1);
    other.join();
  }
  // A request in every slot, as intake takes it and the executor fails it.
  std::vector<sidecar::Outcome> requests() {
    std::vector<sidecar::Outcome> outcomes;
    for (std::uint32_t i = 0; i < kSlots; ++i) {
      raw->slot(i).waiting.store(1);
      auto request = std::make_unique<Request>();
      request->client = client;
      request->slot = i;
      request->generation = raw->ask(i, shm::Op::kPing, "abcd");
      outcomes.push_back({std::move(request), base::Error{base::Code::kTooLarge, "no room"}});
    }
    shm::Submission submission;
    std::uint32_t cursor = 0;
    for (std::uint32_t i = 0; i < kSlots; ++i) {
      const auto taken = client->connection->take(&cursor, &submission);
      CHECK(taken.has_value() && *taken);
    }
    return outcomes;
  }

  nacelle::testing::TempDir dir;
  std::unique_ptr<nacelle::testing::RawClient> raw;
  std::shared_ptr<sidecar::ClientState> client = std::make_shared<sidecar::ClientState>();
};

TEST_F(AllocationTest, EverybodyIsAnsweredAndWoken) {
  Trials trials("D5", 1);
  Services services = load_well();
  sidecar::Counters counters;
  Sleepers sleepers;
  sleepers.client->account = counters.accounts.open("tests", 0);
  for (std::uint64_t nth = 0; nth < 5; ++nth) {  // 0: none fails
    sidecar::Replier replier(services, counters);
    std::vector<sidecar::Outcome> outcomes = sleepers.requests();
    std::vector<std::uint64_t> generations;
    for (const auto& outcome : outcomes) generations.push_back(outcome.request->generation);
    bool happened = false;
    {
      const FailingNew failing(nth);
      replier.reply(std::move(outcomes));
      happened = FailingNew::happened();
    }
    // Its first list, and the one for the thread that wakes.
    EXPECT_EQ(happened, nth == 1 || nth == 2) << nth;
    for (std::uint32_t i = 0; i < Sleepers::kSlots; ++i) {
      EXPECT_TRUE(sleepers.raw->replied(i, generations[i])) << nth;
      EXPECT_EQ(sleepers.raw->code(i), base::Code::kTooLarge);
      EXPECT_TRUE(nacelle::testing::eventually([&] {
        return sleepers.raw->reply(i).woken.load() == static_cast<std::uint32_t>(generations[i]);
      })) << nth;
      sleepers.raw->slot(i).released.store(generations[i]);
    }
    if (happened) trials.ran();
  }
  trials.report(::testing::Test::HasFailure() ? 1 : 0, "a reply to six sleepers");
}

}  // namespace
}  // namespace nacelle::crash
