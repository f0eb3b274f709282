// D9: SIGTERM at random times under load. What the sidecar has taken it answers; what comes after
// that is told that the sidecar goes; and it leaves with success within the configured time.
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <cstring>
#include <ctime>
#include <iostream>
#include <random>
#include <sstream>
#include <thread>
#include <vector>

#include "tests/crash/ledger.h"
#include "tests/crash/load.h"
#include "tests/crash/sidecar.h"
#include "tests/crash/trials.h"

namespace nacelle::crash {
namespace {

constexpr std::size_t kClients = 4;
constexpr std::size_t kAtOnce = 8;                        // requests that a client has in flight
constexpr base::Nanos kDrainWithin = 10 * base::kSecond;  // shutdown.drain_timeout_ms

// How the calls of a client ended.
struct Seen {
  std::uint64_t right = 0;
  std::uint64_t wrong = 0;
  std::uint64_t refused = 0;     // with an answer that says why, but not that the sidecar goes
  std::uint64_t gone = 0;        // with an answer that says so
  std::uint64_t unanswered = 0;  // the sidecar never took it

  void add(const Seen& other) {
    right += other.right;
    wrong += other.wrong;
    refused += other.refused;
    gone += other.gone;
    unanswered += other.unanswered;
  }
};

// Embeds texts, some at a time, until the sidecar is gone. `right` are the digests of the answers.
Seen embed_until_gone(const std::string& socket, const std::vector<std::uint64_t>& right,
                      std::uint64_t seed, std::atomic<std::uint64_t>& answers) {
  Seen seen;
  std::minstd_rand random(static_cast<unsigned>(seed));
  const auto link = open_link(socket, "drain");
  if (!link) return seen;
  bool going = true;
  while (going) {
    struct Call {
      shm::Ticket ticket;
      std::uint32_t number;
    };
    std::vector<Call> calls;
    for (std::size_t i = 0; i < kAtOnce && going; ++i) {
      const auto number = static_cast<std::uint32_t>(random()) % kTexts;
      const std::string words = text(number);
      const auto size = static_cast<std::uint32_t>(words.size());
      const auto ticket =
          (*link)->submit({.op = shm::Op::kEmbed, .items = 1}, size + 4,
                          base::now_ns() + 20 * base::kSecond, [&](std::span<std::byte> out) {
                            std::memcpy(out.data(), &size, sizeof size);
                            std::memcpy(out.data() + sizeof size, words.data(), words.size());
                          });
      going = ticket.has_value();
      if (ticket) calls.push_back({*ticket, number});
    }
    for (const Call& call : calls) {
      const auto answer = (*link)->wait(call.ticket);
      if (!answer) {
        ++seen.unanswered;
        going = false;
        continue;
      }
      const base::Code code = answer->fields.code;
      if (code == base::Code::kOk) {
        const auto row = answer->payload.subspan(shm::rows_offset(1));
        ++(digest_of(row) == right[call.number] ? seen.right : seen.wrong);
        answers.fetch_add(1);
      } else {
        ++(code == base::Code::kSidecarGone ? seen.gone : seen.refused);
      }
      (*link)->finish(call.ticket);
    }
  }
  return seen;
}

// The number behind "name=" in a line of the log; UINT64_MAX when it is not there.
std::uint64_t field(const std::string& line, const std::string& name) {
  const std::size_t at = line.find(" " + name + "=");
  if (at == std::string::npos) return UINT64_MAX;
  return std::stoull(line.substr(at + name.size() + 2));
}

TEST(DrainTest, ATermSignalAtAnyMomentLosesNothingThatWasTaken) {
  Trials trials("D9", 8);
  // A queue at every moment: batches wait for company.
  Sidecar sidecar("scheduler: {max_delay_us: 2000}\n");
  std::vector<std::uint64_t> right;
  Latencies drains;
  Seen total;
  for (std::uint64_t trial = 0; trial < trials.count(); ++trial) {
    sidecar.start();
    if (right.empty()) right = embedding_digests(sidecar.socket());
    const std::uint64_t before = sidecar.status().totals.requests;
    std::atomic<std::uint64_t> answers{0};
    std::vector<Seen> seen(kClients);
    std::vector<std::thread> clients;
    for (std::size_t i = 0; i < kClients; ++i) {
      clients.emplace_back([&, i, seed = trials.random()()] {
        seen[i] = embed_until_gone(sidecar.socket(), right, seed, answers);
      });
    }
    const std::uint64_t enough = trials.below(200);
    const bool loaded = eventually([&] { return answers.load() >= enough; });
    const timespec moment{0, static_cast<long>(trials.below(3 * base::kMillisecond))};
    ::nanosleep(&moment, nullptr);
    const base::Nanos asked = wall_ns();
    const int status = sidecar.terminate();
    drains.add(wall_ns() - asked);
    if (status == -1) sidecar.kill();
    for (std::thread& client : clients) client.join();
    ASSERT_TRUE(loaded) << "trial " << trial << ": nobody is served";
    ASSERT_EQ(status, 0) << "trial " << trial;

    Seen all;
    for (const Seen& one : seen) all.add(one);
    const std::string last = sidecar.last_log_line(" stopped ");
    EXPECT_EQ(all.wrong, 0U);
    EXPECT_EQ(all.right + all.refused + before,
              field(last, "requests") - field(last, "refused_in_drain"))
        << "trial " << trial << ": what was taken was not all answered: " << all.unanswered
        << " calls without an answer, " << all.gone << " told that it goes\n"
        << last;
    EXPECT_EQ(field(last, "refused_at_the_end"), 0U) << last;
    total.add(all);
    trials.ran();
  }
  EXPECT_EQ(drains.over(kDrainWithin), 0U);
  EXPECT_EQ(sidecar.complaints(), "");
  std::ostringstream notes;
  notes << "left " << drains.text() << " after the signal; " << total.right << " answered, "
        << total.refused << " refused, " << total.gone << " told that it goes, " << total.unanswered
        << " never taken";
  std::cout << notes.str() << "\n";
  trials.report(::testing::Test::HasFailure() ? 1 : 0, notes.str());
}

}  // namespace
}  // namespace nacelle::crash
