// A hostile scenario: what a client does, and what must come of it.
//
// Whatever it is, the judge (scenarios_test.cc) asks the same of each: the sidecar lives, a
// neighbour's every answer is right, exactly the offender is disconnected with exactly its reason
// counted, and afterwards no descriptor, mapping or request in flight is left of it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <ostream>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "shm/connection.h"
#include "tests/hostile/echo_model.h"
#include "tests/hostile/stage.h"
#include "tests/support/raw_client.h"

namespace nacelle::testing {

// The hands of the attacker, and its dice: a seed varies positions and values, never what is done.
class Attack {
 public:
  Attack(Stage& where, std::uint64_t seed) : stage(where), random(seed) {}

  // The offender, connected by the first call.
  RawClient& client() {
    if (!client_) client_ = std::make_unique<RawClient>(stage.path());
    return *client_;
  }
  [[nodiscard]] bool connected() const { return client_ != nullptr; }
  void adopt(base::Fd socket, Heard heard) {
    client_ = std::make_unique<RawClient>(std::move(socket), std::move(heard));
  }
  void leave() { client_.reset(); }

  // Below `limit`, and any 32 bits, and `count` bytes.
  std::uint32_t below(std::uint64_t limit) { return static_cast<std::uint32_t>(random() % limit); }
  std::uint32_t any32() { return static_cast<std::uint32_t>(random()); }
  std::string bytes(std::size_t count) {
    std::string text(count, '\0');
    for (char& byte : text) byte = static_cast<char>(random());
    return text;
  }
  // A slot that the judge does not use for its probe.
  std::uint32_t slot() { return below(stage.config().transport.slots - 1); }

  // Notes the code of the reply to (slot, generation), for answered().
  void expect_answer(std::uint32_t slot, std::uint64_t generation) {
    CHECK(client().await(slot, generation));
    answers.push_back(client().code(slot));
  }
  // Asks as a client should and notes the answer.
  void ask(shm::Op op, std::string_view payload, std::uint32_t items = 0) {
    const std::uint32_t i = slot();
    expect_answer(i, client().ask(i, op, payload, items));
  }
  // Waits until the sidecar has taken `count` requests of the offender and not answered them.
  void await_in_flight(std::uint64_t count) {
    CHECK(eventually([&] { return stage.books().in_flight_of_others == count; }));
  }
  // Says something instead of a hello, and notes the answer for refused().
  void say_hello(const void* bytes, std::size_t size) {
    base::Fd socket = dial(stage.path());
    CHECK(socket);
    CHECK(say(socket.get(), bytes, size));
    note_refusal(socket.get());
  }
  void note_refusal(int socket) {
    const std::optional<Heard> heard = hear(socket);
    CHECK(heard.has_value());
    refusals.push_back(static_cast<base::Code>(heard->welcome.code));
  }
  void check(bool holds, const char* what) {
    if (!holds) complaints.emplace_back(what);
  }

  Stage& stage;
  std::mt19937_64 random;
  std::vector<base::Code> answers;
  std::vector<base::Code> refusals;
  std::vector<std::string> complaints;
  std::string skipped;  // why this machine cannot play the scenario

 private:
  std::unique_ptr<RawClient> client_;
};

// What must come of it.
struct Outcome {
  enum class Kind {
    kHarmless,             // the connection works on
    kAnswered,             // so it does; every noted answer has the code
    kDisconnected,         // hung up, with one violation: this one
    kDisconnectedSomehow,  // hung up, with one violation of any name
    kRefused,              // no connection: every noted refusal has the code, and each is counted
    kLeft,                 // the offender is gone, and nothing is counted
    kLeftInTheMiddle,      // the same, but the sidecar may have noticed while it answered the hello
  };
  Kind kind;
  base::Code code = base::Code::kOk;
  shm::Violation violation = shm::Violation::kSlotsUsed;
};
inline Outcome harmless() { return {Outcome::Kind::kHarmless}; }
inline Outcome answered(base::Code code) { return {Outcome::Kind::kAnswered, code}; }
inline Outcome disconnected(shm::Violation violation) {
  return {Outcome::Kind::kDisconnected, base::Code::kOk, violation};
}
inline Outcome disconnected_somehow() { return {Outcome::Kind::kDisconnectedSomehow}; }
inline Outcome refused(base::Code code) { return {Outcome::Kind::kRefused, code}; }
inline Outcome left() { return {Outcome::Kind::kLeft}; }
inline Outcome left_in_the_middle() { return {Outcome::Kind::kLeftInTheMiddle}; }

struct Scenario {
  const char* name;  // CamelCase
  Outcome outcome;
  void (*act)(Attack& attack);  // what it does
};

// NOLINTNEXTLINE(readability-identifier-naming): GoogleTest's name for it
inline void PrintTo(const Scenario& scenario, std::ostream* out) { *out << scenario.name; }

// THE TABLE, in four parts.
std::span<const Scenario> control_word_scenarios();  // indices, generations, states
std::span<const Scenario> request_scenarios();       // what a slot and a payload can say
std::span<const Scenario> handshake_scenarios();     // before there is a connection
std::span<const Scenario> life_scenarios();          // sockets, processes, limits

}  // namespace nacelle::testing
