// Who shares an account, and what happens when there are more names than accounts.
#include "sidecar/accounts.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace nacelle::sidecar {
namespace {

std::size_t count(const Accounts& accounts) {
  std::size_t all = 0;
  accounts.for_each([&all](const Account&) { ++all; });
  return all;
}
std::uint64_t requests(const Accounts& accounts) {
  std::uint64_t all = 0;
  accounts.for_each([&all](const Account& account) { all += account.requests.get(); });
  return all;
}

TEST(Accounts, ANameThatComesBackGoesOnWithItsCounts) {
  Accounts accounts;
  accounts.open("web", 1000)->requests.add(3);
  EXPECT_EQ(accounts.open("web", 1000)->requests.get(), 3U);
  EXPECT_EQ(accounts.open("web", 1001)->requests.get(), 0U) << "another user's";
}

TEST(Accounts, AMillionNamesTakeTheRoomOfSixtyFourAndLoseNoCount) {
  Accounts accounts;
  for (int i = 0; i < 1000; ++i) accounts.open("worker-" + std::to_string(i), 0)->requests.add();
  EXPECT_EQ(count(accounts), Accounts::kAccountsMax + 1);
  EXPECT_EQ(requests(accounts), 1000U);
}

TEST(Accounts, WhoIsThereKeepsHisAccountAndNewcomersShareOne) {
  Accounts accounts;
  std::vector<std::shared_ptr<Account>> held;
  for (std::size_t i = 0; i < Accounts::kAccountsMax; ++i) {
    held.push_back(accounts.open("worker-" + std::to_string(i), 0));
  }
  EXPECT_EQ(accounts.open("late", 0)->name, Accounts::kOthers);
  EXPECT_EQ(accounts.open("later", 0)->name, Accounts::kOthers);
  EXPECT_EQ(accounts.open("worker-0", 0), held[0]);
  held[5]->requests.add(7);
  held[5].reset();
  EXPECT_EQ(accounts.open("late", 0)->name, "late") << "in the place of the one who left";
  EXPECT_EQ(requests(accounts), 7U) << "in (others) now";
}

}  // namespace
}  // namespace nacelle::sidecar
