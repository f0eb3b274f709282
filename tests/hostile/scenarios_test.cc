// The judge of the hostile scenarios: plays each against a live sidecar with a neighbour, and holds
// it to its row of the table (scenario.h).
//
//   NACELLE_HOSTILE_SEEDS=1000     play each scenario with that many seeds instead of one
//   NACELLE_HOSTILE_SEED=7         the first of them
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "tests/hostile/scenario.h"

namespace nacelle::testing {
namespace {

using base::Code;

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

std::vector<Scenario> all_scenarios() {
  std::vector<Scenario> all;
  for (const auto part :
       {control_word_scenarios(), request_scenarios(), handshake_scenarios(), life_scenarios()}) {
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

// One sidecar for all scenarios of a process: none may leave anything behind for the next.
class Hostile : public ::testing::TestWithParam<Scenario> {
 protected:
  static void SetUpTestSuite() { stage_ = std::make_unique<Stage>(); }
  static void TearDownTestSuite() { stage_.reset(); }

  // Whether the connection still does what it should: an echo in a slot that no scenario uses.
  static void probe(const RawClient& client) {
    ASSERT_FALSE(client.hung_up());
    const std::uint32_t slot = client.slots() - 1;
    const std::uint64_t generation = client.slot(slot).generation.load() + 1;
    ASSERT_EQ(client.ask(slot, shm::Op::kPing, "probe"), generation);
    ASSERT_TRUE(client.await(slot, generation));
    EXPECT_EQ(client.code(slot), Code::kOk);
    EXPECT_EQ(client.answer(slot), "probe");
  }

  static void play(const Scenario& scenario, std::uint64_t seed) {
    using Kind = Outcome::Kind;
    const Outcome& outcome = scenario.outcome;
    const Books before = stage_->books();
    ASSERT_EQ(before.clients, 1U);
    Books expected = before;
    {
      Attack attack(*stage_, seed);
      scenario.act(attack);
      if (!attack.skipped.empty()) GTEST_SKIP() << attack.skipped;
      for (const std::string& complaint : attack.complaints) ADD_FAILURE() << complaint;
      switch (outcome.kind) {
        case Kind::kAnswered:
          EXPECT_FALSE(attack.answers.empty());
          for (const Code code : attack.answers) EXPECT_EQ(code, outcome.code);
          [[fallthrough]];
        case Kind::kHarmless:
          probe(attack.client());
          break;
        case Kind::kDisconnected:
          ++expected.violations[std::string(
              shm::kViolationNames[static_cast<std::size_t>(outcome.violation)])];
          [[fallthrough]];
        case Kind::kDisconnectedSomehow:
          EXPECT_TRUE(eventually([&] { return attack.client().hung_up(); }));
          break;
        case Kind::kRefused:
          EXPECT_FALSE(attack.refusals.empty());
          for (const Code code : attack.refusals) EXPECT_EQ(code, outcome.code);
          expected.refused[std::string(base::code_name(outcome.code))] += attack.refusals.size();
          break;
        case Kind::kLeft:
        case Kind::kLeftInTheMiddle:
          break;
      }
      EXPECT_TRUE(stage_->neighbour().served()) << stage_->neighbour().complaint();
    }
    if (outcome.kind == Kind::kDisconnectedSomehow) {
      std::uint64_t more = 0;
      for (const auto& [name, count] : stage_->books().violations) {
        const auto was = before.violations.find(name);
        more += count - (was == before.violations.end() ? 0 : was->second);
      }
      EXPECT_EQ(more, 1U);
      expected.violations = stage_->books().violations;
    }
    if (outcome.kind == Kind::kLeftInTheMiddle) {
      // Clients are met in the order in which they come: when this one is welcome, the other has
      // been dealt with.
      {
        const base::Fd later = dial(stage_->path());
        CHECK(say(later.get(), shm::Hello{}));
        CHECK(hear(later.get()).has_value());
      }
      CHECK(eventually([&] { return stage_->books().clients == 1; }));
      Books noticed = expected;
      ++noticed.refused[std::string(base::code_name(Code::kSidecarGone))];
      if (eventually([&] { return stage_->books() == expected || stage_->books() == noticed; }) &&
          stage_->books() == noticed) {
        expected = noticed;
      }
    }
    if (!eventually([&] { return stage_->books() == expected; })) {
      EXPECT_EQ(stage_->books(), expected);
    }
    EXPECT_TRUE(stage_->neighbour().served()) << stage_->neighbour().complaint();
  }

  static std::unique_ptr<Stage> stage_;
};
std::unique_ptr<Stage> Hostile::stage_;

TEST_P(Hostile, HarmsNobodyButItself) {
  const std::uint64_t first = number_from("NACELLE_HOSTILE_SEED", 1);
  const std::uint64_t count = number_from("NACELLE_HOSTILE_SEEDS", 1);
  for (std::uint64_t seed = first; seed < first + count && !HasFailure(); ++seed) {
    SCOPED_TRACE("NACELLE_HOSTILE_SEED=" + std::to_string(seed));
    play(GetParam(), seed);
    if (IsSkipped()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Scenario, Hostile, ::testing::ValuesIn(all_scenarios()),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(HostileTable, HasAtLeastSixtyRows) { EXPECT_GE(all_scenarios().size(), 60U); }

}  // namespace
}  // namespace nacelle::testing
