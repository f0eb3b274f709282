// Fair shares of the device: weighted deficit round robin over clients, charged after the fact with
// the time that was measured.
//
// Every client has an account per priority class: the compute time it has used. A class's `level`
// is what each of its clients is entitled to; who is not above it has credit and takes turns before
// those who have none, and the level rises as soon as nobody who waits has any (a new round). Who
// asks for little stays below the level: its credit, up to `burst`, is kept while it is idle, so
// that it finds the device's next batch open whatever others have queued.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "sidecar/base/time.h"
#include "sidecar/flow.h"
#include "sidecar/schedule/classes.h"
#include "sidecar/schedule/lane.h"

namespace nacelle::sidecar {

// A client with what the scheduler remembers about it.
struct Sharer {
  struct Account {
    double used_ns = 0;                  // compute time, divided by weights
    base::Nanos active = INT64_MIN / 2;  // when a request last came
  };
  std::weak_ptr<ClientState> owner;
  std::array<Account, kPriorityClasses> accounts;
  std::vector<std::unique_ptr<Line>> lines;  // by lane; null where it never had one
  std::uint32_t requests = 0;                // that the scheduler holds
  std::uint32_t queued = 0;                  // of those, what Scheduler::queued_requests() counts
  std::uint64_t tokens = 0;                  // and what queued_tokens() counts
  std::uint64_t batch = 0;                   // the last one that it had texts in,
  std::uint64_t turn = 0;                    // and the last one with the first of a line of its
};

class Shares {
 public:
  explicit Shares(base::Nanos burst) : burst_ns_(static_cast<double>(burst)) {}

  // The client's record, made when there is none. It stays while requests of it are held.
  Sharer& sharer(const std::shared_ptr<ClientState>& owner);
  // The same; null when there is none.
  [[nodiscard]] const Sharer* find(const ClientState& owner) const;
  // A request of it has come.
  void came(Sharer& client, std::size_t which, base::Nanos now);
  // It has used the device for so long.
  void charge(Sharer& client, std::size_t which, double used_ns);

  [[nodiscard]] bool has_credit(const Sharer& client, std::size_t which) const {
    return client.accounts[which].used_ns <= levels_[which];
  }
  // Nobody who waits has credit; the lowest of their accounts is this.
  void raise_level(std::size_t which, double used_ns) { levels_[which] = used_ns; }
  // Whoever was active of late and is likely to come back: clients of higher classes, and in the
  // class the one that has used least.
  struct Expected {
    bool higher = false;
    double least_ns = 0;
  };
  [[nodiscard]] Expected expected(std::size_t which, base::Nanos now) const;
  // Whether a client should leave room for them: a batch cannot be interrupted, and they are of a
  // higher class or have used much less.
  [[nodiscard]] bool gives_way(const Sharer& client, std::size_t which,
                               const Expected& expected) const {
    return expected.higher || client.accounts[which].used_ns > expected.least_ns + burst_ns_ / 2;
  }

 private:
  void forget_the_gone();

  double burst_ns_;
  std::array<double, kPriorityClasses> levels_{};
  std::unordered_map<const ClientState*, std::unique_ptr<Sharer>> clients_;
};

}  // namespace nacelle::sidecar
