// See shares.h.
#include "sidecar/schedule/shares.h"

#include <algorithm>
#include <limits>

namespace nacelle::sidecar {
namespace {

// A client that was active is expected back for so long.
constexpr base::Nanos kOfLate = 10 * base::kSecond;

}  // namespace

Sharer& Shares::sharer(const std::shared_ptr<ClientState>& owner) {
  std::unique_ptr<Sharer>& found = clients_[owner.get()];
  if (found) return *found;
  found = std::make_unique<Sharer>();
  Sharer& client = *found;
  client.owner = owner;
  for (std::size_t k = 0; k < kPriorityClasses; ++k) client.accounts[k].used_ns = levels_[k];
  client.requests = 1;  // keeps it from being forgotten at once
  forget_the_gone();
  client.requests = 0;
  return client;
}

const Sharer* Shares::find(const ClientState& owner) const {
  const auto found = clients_.find(&owner);
  return found == clients_.end() ? nullptr : found->second.get();
}

// The weak pointer keeps the owner's address from being used again, so a record is never another
// client's by mistake.
void Shares::forget_the_gone() {
  for (auto place = clients_.begin(); place != clients_.end();) {
    const Sharer& client = *place->second;
    place = client.requests == 0 && client.owner.expired() ? clients_.erase(place) : ++place;
  }
}

void Shares::came(Sharer& client, std::size_t which, base::Nanos now) {
  Sharer::Account& account = client.accounts[which];
  account.active = now;
  account.used_ns = std::max(account.used_ns, levels_[which] - burst_ns_);
}

void Shares::charge(Sharer& client, std::size_t which, double used_ns) {
  client.accounts[which].used_ns += used_ns;
}

Shares::Expected Shares::expected(std::size_t which, base::Nanos now) const {
  Expected expected{.higher = false, .least_ns = std::numeric_limits<double>::infinity()};
  for (const auto& [owner, client] : clients_) {
    for (std::size_t k = 0; k < which; ++k) {
      expected.higher |= client->accounts[k].active > now - kOfLate;
    }
    const Sharer::Account& account = client->accounts[which];
    if (account.active > now - kOfLate) {
      expected.least_ns = std::min(expected.least_ns, account.used_ns);
    }
  }
  return expected;
}

}  // namespace nacelle::sidecar
