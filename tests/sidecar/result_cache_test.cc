// The result cache in use: a whole sidecar with small models, and clients that read what was
// answered before.
#include "sidecar/result_cache.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <vector>

#include "shm/pending.h"
#include "tests/sidecar/texts_fixture.h"
#include "tests/support/other_process.h"

namespace nacelle::sidecar {
namespace {

using base::Code;
using shm::CacheMode;

class ResultCacheTest : public TextsTest {
 protected:
  void SetUp() override {
    TextsTest::SetUp();
    config_.cache.memory_bytes = 16ULL << 20;
  }
  // Texts that the device has computed so far, and requests about texts that were taken.
  [[nodiscard]] std::uint64_t computed() const { return pipeline_->report().totals.texts; }
  [[nodiscard]] std::uint64_t requests() const { return pipeline_->report().totals.requests; }

  static std::vector<std::string> sentences(std::size_t count, const std::string& of = "text") {
    std::vector<std::string> list;
    for (std::size_t i = 0; i < count; ++i)
      list.push_back(of + " " + words(1 + i % 9, i) + " " + std::to_string(i));
    return list;
  }
  static std::vector<std::string_view> views(const std::vector<std::string>& list) {
    return {list.begin(), list.end()};
  }
  static Rows embed(Client& client, const std::vector<std::string>& texts,
                    const CallOptions& options = {}, const char* service = "embed") {
    auto rows = client.embed(service, views(texts), options);
    CHECK(rows.has_value());
    return *std::move(rows);
  }
  static void expect_same(const Rows& a, const Rows& b) {
    ASSERT_EQ(a.values.size(), b.values.size());
    ASSERT_EQ(a.encoded, b.encoded);
    EXPECT_EQ(std::memcmp(a.values.data(), b.values.data(), a.values.size() * sizeof(float)), 0);
    ASSERT_EQ(a.items.size(), b.items.size());
    EXPECT_EQ(std::memcmp(a.items.data(), b.items.data(), a.items.size() * sizeof a.items[0]), 0);
  }
};

TEST_F(ResultCacheTest, OfAListOnlyWhatIsMissingIsComputed) {
  start();
  const auto client = connect();
  std::vector<std::string> texts = sentences(100);
  std::vector<std::string> known = texts;
  for (const std::size_t gone : {99U, 50U, 0U}) {
    known.erase(known.begin() + static_cast<std::ptrdiff_t>(gone));
  }
  EXPECT_EQ(embed(*client, known).report.items_cached, 0U);
  ASSERT_EQ(computed(), 97U);
  const Rows mixed = embed(*client, texts);
  EXPECT_EQ(mixed.report.items_cached, 97U);
  EXPECT_EQ(computed(), 100U) << "exactly the three";
  const Rows recomputed = embed(*client, texts, {.cache = CacheMode::kBypass});
  EXPECT_EQ(recomputed.report.items_cached, 0U);
  EXPECT_EQ(computed(), 200U);
  expect_same(mixed, recomputed);
}

TEST_F(ResultCacheTest, ACallThatFindsAllAsksNobody) {
  start();
  const auto client = connect();
  const std::vector<std::string> texts = sentences(10);
  const Rows first = embed(*client, texts);
  const std::uint64_t before = requests();
  for (int i = 0; i < 100; ++i) {
    const Rows again = embed(*client, texts);
    ASSERT_EQ(again.report.items_cached, 10U);
    expect_same(again, first);
  }
  EXPECT_EQ(requests(), before);
  EXPECT_EQ(computed(), 10U);
}

// Every way of asking has answers of its own, each the one that is computed.
TEST_F(ResultCacheTest, EveryWayOfAskingIsRememberedForItself) {
  start();
  const auto client = connect();
  const std::vector<std::string> texts = {words(4), words(60), ""};
  const std::vector<CallOptions> ways = {
      {},
      {.dtype = shm::Element::kFloat16},
      {.dtype = shm::Element::kInt8, .dimensions = 8},
      {.dtype = shm::Element::kUbinary},
      {.normalize = shm::Normalize::kOff},
      {.prompt = "this is a text: "},
      {.prompt = ""},
      {.prompt_name = "task"},
      {.long_input = shm::LongInput::kTruncate},
      {.long_input = shm::LongInput::kChunkMean},
  };
  for (std::size_t way = 0; way < ways.size(); ++way) {
    CallOptions options = ways[way];
    const Rows first = embed(*client, texts, options);
    EXPECT_EQ(first.report.items_cached, 0U) << way;
    const Rows again = embed(*client, texts, options);
    EXPECT_EQ(again.report.items_cached, 3U) << way;
    expect_same(again, first);
    options.cache = CacheMode::kBypass;
    expect_same(embed(*client, texts, options), first);
  }
}

TEST_F(ResultCacheTest, LabelsAndRanksAreRememberedToo) {
  start();
  const auto client = connect();
  const std::vector<std::string> texts = sentences(5);
  CallReport report;
  const auto labels = client->classify("labels", views(texts), {}, &report);
  ASSERT_TRUE(labels);
  EXPECT_EQ(report.items_cached, 0U);
  const auto again = client->classify("labels", views(texts), {}, &report);
  ASSERT_TRUE(again);
  EXPECT_EQ(report.items_cached, 5U);
  for (std::size_t i = 0; i < texts.size(); ++i) EXPECT_EQ((*again)[i].scores, (*labels)[i].scores);

  const auto ranked = client->rerank("rank", "good film", views(texts));
  ASSERT_TRUE(ranked);
  EXPECT_EQ(ranked->report.items_cached, 0U);
  const std::vector<std::string> more = sentences(6);
  const auto longer = client->rerank("rank", "good film", views(more));
  ASSERT_TRUE(longer);
  EXPECT_EQ(longer->report.items_cached, 5U);
  for (std::size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(longer->scores[i], ranked->scores[i]);
  const auto other = client->rerank("rank", "bad film", views(texts));
  ASSERT_TRUE(other);
  EXPECT_EQ(other->report.items_cached, 0U) << "another query";
}

// What each mode does with a text that is there, and with one that is not.
TEST_F(ResultCacheTest, ModesDoWhatTheySay) {
  struct Row {
    CacheMode mode;
    bool takes;
    bool computes_known;
    bool puts;
  };
  const Row rows[] = {
      {CacheMode::kService, true, false, true}, {CacheMode::kUse, true, false, true},
      {CacheMode::kBypass, false, true, false}, {CacheMode::kReadOnly, true, false, false},
      {CacheMode::kRefresh, false, true, true},
  };
  start();
  const auto client = connect();
  for (const Row& row : rows) {
    const std::string name = "mode " + std::to_string(static_cast<int>(row.mode));
    SCOPED_TRACE(name);
    embed(*client, {name + " known"});
    std::uint64_t before = computed();
    EXPECT_EQ(embed(*client, {name + " known"}, {.cache = row.mode}).report.items_cached,
              row.takes ? 1U : 0U);
    EXPECT_EQ(computed() - before, row.computes_known ? 1U : 0U);
    before = computed();
    EXPECT_EQ(embed(*client, {name + " new"}, {.cache = row.mode}).report.items_cached, 0U);
    EXPECT_EQ(computed() - before, 1U);
    EXPECT_EQ(embed(*client, {name + " new"}, {.cache = CacheMode::kReadOnly}).report.items_cached,
              row.puts ? 1U : 0U);
  }
}

TEST_F(ResultCacheTest, TheServicesModeIsForCallsThatDoNotSayAndItsNoForAll) {
  struct Row {
    ServiceCache service;
    CacheMode call;
    std::uint64_t computed_second;  // of the same text again
  };
  const Row rows[] = {
      {ServiceCache::kUse, CacheMode::kService, 0},
      {ServiceCache::kOff, CacheMode::kService, 1},
      {ServiceCache::kOff, CacheMode::kUse, 1},
      {ServiceCache::kReadOnly, CacheMode::kService, 1},
      {ServiceCache::kReadOnly, CacheMode::kRefresh, 1},
      {ServiceCache::kRefresh, CacheMode::kService, 1},
      {ServiceCache::kRefresh, CacheMode::kUse, 0},
  };
  ServicePolicy& policy = services_->at(kEmbedder).policy;
  const ServicePolicy kept = policy;
  for (const Row& row : rows) {
    policy.cache = row.service;
    start();
    const auto client = connect();
    embed(*client, {"a text"}, {.cache = row.call});
    const std::uint64_t before = computed();
    embed(*client, {"a text"}, {.cache = row.call});
    EXPECT_EQ(computed() - before, row.computed_second)
        << kServiceCacheNames[static_cast<int>(row.service)] << " " << static_cast<int>(row.call);
    pipeline_.reset();
  }
  policy = kept;
}

// The sidecar looks itself for those that cannot: here a client without region C.
TEST_F(ResultCacheTest, TheSidecarLooksForClientsThatHaveNoRegion) {
  start();
  const auto first = connect();
  const std::vector<std::string> texts = sentences(4);
  const Rows rows = embed(*first, texts);
  const auto over_socket =
      Client::connect({.socket = config_.socket, .name = "carried", .transport = "socket"});
  ASSERT_TRUE(over_socket);
  const std::uint64_t before = computed();
  std::vector<std::string> more = sentences(5);
  const Rows carried = embed(**over_socket, more);
  EXPECT_EQ(computed() - before, 1U);
  EXPECT_EQ(carried.report.items_cached, 0U) << "it asked";
  for (std::size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(row(carried, i), row(rows, i));
  const Rows by_first = embed(*first, more);
  EXPECT_EQ(by_first.report.items_cached, 5U) << "what it asked for is there for others";
  expect_same(by_first, carried);
}

// A text without tokens in one request and one from the cache in another look alike to the
// scheduler; each must keep its own row.
TEST_F(ResultCacheTest, RequestsThatShareAComputationKeepTheirOwnKnownRows) {
  config_.scheduler.max_delay_us = 50'000;  // so that both are there before it runs
  start();
  const auto client = connect();
  const Rows known = embed(*client, {"known a", "known b"});
  const auto link = raw();
  const auto other = raw();
  const auto one = send(*link, {.op = shm::Op::kEmbed, .service = kEmbedder, .items = 2},
                        text_list({"known a", "new"}));
  const auto two = send(*other, {.op = shm::Op::kEmbed, .service = kEmbedder, .items = 2},
                        text_list({"known b", "new"}));
  ASSERT_TRUE(one);
  ASSERT_TRUE(two);
  const auto expect_row = [&](shm::Link& on, const shm::Ticket& ticket, std::size_t i) {
    const auto answer = on.wait(ticket);
    ASSERT_TRUE(answer);
    ASSERT_EQ(answer->fields.code, Code::kOk);
    EXPECT_EQ(std::memcmp(answer->payload.data() + shm::rows_offset(2), known.row(i).data(),
                          known.row(i).size_bytes()),
              0)
        << "row of known text " << i;
    on.finish(ticket);
  };
  expect_row(*link, *one, 0);
  expect_row(*other, *two, 1);
}

TEST_F(ResultCacheTest, WhatFailsIsNotRemembered) {
  start();
  const auto client = connect();
  std::vector<std::string> texts = sentences(6);
  texts[4] = "bad \xff";
  const Rows first = embed(*client, texts);
  EXPECT_EQ(first.report.items_failed, 1U);
  const Rows again = embed(*client, texts);
  EXPECT_EQ(again.report.items_cached, 5U);
  EXPECT_EQ(again.report.items_failed, 1U);
  expect_same(again, first);
  // Of a call that takes no failures, the text is named as the caller counts.
  const auto labels = client->classify("labels", views(sentences(6)));
  ASSERT_TRUE(labels);
  const auto refused = client->classify("labels", views(texts));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kInvalid);
  EXPECT_NE(refused.error().message.find("text 4 is not UTF-8 at byte 4"), std::string::npos)
      << refused.error().message;
}

TEST_F(ResultCacheTest, HitsGoOnWithoutASidecarUntilThereIsAnotherOne) {
  start();
  const auto client = connect(std::chrono::milliseconds(100));
  const std::vector<std::string> texts = sentences(8);
  const Rows before = embed(*client, texts);
  pipeline_.reset();
  expect_same(embed(*client, texts), before);
  const auto missing = client->embed("embed", views({"never asked for"}));
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Code::kUnavailable) << missing.error().message;
  // Now the client knows, and is served all the same.
  for (int i = 0; i < 10; ++i) {
    const Rows after = embed(*client, texts);
    ASSERT_EQ(after.report.items_cached, 8U);
    expect_same(after, before);
  }
  start();
  const Rows asked = embed(*client, {"never asked for"});
  EXPECT_EQ(asked.report.items_cached, 0U);
  expect_same(embed(*client, texts), before);
  EXPECT_EQ(computed(), 9U) << "the new sidecar's cache was empty";
}

// Another model under the same name: its answers, although the old ones are still in memory.
TEST_F(ResultCacheTest, AfterARestartWithOtherWeightsOldAnswersAreOutOfReach) {
  start();
  const auto client = connect();
  const std::vector<std::string> texts = sentences(3);
  const Rows old = embed(*client, texts);
  pipeline_.reset();
  Config config;
  config.services = {{.name = "embed", .model = testing::data_path("tiny-sentence")}};
  auto others = Services::load(config, *backend_);
  ASSERT_TRUE(others) << others.error().message;
  EXPECT_NE(others->at(0).answers_digest, services_->at(kEmbedder).answers_digest);
  auto pipeline = Pipeline::start(config_, *others);
  ASSERT_TRUE(pipeline);
  // A client that finds all it wants learns of the new sidecar within a quarter of a second.
  const base::Nanos patience = base::now_ns() + 20 * base::kSecond;
  Rows rows = old;
  while (rows.report.items_cached > 0 || rows.values == old.values) {
    ASSERT_LT(base::now_ns(), patience);
    rows = embed(*client, texts);
  }
  expect_same(rows, embed(*client, texts, {.cache = CacheMode::kBypass}));
  expect_same(rows, embed(*client, texts));
  pipeline->reset();
}

TEST_F(ResultCacheTest, ServicesWithOtherSettingsOrModelsShareNothing) {
  start();
  const auto client = connect();
  embed(*client, {"a text"});
  EXPECT_EQ(embed(*client, {"a text"}, {}, "prompted").report.items_cached, 0U)
      << "its default prompt and long_input are other ones";
  const auto classified = client->classify("labels", views({"a text"}));
  ASSERT_TRUE(classified);
  CallReport report;
  ASSERT_TRUE(client->classify("strict", views({"a text"}), {}, &report));
  EXPECT_EQ(report.items_cached, 0U) << "the same model, set to reject long texts";
}

// A call that does not wait.
TEST_F(ResultCacheTest, APendingCallIsDoneAtOnceWhenAllIsThere) {
  start();
  const auto client = connect(std::chrono::milliseconds(100));
  const std::vector<std::string> known = sentences(4);
  const Rows rows = embed(*client, known);
  std::vector<std::string> more = sentences(6);
  std::vector<float> out(more.size() * rows.width);
  std::vector<shm::ItemReport> items(more.size());
  const auto mixed =
      client->start(shm::Op::kEmbed, "embed", views(more), std::span(out), std::span(items));
  ASSERT_TRUE(mixed);
  base::Result<std::optional<CallReport>> done = std::optional<CallReport>();
  const base::Nanos patience = base::now_ns() + 20 * base::kSecond;
  while (done && !*done) {
    ASSERT_LT(base::now_ns(), patience);
    done = (*mixed)->advance();
  }
  ASSERT_TRUE(done);
  EXPECT_EQ((*done)->items_cached, 4U);
  EXPECT_EQ(std::vector<float>(out.begin(),
                               out.begin() + static_cast<std::ptrdiff_t>(rows.values.size())),
            rows.values);

  pipeline_.reset();  // and when nobody is there to ask
  const auto whole =
      client->start(shm::Op::kEmbed, "embed", views(more), std::span(out), std::span(items));
  ASSERT_TRUE(whole);
  done = (*whole)->advance();
  ASSERT_TRUE(done);
  ASSERT_TRUE(*done);
  EXPECT_EQ((*done)->items_cached, 6U);
}

TEST_F(ResultCacheTest, WithoutACacheAllIsComputed) {
  config_.cache.memory_bytes = 0;
  start();
  const auto client = connect();
  const std::vector<std::string> texts = sentences(3);
  for (const CacheMode mode : {CacheMode::kService, CacheMode::kUse, CacheMode::kReadOnly,
                               CacheMode::kRefresh, CacheMode::kBypass}) {
    const std::uint64_t before = computed();
    EXPECT_EQ(embed(*client, texts, {.cache = mode}).report.items_cached, 0U);
    EXPECT_EQ(computed() - before, 3U);
  }
}

TEST_F(ResultCacheTest, ItIsCounted) {
  start();
  const auto client = connect();
  const std::vector<std::string> texts = sentences(5);
  embed(*client, texts);
  embed(*client, texts);
  const std::string page = pipeline_->metrics();
  const std::string domain = "{domain=\"uid:" + std::to_string(::geteuid()) + "\"";
  EXPECT_NE(page.find("nacelle_cache_entries" + domain + "} 5\n"), std::string::npos) << page;
  EXPECT_NE(page.find("nacelle_cache_puts_total" + domain + "} 5\n"), std::string::npos);
  EXPECT_NE(page.find("nacelle_cache_hits_total" + domain + ",source=\"organic\"} 5\n"),
            std::string::npos);
  EXPECT_NE(page.find("nacelle_cache_readers" + domain + "} 1\n"), std::string::npos);
  const std::string saved = "nacelle_cache_saved_seconds_total" + domain + "} ";
  const std::size_t at = page.find(saved);
  ASSERT_NE(at, std::string::npos);
  EXPECT_GT(std::stod(page.substr(at + saved.size())), 0.0);
}

TEST_F(ResultCacheTest, AModeThatThisSidecarDoesNotKnowIsRefused) {
  start();
  const auto link = raw();
  const shm::ReplyFields reply =
      ask(*link, {.op = shm::Op::kEmbed, .flags = 5U << shm::kRequestCacheShift, .items = 1},
          text_list({"a text"}));
  EXPECT_EQ(reply.code, Code::kInvalid);
}

// Two users: neither finds the other's answers, in memory or through the sidecar.
TEST(ResultCacheDomains, UsersNeverSeeEachOthersAnswers) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  constexpr uid_t kOther = 12'345;
  const nacelle::testing::OtherProcess other([](const std::string& path) -> std::vector<int> {
    if (::setresuid(kOther, kOther, kOther) != 0) return {};
    const auto client = Client::connect({.socket = path});
    if (!client) return {};
    std::vector<int> cached;
    for (const char* text : {"of both", "of both", "of the other"}) {
      const std::string_view texts[] = {text};
      const auto rows = (*client)->embed("embed", texts);
      if (!rows) return {};
      cached.push_back(static_cast<int>(rows->report.items_cached));
    }
    return cached;
  });
  auto backend = kernels::create_backend("auto", 1);
  ASSERT_TRUE(backend);
  nacelle::testing::TempDir dir;
  ASSERT_EQ(::chmod((dir / "").c_str(), 0755), 0);
  Config config;
  config.socket = dir / "nacelle.sock";
  config.control.socket = dir / "control.sock";
  config.services = {{.name = "embed", .model = testing::data_path("tiny-bert")}};
  config.cache.memory_bytes = 16ULL << 20;
  config.transport.allow_uids = {kOther};
  auto services = Services::load(config, **backend);
  ASSERT_TRUE(services);
  auto pipeline = Pipeline::start(config, *services);
  ASSERT_TRUE(pipeline);
  const auto client = Client::connect({.socket = config.socket});
  ASSERT_TRUE(client);
  const auto cached = [&](std::string_view text) {
    const std::string_view texts[] = {text};
    const auto rows = (*client)->embed("embed", texts);
    CHECK(rows.has_value());
    return rows->report.items_cached;
  };
  EXPECT_EQ(cached("of both"), 0U);
  EXPECT_EQ(cached("of both"), 1U);
  other.tell(config.socket);
  EXPECT_EQ(other.report(), (std::vector<int>{0, 1, 0}));
  EXPECT_EQ(cached("of the other"), 0U);
  EXPECT_EQ((*pipeline)->report().totals.texts, 4U) << "nor did the sidecar hand any over";
}

TEST(ResultCacheDomains, ADomainIsAUserOrAllAndThereAreOnlySoMany) {
  const auto user = [](uid_t uid) { return shm::Peer{.uid = uid, .gid = 0, .pid = 0}; };
  ResultCache by_user({.memory_bytes = 8ULL << 20, .domains_max = 2}, 4);
  ASSERT_TRUE(by_user.open());
  const auto one = by_user.join(user(1), true);
  ASSERT_TRUE(one);
  EXPECT_EQ(one->domain().name(), "uid:1");
  EXPECT_GE(one->offer().region, 0);
  const auto again = by_user.join(user(1), false);
  ASSERT_TRUE(again);
  EXPECT_EQ(&again->domain(), &one->domain());
  EXPECT_EQ(again->offer().region, -1) << "it does not read";
  auto two = by_user.join(user(2), true);
  ASSERT_TRUE(two);
  EXPECT_NE(&two->domain(), &one->domain());
  EXPECT_EQ(by_user.join(user(3), true), nullptr) << "both have clients";
  two.reset();
  EXPECT_TRUE(by_user.join(user(3), true)) << "in the place of the second";
  EXPECT_EQ(by_user.join(user(65'534), true), nullptr) << "nobody is many";

  ResultCache pod({.memory_bytes = 8ULL << 20, .domain = "pod"}, 4);
  const auto all = pod.join(user(1), true);
  ASSERT_TRUE(all);
  EXPECT_EQ(all->domain().name(), "pod");
  const auto nobody = pod.join(user(65'534), true);
  ASSERT_TRUE(nobody);
  EXPECT_EQ(&nobody->domain(), &all->domain());

  ResultCache off({}, 4);
  EXPECT_TRUE(off.open());
  EXPECT_EQ(off.join(user(1), true), nullptr);
  const base::Status too_small = ResultCache({.memory_bytes = 1ULL << 20}, 1024).open();
  ASSERT_FALSE(too_small);
  EXPECT_NE(too_small.error().message.find("cache.memory_bytes"), std::string::npos);
}

// Clients come and go; their touch pages go with them.
TEST(ResultCacheDomains, AReaderThatLeftMakesRoomForAnother) {
  ResultCache cache({.memory_bytes = 8ULL << 20}, 2);
  const shm::Peer user{.uid = 1, .gid = 0, .pid = 0};
  const auto stays = cache.join(user, true);
  for (int i = 0; i < 10; ++i) EXPECT_GE(cache.join(user, true)->offer().region, 0) << i;
  const auto second = cache.join(user, true);
  EXPECT_EQ(cache.join(user, true)->offer().region, -1) << "more than there are connections";
}

// Time is a parameter: what a service keeps for an hour is there after 3,599 s and not after 3,601.
TEST(ResultCacheDomains, AnAnswerIsKeptAsLongAsItsServiceSays) {
  ResultCache cache({.memory_bytes = 8ULL << 20}, 4);
  Request request;
  request.client = std::make_shared<ClientState>();
  request.client->cache = cache.join({.uid = 1, .gid = 0, .pid = 0}, false);
  ASSERT_TRUE(request.client->cache);
  request.texts = 1;
  request.plan.size = 8;
  std::vector<std::byte> reply(shm::row_list_size(1, 8, false), std::byte{7});
  request.reply = reply;
  shm::CacheKey key{};
  key.bytes[0] = std::byte{1};
  request.to_cache = {{0, key}};
  const cache::Times start = cache_times();
  put_rows(request, {.cache_ttl_s = 3600}, start);
  const auto there_after = [&](std::int64_t seconds) {
    shm::ItemReport item;
    std::array<std::byte, 8> row;
    return request.client->cache->domain().get(
        key, std::as_writable_bytes(std::span(&item, 1)), row,
        {start.mono + seconds * base::kSecond, start.wall_ns + seconds * base::kSecond});
  };
  EXPECT_TRUE(there_after(0));
  EXPECT_TRUE(there_after(3599));
  EXPECT_FALSE(there_after(3601));
}

}  // namespace
}  // namespace nacelle::sidecar
