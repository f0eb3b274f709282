// What makes two requests the same, and what a follower gets.
#include "sidecar/schedule/flight.h"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace nacelle::sidecar {
namespace {

// A request of two texts with rows of 4 bytes, and the memory of its reply.
struct Asked {
  explicit Asked(std::uint32_t word = 7) {
    request->client = std::make_shared<ClientState>();
    request->service = 1;
    request->texts = 2;
    request->ids = {1, word, 2, 1, 9, 2};
    request->types.assign(6, 0);
    request->offsets = {0, 3, 6};
    request->plan.width = 1;
    request->plan.size = 4;
    request->reply = reply;
  }
  void write_row(std::uint32_t text, std::uint32_t value) const {
    std::memcpy(request->row(text), &value, sizeof value);
  }
  [[nodiscard]] std::uint32_t read_row(std::uint32_t text) const {
    std::uint32_t value = 0;
    std::memcpy(&value, reply.data() + shm::rows_offset(2, false) + text * 4UL, sizeof value);
    return value;
  }
  std::vector<std::byte> reply = std::vector<std::byte>(shm::row_list_size(2, 4, false));
  std::unique_ptr<Request> request = std::make_unique<Request>();
};

TEST(Flight, WhatChangesTheRowsMakesAnotherAnswer) {
  const Asked one;
  EXPECT_TRUE(same_answer(*one.request, *Asked().request));
  EXPECT_EQ(answer_key(*one.request), answer_key(*Asked().request));
  const std::pair<const char*, std::function<void(Request&)>> changes[] = {
      {"service", [](Request& r) { r.service = 2; }},
      {"task", [](Request& r) { r.task = model::Task::kClassify; }},
      {"raw", [](Request& r) { r.raw = true; }},
      {"a token", [](Request& r) { r.ids[1] = 8; }},
      {"a type", [](Request& r) { r.types[5] = 1; }},
      {"where texts end", [](Request& r) { r.offsets[1] = 2; }},
      {"windows",
       [](Request& r) {
         r.first_windows = {0, 1, 2};
       }},
      {"special tokens", [](Request& r) { r.specials = 2; }},
      {"element", [](Request& r) { r.plan.element = shm::Element::kFloat16; }},
      {"width", [](Request& r) { r.plan.width = 2; }},
      {"normalize", [](Request& r) { r.plan.normalize = true; }},
      {"function", [](Request& r) { r.plan.function = shm::Function::kSigmoid; }},
      {"format", [](Request& r) { r.plan.with_format = true; }},
  };
  for (const auto& [what, change] : changes) {
    const Asked other;
    change(*other.request);
    EXPECT_FALSE(same_answer(*one.request, *other.request)) << what;
    EXPECT_NE(answer_key(*one.request), answer_key(*other.request)) << what;
  }
  const Asked later;
  later.request->deadline = 5;
  later.request->slot = 3;
  EXPECT_TRUE(same_answer(*one.request, *later.request)) << "who asks, and until when, is no part";
}

// A digest is only where to look: were two the same by chance, nobody would get a wrong answer.
TEST(Flight, ACollisionOfDigestsIsNoMatch) {
  Asked one;
  Asked other(8);
  Flight flight;
  flight.key = answer_key(*other.request);  // as if they collided
  flight.leader = std::move(one.request);
  FlightTable table;
  table.add(flight);
  EXPECT_EQ(table.find(flight.key, *other.request), nullptr);
  Flight second;
  second.key = flight.key;
  second.leader = std::move(other.request);
  table.add(second);
  EXPECT_FALSE(second.listed) << "it flies for itself";
  table.remove(second);
  EXPECT_EQ(table.find(flight.key, *flight.leader), &flight);
  table.remove(flight);
  EXPECT_EQ(table.find(flight.key, *flight.leader), nullptr);
}

TEST(Flight, RowsAreCopiedAndReportsAreEachRequestsOwn) {
  const Asked from;
  const Asked to;
  from.write_row(0, 11);
  from.write_row(1, 22);
  shm::ItemReport report{};
  report.tokens = 3;
  std::memcpy(from.request->reply.data(), &report, sizeof report);
  copy_rows(*from.request, *to.request);
  EXPECT_EQ(to.read_row(0), 11U);
  EXPECT_EQ(to.read_row(1), 22U);
  std::memcpy(&report, to.request->reply.data(), sizeof report);
  EXPECT_EQ(report.tokens, 0U);
}

TEST(Flight, ASuccessorGoesOnWhereTheLeaderWas) {
  Asked first;
  Asked next;
  first.write_row(0, 11);
  first.request->next = 1;
  first.request->started = 50;
  first.request->compute = 5;
  first.request->sum = {1.5};
  first.request->sum_weight = 2;
  next.request->ids.clear();
  next.request->offsets.clear();
  next.request->types.clear();
  Flight flight;
  flight.leader = std::move(first.request);
  flight.done = 1;
  const std::unique_ptr<Request> last = succeed(flight, std::move(next.request));
  const Request& leader = *flight.leader;
  EXPECT_EQ(next.read_row(0), 11U);
  EXPECT_EQ(leader.windows(), 2U);
  EXPECT_EQ(leader.tokens(1), 3U);
  EXPECT_EQ(leader.ids[1], 7U);
  EXPECT_EQ(leader.next, 1U);
  EXPECT_EQ(leader.started, 50);
  EXPECT_EQ(leader.compute, 5);
  EXPECT_EQ(leader.sum, std::vector<double>{1.5});
  EXPECT_EQ(leader.sum_weight, 2);
  EXPECT_EQ(last->slot, 0U);
}

// Rows that were not computed are each request's own: those of texts that failed, and those that
// came from the cache.
TEST(Flight, OnlyComputedRowsAreShared) {
  Asked one;
  Asked other;
  for (Asked* asked : {&one, &other}) {
    asked->request->ids = {1, 9, 2};
    asked->request->types.assign(3, 0);
    asked->request->offsets = {0, 0, 3};  // the first text has no tokens
  }
  ASSERT_TRUE(same_answer(*one.request, *other.request));
  one.write_row(0, 11);
  one.write_row(1, 12);
  other.write_row(0, 21);
  other.request->offsets.clear();  // as a follower's are
  copy_rows(*one.request, *other.request);
  EXPECT_EQ(other.read_row(0), 21U);
  EXPECT_EQ(other.read_row(1), 12U);
}

}  // namespace
}  // namespace nacelle::sidecar
