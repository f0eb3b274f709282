#include "sidecar/accounts.h"

#include <algorithm>

namespace nacelle::sidecar {

void Account::absorb(const Account& other) {
  requests.add(other.requests.get());
  texts.add(other.texts.get());
  tokens.add(other.tokens.get());
  errors.add(other.errors.get());
  compute_ns.add(other.compute_ns.get());
  for (std::size_t i = 0; i < kStages; ++i) stage_ns[i].add(other.stage_ns[i].get());
}

Accounts::Accounts() {
  accounts_.push_back(std::make_shared<Account>());
  accounts_.front()->name = kOthers;
}

std::shared_ptr<Account> Accounts::open(std::string_view name, std::uint32_t uid) {
  const std::lock_guard lock(mutex_);
  for (auto i = accounts_.begin() + 1; i != accounts_.end(); ++i) {
    if ((*i)->name == name && (*i)->uid == uid) return *i;
  }
  if (accounts_.size() > kAccountsMax) {
    // Nobody but this table hands accounts out, so one that only it holds stays unused.
    const auto unused = std::find_if(accounts_.begin() + 1, accounts_.end(),
                                     [](const auto& one) { return one.use_count() == 1; });
    if (unused == accounts_.end()) return accounts_.front();
    accounts_.front()->absorb(**unused);
    accounts_.erase(unused);
  }
  auto account = std::make_shared<Account>();
  account->name = name;
  account->uid = uid;
  accounts_.push_back(account);
  return account;
}

}  // namespace nacelle::sidecar
