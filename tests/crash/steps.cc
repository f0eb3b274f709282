#include "tests/crash/steps.h"

#include <gtest/gtest.h>

#include <cstring>
#include <iostream>
#include <sstream>
#include <utility>
#include <vector>

#include "shm/wait.h"
#include "sidecar/base/bytes.h"
#include "sidecar/base/check.h"
#include "tests/crash/victim_heap.h"

namespace nacelle::crash {
namespace {

constexpr base::Nanos kReclaimWithin = 100 * base::kMillisecond;
constexpr std::size_t kStepsMax = 50'000;
// Whether the sidecar sleeps when a call is made is its own affair; often enough it is as it was
// when the boundaries were recorded.
constexpr int kTries = 20;
constexpr int kRecordings = 200;
constexpr std::size_t kVictimBook = 0;
constexpr std::size_t kNeighbourBook = 1;

// The sidecar stands still from kReady on.
bool needs_standstill(Call call) { return call == Call::kSleep || call == Call::kGiveUp; }

void mark(bool traced, Marker which) {
  if (traced) marker(which);
}

// Makes `call`, with markers around it when `traced`. The same code, untraced, is run once by the
// parent, so that the dynamic linker has looked everything up before there is something to step.
int make(Call call, bool traced, const std::string& socket, Book& book, std::uint32_t size) {
  if (call == Call::kConnect) {
    mark(traced, Marker::kReady);
    mark(traced, Marker::kBegin);
    const auto link = open_link(socket, "victim");
    mark(traced, Marker::kEnd);
    return link ? 0 : 1;
  }
  auto opened = open_link(socket, "victim");
  if (!opened) return 1;
  std::shared_ptr<shm::Link> link = *std::move(opened);
  ping(*link, book, size);
  mark(traced, Marker::kReady);

  Entry& entry = book.submit(Kind::kPing, size);
  std::vector<std::byte> payload(size);
  book.fill(entry, payload);
  std::vector<std::byte> reply(size);
  const bool traced_copy = traced && call == Call::kSubmit;
  const auto write = [&](std::span<std::byte> out) {
    const std::size_t half = out.size() / 2;
    mark(traced_copy, Marker::kSkip);
    base::copy_bytes(out.data(), payload.data(), half);
    mark(traced_copy, Marker::kSkip);
    base::copy_bytes(out.data() + half, payload.data() + half, out.size() - half);
    mark(traced_copy, Marker::kResume);
  };
  const base::Nanos deadline = call == Call::kGiveUp ? 1 : base::now_ns() + 60 * base::kSecond;
  const shm::CallFields fields{.op = shm::Op::kPing};

  if (call == Call::kSubmit) {
    mark(traced, Marker::kBegin);
    const auto ticket = link->submit(fields, size, deadline, write);
    mark(traced, Marker::kEnd);
    return ticket ? 0 : 1;
  }
  const auto ticket = link->submit(fields, size, deadline, write);
  if (!ticket) return 1;
  if (call == Call::kAnswer || call == Call::kClose) {
    // Slots are answered in their order: when a later one's reply is here, the first one's is.
    const auto later =
        link->submit(fields, 0, base::now_ns() + 60 * base::kSecond, [](std::span<std::byte>) {});
    if (!later || !link->wait(*later)) return 1;
    link->finish(*later);
  }
  switch (call) {
    case Call::kAnswer:
    case Call::kSleep:
    case Call::kGiveUp: {
      mark(traced, Marker::kBegin);
      const auto answer = link->wait(*ticket);
      mark(traced, Marker::kSkip);
      if (answer) {
        base::copy_bytes(reply.data(), answer->payload.data(), answer->payload.size() / 2);
        mark(traced, Marker::kSkip);
        book.answered(entry, answer->payload);
      } else {
        book.lost(entry, answer.error().code);
      }
      mark(traced, Marker::kResume);
      if (answer) link->finish(*ticket);
      mark(traced, Marker::kEnd);
      break;
    }
    case Call::kCancel:
      mark(traced, Marker::kBegin);
      link->cancel(*ticket);
      mark(traced, Marker::kEnd);
      break;
    default:
      mark(traced, Marker::kBegin);
      link.reset();
      mark(traced, Marker::kEnd);
  }
  return 0;
}

}  // namespace

std::string_view name_of(Call call) {
  static constexpr std::array<std::string_view, kCalls.size()> kNames{
      "connect", "submit", "answer", "sleep", "give_up", "cancel", "close"};
  return kNames[static_cast<std::size_t>(call)];
}

StepRun::StepRun(Trials& trials, const Namespaces& victims, const Namespaces& sidecar)
    : trials_(trials),
      namespaces_(victims),
      skip_(not_permitted(victims)),
      ledger_(2, trials.seed()) {
  if (!skip_) skip_ = not_permitted(sidecar);
  if (!skip_) {
    Process probe = Process::fork([] { return let_parent_trace() ? 0 : 1; }, victims);
    if (probe.wait() != 0) skip_ = "no ptrace of one's own children here";
  }
  if (skip_) return;
  sidecar_.start(sidecar);
  fresh_ = sidecar_.footprint();
  ledger_.expect_embeddings(embedding_digests(sidecar_.socket()));
  shm::calibrated_spin_ns();  // has threads: once, here, and not in each victim
  for (const Call call : kCalls) {
    make(call, false, sidecar_.socket(), ledger_.open(kVictimBook), 65);
    ledger_.close(kVictimBook, true);
  }
  ledger_.take();
  shared_orders().stop = 0;
  Book* book = &ledger_.open(kNeighbourBook);
  neighbour_ = Process::fork([&, book] {
    return run_load({.socket = sidecar_.socket(),
                     .name = "neighbour",
                     .size_max = 4096,
                     .embed_percent = 10,
                     .think_max = base::kMillisecond,
                     .seed = trials_.seed()},
                    {&book, 1}, shared_orders());
  });
  CHECK(eventually([&] { return book->answers.load() > 20; }) && sidecar_.quiet(1));
}

StepRun::Victim StepRun::begin(Call call, std::uint32_t size) {
  Book* book = &ledger_.open(kVictimBook);
  Process process = Process::fork(
      [&, book] {
        use_victim_heap();
        return let_parent_trace() ? make(call, true, sidecar_.socket(), *book, size) : 1;
      },
      namespaces_);
  std::function<void()> on_sleep;
  if (call == Call::kSleep) {
    on_sleep = [this] {
      if (std::exchange(sidecar_stands_, false)) sidecar_.go_on();
    };
  }
  Stepper stepper(process.pid(), std::move(on_sleep));
  return {std::move(process), std::move(stepper)};
}

// Kills the victim where it is, and waits until nothing of it is left.
void StepRun::end(Victim& victim, Call call, std::size_t k) {
  const std::uint64_t served = ledger_.book(kNeighbourBook).answers.load();
  victim.process.kill();
  if (std::exchange(sidecar_stands_, false)) sidecar_.go_on();
  const base::Nanos died = wall_ns();
  stuck_ = stuck_ || !sidecar_.quiet(1);
  reclaim_.add(wall_ns() - died);
  EXPECT_FALSE(stuck_) << name_of(call) << ", boundary " << k << ": something is left";
  stuck_ = stuck_ || !eventually([&] {
             ledger_.audit(kNeighbourBook);  // or its book may be full
             return ledger_.book(kNeighbourBook).answers.load() > served;
           });
  EXPECT_FALSE(stuck_) << name_of(call) << ", boundary " << k << ": the neighbour waits";
  ledger_.close(kVictimBook, true);
}

void StepRun::step_through(Call call, std::uint32_t size, std::uint64_t stride) {
  const auto to_begin = [&](Victim& victim) {
    if (!victim.stepper.run_to(Marker::kReady)) return false;
    if (needs_standstill(call)) {
      sidecar_.stop();
      sidecar_stands_ = true;
    }
    return victim.stepper.run_to(Marker::kBegin);
  };
  // Until two recordings agree: not each finds the sidecar asleep.
  if (stuck_) return;  // said before
  std::optional<Boundaries> boundaries;
  std::optional<Boundaries> before;
  for (int attempt = 0; attempt < kRecordings && !boundaries && !stuck_; ++attempt) {
    Victim victim = begin(call, size);
    ASSERT_TRUE(to_begin(victim)) << name_of(call) << ": the victim does not reach its call";
    std::optional<Boundaries> now = victim.stepper.record(kStepsMax);
    end(victim, call, 0);
    if (now && before && now->addresses == before->addresses && now->slept == before->slept) {
      boundaries = now;
    }
    if (now) before = std::move(now);
  }
  ASSERT_TRUE(boundaries) << name_of(call) << ": no two recordings agree";
  ASSERT_TRUE(boundaries->slept || call != Call::kSleep);

  const std::size_t count = boundaries->addresses.size();
  std::uint64_t retries = 0;
  std::uint64_t missed = 0;
  std::uint64_t killed = 0;
  for (std::size_t k = trials_.below(stride); k < count && !stuck_; k += stride) {
    bool there = false;
    for (int attempt = 0; attempt < kTries && !there && !stuck_; ++attempt) {
      Victim victim = begin(call, size);
      ASSERT_TRUE(to_begin(victim));
      there = victim.stepper.reach(*boundaries, k);
      end(victim, call, k);
      trials_.ran();
      if (!there) ++retries;
    }
    killed += there ? 1 : 0;
    missed += there ? 0 : 1;
  }
  // And while it sleeps: not between two instructions, but inside of one.
  std::uint64_t asleep = 0;
  for (int i = 0; boundaries->slept && i < 5 && !stuck_; ++i) {
    Victim victim = begin(call, size);
    ASSERT_TRUE(to_begin(victim));
    if (victim.stepper.reach(*boundaries, *boundaries->slept - 1) && victim.stepper.fall_asleep()) {
      ++asleep;
    }
    end(victim, call, *boundaries->slept);
    trials_.ran();
  }
  EXPECT_TRUE(!boundaries->slept || asleep > 0) << "no victim was killed in its sleep";
  std::cout << "A1 " << name_of(call) << ", " << size << " bytes: killed at " << killed << " of "
            << count << " boundaries";
  if (stride > 1) std::cout << " (each " << stride << "th)";
  if (asleep > 0) std::cout << ", and " << asleep << " times asleep";
  std::cout << "; " << retries << " went another way first, " << missed << " were not met\n";
  missed_ += missed;
}

void StepRun::finish() {
  shared_orders().stop = 1;
  EXPECT_EQ(neighbour_.wait(), 0);
  EXPECT_TRUE(sidecar_.quiet(0));
  eventually([&] { return sidecar_.footprint().fds == fresh_.fds; });
  EXPECT_EQ(sidecar_.footprint().fds, fresh_.fds);
  EXPECT_EQ(sidecar_.footprint().threads, fresh_.threads);
  ledger_.close(kNeighbourBook, false);
  const Audit& audit = ledger_.total();
  EXPECT_EQ(audit.faults(), 0U) << audit;
  EXPECT_EQ(audit.submitted, audit.answered + audit.lost + audit.unseen) << audit;
  EXPECT_EQ(sidecar_.complaints(), "");
  EXPECT_EQ(missed_, 0U) << "boundaries that no victim was killed at";
  EXPECT_EQ(sidecar_.status().totals.rescued_by_timeout, 0U);
  EXPECT_TRUE(within(reclaim_, kReclaimWithin)) << reclaim_.text();
  std::ostringstream notes;
  notes << "reclaimed in " << reclaim_.text() << "; " << audit;
  std::cout << notes.str() << "\n";
  trials_.report(::testing::Test::HasFailure() ? 1 : 0, notes.str());
}

}  // namespace nacelle::crash
