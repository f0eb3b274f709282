// The whole sidecar in this process: a real model, real sockets and memory, clients that behave,
// clients that do not, and the end of it.
#include "sidecar/pipeline.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/sidecar/pipeline_fixture.h"

namespace nacelle::sidecar {
namespace {

using nacelle::testing::TempDir;
using ::testing::HasSubstr;

TEST_F(PipelineTest, ClassifiesAndEmbeds) {
  start();
  const auto client = connect();
  const std::vector<std::string_view> texts{kGood, kBad};
  const auto labels = client->classify("sentiment", texts);
  ASSERT_TRUE(labels) << labels.error().message;
  EXPECT_EQ((*labels)[0].label, "POSITIVE");
  EXPECT_EQ((*labels)[1].label, "NEGATIVE");
  EXPECT_NEAR((*labels)[0].scores[0] + (*labels)[0].scores[1], 1, 1e-5);
  const auto rows = client->embed("sentiment", texts);
  ASSERT_TRUE(rows) << rows.error().message;
  EXPECT_EQ(rows->width, 128U);
  float norm = 0;
  for (const float x : rows->row(0)) norm += x * x;
  EXPECT_NEAR(norm, 1, 1e-5);
}

TEST_F(PipelineTest, PingBringsBackTheSameBytes) {
  start();
  const auto client = connect();
  for (const std::size_t size : {0UL, 1UL, 64UL, 1024UL, 1UL << 20}) {
    std::vector<std::byte> data(size, std::byte{7});
    ASSERT_TRUE(client->ping(data));
    EXPECT_EQ(data, std::vector<std::byte>(size, std::byte{7}));
  }
  EXPECT_EQ(client->rescued_by_timeout(), 0U);
}

TEST_F(PipelineTest, PingBringsBackAsManyBytesAsAreWanted) {
  start();
  const auto client = connect();
  for (const std::size_t sent : {0UL, 1UL, 7UL, 64UL, 65UL, 1000UL}) {
    std::vector<std::byte> request(sent);
    for (std::size_t i = 0; i < sent; ++i) request[i] = static_cast<std::byte>(i * 7 + 1);
    for (const std::size_t wanted : {1UL, 63UL, 64UL, 192UL, 193UL, 1024UL, 1UL << 20}) {
      std::vector<std::byte> expected(wanted);
      for (std::size_t i = 0; sent > 0 && i < wanted; ++i) expected[i] = request[i % sent];
      std::vector<std::byte> reply(wanted, std::byte{0xEE});
      const base::Status pinged = client->ping(request, reply);
      ASSERT_TRUE(pinged) << pinged.error().message;
      EXPECT_TRUE(reply == expected) << sent << " bytes sent, " << wanted << " wanted";
    }
  }
  const std::vector<std::byte> byte(1);
  EXPECT_EQ(client->ping(byte, {}).error().code, base::Code::kInvalid);
  std::vector<std::byte> too_much(config_.transport.reply_arena_bytes + 4096);
  const base::Status refused = client->ping(byte, too_much);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, base::Code::kTooLarge);
  EXPECT_THAT(refused.error().message, HasSubstr("transport.reply_arena_bytes"));
  // The sidecar itself refuses what the library would not have asked for.
  const auto link = raw();
  EXPECT_EQ(ask(*link, {.op = shm::Op::kPing, .items = UINT32_MAX}, "x").code,
            base::Code::kTooLarge);
  EXPECT_EQ(ask(*link, {.op = shm::Op::kPing, .items = 3}, "x").items, 3U);
}

TEST_F(PipelineTest, ALongListIsCutIntoRequestsAndComesBackInOrder) {
  config_.transport.request_arena_bytes = 64 << 10;
  config_.transport.reply_arena_bytes = 64 << 10;
  config_.limits.items_max = 40;
  config_.limits.text_bytes_max = 8 << 10;
  start();
  const auto client = connect();
  std::vector<std::string> texts;
  for (int i = 0; i < 500; ++i)
    texts.push_back(std::string(i % 2 == 0 ? kGood : kBad) + std::to_string(i));
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  const auto all = client->embed("sentiment", views);
  ASSERT_TRUE(all) << all.error().message;
  for (const std::size_t i : {0UL, 41UL, 255UL, 499UL}) {
    const auto one = client->embed("sentiment", {&views[i], 1});
    ASSERT_TRUE(one);
    EXPECT_TRUE(std::equal(one->values.begin(), one->values.end(), all->row(i).begin()))
        << "text " << i << ": the same bytes alone as in the list";
  }
}

TEST_F(PipelineTest, TextsOfDifferentClientsShareBatches) {
  config_.scheduler.max_delay_us = 200'000;  // what is sent meanwhile meets in one batch
  config_.scheduler.batch_tokens_max = 512;
  start();
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 4; ++i) clients.push_back(connect());
  std::mutex mutex;
  std::uint32_t clients_together = 0;
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < clients.size(); ++i) {
    threads.emplace_back([&, i] {
      CallReport report;
      const std::string text = std::string(kGood) + std::to_string(i);  // no two are the same
      const std::string_view view = text;
      ASSERT_TRUE(clients[i]->classify("sentiment", {&view, 1}, {}, &report));
      const std::lock_guard lock(mutex);
      clients_together = std::max(clients_together, report.batch_clients);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GE(clients_together, 2U);
  EXPECT_GE(pipeline_->report().totals.batches_mixed, 1U);
}

TEST_F(PipelineTest, TheSameTextOfSeveralClientsIsComputedOnce) {
  config_.scheduler.max_delay_us = 1'000'000;  // what is sent meanwhile waits for the first one
  start();
  const std::vector<std::shared_ptr<shm::Link>> links = {raw(), raw(), raw()};
  std::vector<shm::Ticket> tickets;
  for (const auto& link : links) {
    const auto ticket = send_text(*link);
    ASSERT_TRUE(ticket);
    tickets.push_back(*ticket);
  }
  std::vector<std::string> replies;
  for (std::size_t i = 0; i < links.size(); ++i) {
    const auto answer = links[i]->wait(tickets[i]);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->fields.code, base::Code::kOk);
    EXPECT_EQ(answer->fields.batch_texts, 1U);
    const auto* bytes = reinterpret_cast<const char*>(answer->payload.data());
    replies.emplace_back(bytes, answer->payload.size());
    links[i]->finish(tickets[i]);
  }
  EXPECT_EQ(replies[1], replies[0]);
  EXPECT_EQ(replies[2], replies[0]);
  EXPECT_EQ(pipeline_->report().totals.texts, 1U);
  EXPECT_EQ(pipeline_->report().totals.requests, 3U);
}

TEST_F(PipelineTest, AnUnknownServiceIsAnsweredWithTheOnesThereAre) {
  start();
  const auto answer = connect()->classify("sentimant", {&kGood, 1});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, base::Code::kNotFound);
  EXPECT_THAT(answer.error().message, HasSubstr("\"sentimant\"; there are: sentiment"));
}

TEST_F(PipelineTest, AnEmptyListIsAnError) {
  start();
  const auto answer = connect()->embed("sentiment", {});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, base::Code::kInvalid);
  EXPECT_THAT(answer.error().message, HasSubstr("empty"));
  EXPECT_EQ(ask(*raw(), {.op = shm::Op::kEmbed, .items = 0}, "").code, base::Code::kInvalid);
}

TEST_F(PipelineTest, ATextOfAMegabyteIsTruncatedAndSaysSo) {
  start();
  const std::string text = [] {
    std::string words;
    while (words.size() < 1'000'000) words += "영화 ";
    return words;
  }();
  const std::string_view view = text;
  const auto rows = connect()->embed("sentiment", {&view, 1});
  ASSERT_TRUE(rows) << rows.error().message;
  EXPECT_EQ(rows->items[0].flags, shm::kItemTruncated);
  EXPECT_EQ(rows->items[0].tokens, 128U);
}

TEST_F(PipelineTest, ATextOverTheLimitIsRefusedOnBothSides) {
  config_.limits.text_bytes_max = 100;
  start();
  const std::string text(101, 'x');
  const std::string_view view = text;
  const auto answer = connect()->embed("sentiment", {&view, 1});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, base::Code::kTooLarge);
  EXPECT_THAT(answer.error().message, HasSubstr("limits.text_bytes_max"));
  EXPECT_EQ(ask(*raw(), {.op = shm::Op::kEmbed, .items = 1}, text_list({text})).code,
            base::Code::kTooLarge)
      << "a client that does not check is told by the sidecar";
}

TEST_F(PipelineTest, OneTextThatIsNotUtf8FailsAloneOrNamesItself) {
  start();
  const auto client = connect();
  const std::vector<std::string_view> texts{kGood, "ab\xC3(", kBad};
  std::vector<float> out(3 * 128, -1.0F);
  std::vector<shm::ItemReport> items(3);
  const auto report = client->run(shm::Op::kEmbed, "sentiment", texts, out, items);
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(report->items_failed, 1U);
  EXPECT_EQ(items[0].code, 0);
  EXPECT_EQ(items[1].code, static_cast<std::uint16_t>(base::Code::kInvalid));
  EXPECT_EQ(items[1].detail, 2U);
  EXPECT_EQ(out[128], 0.0F) << "a row of zeros";
  EXPECT_NE(out[256], 0.0F);
  const auto without_items = client->run(shm::Op::kEmbed, "sentiment", texts, out, {});
  ASSERT_FALSE(without_items);
  EXPECT_THAT(without_items.error().message, HasSubstr("text 1 is not UTF-8 at byte 2"));
  const std::string_view bad = "\xFF";
  EXPECT_FALSE(client->classify("sentiment", {&bad, 1})) << "a list of bad texts only ends, too";
}

// Each row is a request that a buggy client could send. It is answered; nobody is disconnected.
TEST_F(PipelineTest, AMalformedRequestIsAnsweredAndTheConnectionLives) {
  start();
  const auto link = raw();
  const std::string good = text_list({std::string(kGood)});
  struct Row {
    const char* what;
    shm::CallFields fields;
    std::string payload;
    base::Code code;
  };
  const Row rows[] = {
      {"unknown handle",
       {.op = shm::Op::kEmbed, .service = 1, .items = 1},
       good,
       base::Code::kNotFound},
      {"largest handle",
       {.op = shm::Op::kEmbed, .service = UINT32_MAX, .items = 1},
       good,
       base::Code::kNotFound},
      {"too many items", {.op = shm::Op::kEmbed, .items = UINT32_MAX}, good, base::Code::kTooLarge},
      {"more items than sizes", {.op = shm::Op::kEmbed, .items = 100}, good, base::Code::kInvalid},
      {"fewer items than texts",
       {.op = shm::Op::kEmbed, .items = 1},
       good + "x",
       base::Code::kInvalid},
      {"a text past the payload",
       {.op = shm::Op::kEmbed, .items = 1},
       std::string("\x05\0\0\0abc", 7),
       base::Code::kInvalid},
      {"a size that wraps",
       {.op = shm::Op::kEmbed, .items = 1},
       std::string("\xFF\xFF\xFF\xFF", 4),
       base::Code::kInvalid},
      {"no name to describe", {.op = shm::Op::kDescribe}, "", base::Code::kNotFound},
      {"a name of a kilobyte",
       {.op = shm::Op::kDescribe},
       std::string(1024, 'n'),
       base::Code::kNotFound},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(ask(*link, row.fields, row.payload).code, row.code) << row.what;
  }
  EXPECT_EQ(ask(*link, {.op = shm::Op::kEmbed, .items = 1}, good).code, base::Code::kOk);
}

TEST_F(PipelineTest, AClientThatBreaksTheProtocolIsDisconnectedAndOthersAreServed) {
  start();
  const auto honest = connect();
  auto greeting = shm::greet(config_.socket, shm::Hello{}, base::now_ns() + 10 * base::kSecond);
  ASSERT_TRUE(greeting);
  auto request = shm::Mapping::map(greeting->fds[0].get(), greeting->welcome.request_region_size,
                                   shm::Access::kReadWrite);
  ASSERT_TRUE(request);
  reinterpret_cast<shm::RequestHeader*>(request->data())->slots_used.store(4096);
  const std::uint64_t one = 1;
  ASSERT_EQ(::write(greeting->fds[2].get(), &one, sizeof one), 8);
  while (!shm::hung_up(greeting->socket.get())) std::this_thread::yield();
  EXPECT_TRUE(honest->classify("sentiment", {&kGood, 1}));
}

TEST_F(PipelineTest, AnotherProtocolVersionIsRefusedAndTheSidecarServesOn) {
  start();
  shm::Hello hello;
  hello.version_major = 2;
  const auto greeting = shm::greet(config_.socket, hello, base::now_ns() + 10 * base::kSecond);
  ASSERT_FALSE(greeting);
  EXPECT_EQ(greeting.error().code, base::Code::kVersionMismatch);
  EXPECT_TRUE(connect()->classify("sentiment", {&kGood, 1}));
}

TEST_F(PipelineTest, ConnectionsBeyondTheLimitAreRefusedWithTheOption) {
  config_.transport.connections_max = 1;
  start();
  const auto first = connect();
  const auto second = Client::connect(
      {.socket = config_.socket, .connect_timeout = std::chrono::milliseconds(500)});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, base::Code::kBusy);
  EXPECT_THAT(second.error().message, HasSubstr("transport.connections_max"));
}

TEST_F(PipelineTest, OneUsersConnectionsAndAllConnectionsMemoryAreBounded) {
  config_.transport.connections_per_user_max = 1;
  start();
  const auto only = connect();
  EXPECT_THAT(Client::connect({.socket = config_.socket, .connect_timeout = {}}).error().message,
              HasSubstr("transport.connections_per_user_max"));
  pipeline_.reset();

  config_.transport.connections_per_user_max = 64;
  const shm::Geometry geometry;
  config_.transport.memory_bytes_max =
      2 * (geometry.request_region_size() + geometry.reply_region_size());
  start();
  const auto first = connect();
  auto second = connect();
  const auto third = Client::connect({.socket = config_.socket, .connect_timeout = {}});
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error().code, base::Code::kBusy);
  EXPECT_THAT(third.error().message, HasSubstr("transport.memory_bytes_max"));
  second.reset();
  EXPECT_TRUE(connect()) << "room is room again";
}

TEST_F(PipelineTest, AFullQueueAnswersBusyWithAHint) {
  config_.scheduler.queue_requests_max = 1;
  config_.scheduler.max_delay_us = 1'000'000;  // the first request waits for company
  config_.scheduler.batch_tokens_max = 4096;
  start();
  const auto link = raw();
  const auto first = send_text(*link);
  ASSERT_TRUE(first);
  const auto second = send_text(*link);
  ASSERT_TRUE(second);
  const auto refused = link->wait(*second);
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->fields.code, base::Code::kBusy);
  EXPECT_GT(refused->fields.retry_after_us, 0U);
  link->finish(*second);
  EXPECT_EQ(link->wait(*first)->fields.code, base::Code::kOk) << "nothing that was taken is lost";
}

TEST_F(PipelineTest, ARequestWithoutADeadlineHasItsServices) {
  config_.scheduler.max_delay_us = 50'000;
  start();
  const auto link = raw();
  const std::string list = text_list({std::string(kGood)});
  EXPECT_EQ(ask(*link, {.op = shm::Op::kEmbed, .items = 1}, list).code, base::Code::kOk);
  ServicePolicy& policy = services_->at(0).policy;
  const std::uint32_t before = std::exchange(policy.deadline_ms, 1U);
  EXPECT_EQ(ask(*link, {.op = shm::Op::kEmbed, .items = 1}, list).code,
            base::Code::kDeadlineExceeded);
  policy.deadline_ms = before;
}

TEST_F(PipelineTest, UnderPressureWorkOfLowPriorityIsRefusedWithAHintAndTakenAgainAfterwards) {
  start();
  const auto link = raw();
  const std::string list = text_list({std::string(kGood)});
  const auto embed = [&](Priority priority) {
    ServicePolicy& policy = services_->at(0).policy;
    const Priority before = std::exchange(policy.priority, priority);
    const shm::ReplyFields reply = ask(*link, {.op = shm::Op::kEmbed, .items = 1}, list);
    policy.priority = before;
    return reply;
  };
  pipeline_->observe({.memory = 0.95, .cpu = 0.1});
  const shm::ReplyFields refused = embed(Priority::kLow);
  EXPECT_EQ(refused.code, base::Code::kBusy);
  EXPECT_GT(refused.retry_after_us, 0U);
  EXPECT_LE(refused.retry_after_us, 3'001'000U);
  EXPECT_EQ(embed(Priority::kNormal).code, base::Code::kOk);
  pipeline_->observe({.memory = 0.87, .cpu = 0.1});
  EXPECT_EQ(embed(Priority::kIdle).code, base::Code::kBusy);
  pipeline_->observe({.memory = 0.84, .cpu = 0.1});
  EXPECT_EQ(embed(Priority::kLow).code, base::Code::kOk);
}

TEST_F(PipelineTest, BatchesFollowFreeMemory) {
  start();
  const auto client = connect();
  const std::vector<std::string_view> texts(8, kGood);
  const auto batches = [&] {
    const std::uint64_t before = pipeline_->report().totals.batches;
    EXPECT_TRUE(client->embed("sentiment", texts));
    return pipeline_->report().totals.batches - before;
  };
  EXPECT_EQ(batches(), 1U);
  pipeline_->observe({.free_bytes = 0});
  EXPECT_EQ(batches(), texts.size()) << "a text is never cut, and always runs";
  pipeline_->observe({.free_bytes = std::uint64_t{8} << 30U});
  EXPECT_EQ(batches(), 1U);
}

TEST_F(PipelineTest, ADeadlineThatPassesInTheQueueIsAnsweredAsSuch) {
  config_.scheduler.max_delay_us = 50'000;
  start();
  const auto fields = ask(*raw(), {.op = shm::Op::kEmbed, .items = 1, .deadline_us = 1},
                          text_list({std::string(kGood)}));
  EXPECT_EQ(fields.code, base::Code::kDeadlineExceeded);
}

TEST_F(PipelineTest, DrainingAnswersWhatWasTakenAndThenTellsClientsToLookElsewhere) {
  config_.scheduler.max_delay_us = 100'000;
  start();
  const auto link = raw();
  const auto ticket = send_text(*link);
  ASSERT_TRUE(ticket);
  while (pipeline_->report().totals.requests == 0) std::this_thread::yield();
  EXPECT_EQ(pipeline_->drain(10 * base::kSecond), 0U);
  EXPECT_EQ(link->wait(*ticket)->fields.code, base::Code::kOk);
  link->finish(*ticket);
  const auto late = Client::connect(
      {.socket = config_.socket, .connect_timeout = std::chrono::milliseconds(500)});
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, base::Code::kUnavailable);
}

TEST_F(PipelineTest, AClientFindsTheNextSidecarByItself) {
  start();
  const auto client = connect();
  ASSERT_TRUE(client->classify("sentiment", {&kGood, 1}));
  pipeline_.reset();
  start();
  EXPECT_TRUE(client->classify("sentiment", {&kGood, 1}));
}

TEST_F(PipelineTest, WithoutASidecarACallEndsAndSaysSo) {
  start();
  auto client = *Client::connect(
      {.socket = config_.socket, .connect_timeout = std::chrono::milliseconds(500)});
  pipeline_.reset();
  const auto answer = client->classify("sentiment", {&kGood, 1});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, base::Code::kUnavailable);
  EXPECT_THAT(answer.error().message, HasSubstr("Is nacelled running"));
}

TEST_F(PipelineTest, AClientMadeBeforeAForkWorksInTheChild) {
  start();
  const auto client = connect();
  ASSERT_TRUE(client->classify("sentiment", {&kGood, 1}));
  const pid_t child = ::fork();
  if (child == 0) {
    const auto labels = client->classify("sentiment", {&kBad, 1});
    ::_exit(labels && labels->front().label == "NEGATIVE" ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(client->classify("sentiment", {&kGood, 1}))
      << "and the parent's own connection lives";
}

// The regions are not mapped in a child; what lies at their addresses there is the child's own.
TEST_F(PipelineTest, AChildThatNeverUsedItsClientMayDestroyIt) {
  start();
  auto client = connect();
  ASSERT_TRUE(client->classify("sentiment", {&kGood, 1}));
  const pid_t child = ::fork();
  if (child == 0) {
    std::vector<std::vector<char>> own;
    for (int i = 0; i < 16; ++i) own.emplace_back(2 << 20, 'x');
    client.reset();
    for (auto& block : own) std::fill(block.begin(), block.end(), 'y');
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(client->classify("sentiment", {&kGood, 1}));
}

// The socket stays open in the grandchild: only the process's own end tells.
TEST_F(PipelineTest, AClientThatPlaysWithItsDoorbellHoldsNobodyUp) {
  start();
  const auto honest = connect();
  auto greeting = shm::greet(config_.socket, shm::Hello{}, base::now_ns() + 10 * base::kSecond);
  ASSERT_TRUE(greeting);
  const int doorbell = greeting->fds[2].get();
  ASSERT_EQ(::fcntl(doorbell, F_SETFL, 0), 0);  // blocking, for both sides
  for (int i = 0; i < 2'000; ++i) {
    const std::uint64_t one = 1;
    std::uint64_t count = 0;
    ASSERT_EQ(::write(doorbell, &one, sizeof one), 8);
    ASSERT_EQ(::read(doorbell, &count, sizeof count), 8) << "nobody else reads it";
    if (i % 100 == 0) {
      ASSERT_TRUE(honest->classify("sentiment", {&kGood, 1}));
    }
  }
}

// A connection that left while its request waits still costs its memory, and counts.
TEST_F(PipelineTest, ConnectionsThatLeftCountUntilTheirMemoryIsFree) {
  config_.transport.connections_max = 2;
  config_.scheduler.max_delay_us = 1'000'000;
  start();
  const auto watcher = connect();
  {
    const auto link = raw();
    ASSERT_TRUE(send_text(*link));
    while (pipeline_->report().totals.requests == 0) std::this_thread::yield();
  }
  while (pipeline_->report().clients.size() > 1) std::this_thread::yield();
  const auto greeting =
      shm::greet(config_.socket, shm::Hello{}, base::now_ns() + 10 * base::kSecond);
  ASSERT_FALSE(greeting) << "one is connected, one is gone but not yet forgotten";
  EXPECT_EQ(greeting.error().code, base::Code::kBusy);
  EXPECT_TRUE(Client::connect({.socket = config_.socket})) << "a client waits, and then gets in";
}

TEST_F(PipelineTest, ASidecarOutOfDescriptorsTellsTheClientWhyAndRecovers) {
  start();
  const auto first = connect();
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  // Fill every hole, then leave two descriptors: the client's socket and the sidecar's end of it.
  std::vector<base::Fd> filler;
  for (int i = 0; i < 64; ++i) filler.emplace_back(::open("/dev/null", O_RDONLY));
  rlimit tight = before;
  tight.rlim_cur = static_cast<rlim_t>(filler.back().get()) + 1;
  filler.resize(filler.size() - 2);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
  const auto refused =
      shm::greet(config_.socket, shm::Hello{}, base::now_ns() + 10 * base::kSecond);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, base::Code::kUnavailable) << refused.error().message;
  EXPECT_THAT(refused.error().message, HasSubstr("EMFILE"));
  EXPECT_TRUE(connect()->classify("sentiment", {&kGood, 1}));
}

TEST_F(PipelineTest, AClientThatDiesMidCallLeavesNothingBehind) {
  config_.scheduler.max_delay_us = 1'000'000;
  start();
  {
    const auto link = raw();
    ASSERT_TRUE(send_text(*link));
    while (pipeline_->report().totals.requests == 0) std::this_thread::yield();
  }
  while (!pipeline_->report().clients.empty()) std::this_thread::yield();
  EXPECT_TRUE(connect()->classify("sentiment", {&kGood, 1}));
  EXPECT_EQ(pipeline_->report().totals.cancelled, 1U) << "its request never ran";
}

TEST_F(PipelineTest, ManyThreadsOfManyClientsGetTheirOwnAnswers) {
  start();
  std::vector<std::string> texts;
  for (int i = 0; i < 8; ++i)
    texts.push_back(std::string(i % 2 == 0 ? kGood : kBad) + std::to_string(i));
  const auto reference = connect();
  std::vector<std::vector<float>> expected;
  for (const std::string& text : texts) {
    const std::string_view view = text;
    expected.push_back(reference->embed("sentiment", {&view, 1})->values);
  }
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 4; ++i) clients.push_back(connect());
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t i = 0; i < 100; ++i) {
        const std::size_t which = (t + i) % texts.size();
        const std::string_view view = texts[which];
        const auto rows = clients[t % 4]->embed("sentiment", {&view, 1});
        if (!rows || rows->values != expected[which]) wrong.fetch_add(1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong.load(), 0);
  for (const auto& client : clients) EXPECT_EQ(client->rescued_by_timeout(), 0U);
  EXPECT_EQ(pipeline_->report().totals.rescued_by_timeout, 0U);
}

}  // namespace
}  // namespace nacelle::sidecar
