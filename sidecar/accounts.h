// What each client has used: requests, texts, time on the device. An account belongs to a user and
// a name, so that it outlives the connections of a process that restarts; clients choose their
// names, so there is a bound. Beyond it the accounts that nobody uses any more are added up in one
// that is called "(others)", and when all are in use, newcomers share that one.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sidecar/metrics/exposition.h"
#include "sidecar/stages.h"

namespace nacelle::sidecar {

struct Account {
  std::string name;  // as the clients call themselves: not to be trusted
  std::uint32_t uid = 0;

  metrics::Counter requests;    // taken
  metrics::Counter texts;       // answered
  metrics::Counter tokens;      // computed
  metrics::Counter errors;      // requests answered with an error
  metrics::Counter compute_ns;  // its share of batches' time, by tokens
  std::array<metrics::Counter, kStages> stage_ns;

  void visit(auto&& visit, const metrics::Labels& labels) const {
    using metrics::counter;
    using metrics::seconds_counter;
    visit(counter("nacelle_client_requests_total", "Requests taken from a client."), labels,
          requests);
    visit(counter("nacelle_client_texts_total", "Texts answered to a client."), labels, texts);
    visit(counter("nacelle_client_tokens_total", "Tokens computed for a client."), labels, tokens);
    visit(counter("nacelle_client_errors_total", "A client's requests answered with an error."),
          labels, errors);
    visit(seconds_counter("nacelle_client_compute_seconds_total",
                          "A client's share of the device's time: that of each batch, by tokens. "
                          "All clients' sum is nacelle_device_busy_seconds_total."),
          labels, compute_ns);
    for (std::size_t i = 0; i < kStages; ++i) {
      metrics::Labels more = labels;
      more.push_back({"stage", kStageNames[i]});
      visit(seconds_counter("nacelle_client_stage_seconds_total",
                            "Where the time of a client's requests went, those that waited at "
                            "the same time counted each."),
            more, stage_ns[i]);
    }
  }
  // Adds all of another account's counts.
  void absorb(const Account& other);
};

class Accounts {
 public:
  // Besides "(others)".
  static constexpr std::size_t kAccountsMax = 64;
  static constexpr std::string_view kOthers = "(others)";

  Accounts();

  // Any thread. The account is in use for as long as somebody besides this table holds it.
  std::shared_ptr<Account> open(std::string_view name, std::uint32_t uid);
  // Calls use(const Account&) for each, "(others)" first. Who connects meanwhile waits.
  void for_each(auto&& use) const {
    const std::lock_guard lock(mutex_);
    for (const auto& account : accounts_) use(std::as_const(*account));
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::shared_ptr<Account>> accounts_;  // [0] is "(others)"
};

}  // namespace nacelle::sidecar
