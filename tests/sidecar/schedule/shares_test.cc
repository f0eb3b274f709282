// Accounts of compute time, with charges that the test makes up.
#include "sidecar/schedule/shares.h"

#include <gtest/gtest.h>

#include <memory>

namespace nacelle::sidecar {
namespace {

constexpr base::Nanos kBurst = 100;

class SharesTest : public ::testing::Test {
 protected:
  Shares shares_{kBurst};
  std::shared_ptr<ClientState> one_ = std::make_shared<ClientState>();
  std::shared_ptr<ClientState> two_ = std::make_shared<ClientState>();
};

TEST_F(SharesTest, WhoHasUsedMoreThanTheLevelHasNoCreditUntilItRises) {
  Sharer& client = shares_.sharer(one_);
  EXPECT_TRUE(shares_.has_credit(client, 1));
  shares_.charge(client, 1, 30);
  EXPECT_FALSE(shares_.has_credit(client, 1));
  EXPECT_TRUE(shares_.has_credit(client, 0)) << "each class has an account of its own";
  shares_.raise_level(1, 30);
  EXPECT_TRUE(shares_.has_credit(client, 1));
}

TEST_F(SharesTest, AnIdleClientSavesUpABurstAndNoMore) {
  Sharer& client = shares_.sharer(one_);
  shares_.raise_level(1, 1000);
  shares_.came(client, 1, 5);
  EXPECT_EQ(client.accounts[1].used_ns, 1000 - kBurst);
  shares_.charge(client, 1, 60);
  shares_.came(client, 1, 6);
  EXPECT_EQ(client.accounts[1].used_ns, 1000 - 40) << "what is left of it";
}

TEST_F(SharesTest, ANewClientHasNeitherCreditNorDebts) {
  shares_.raise_level(1, 1000);
  EXPECT_EQ(shares_.sharer(one_).accounts[1].used_ns, 1000);
}

TEST_F(SharesTest, WhoHasUsedMuchMoreThanOneWhoMayComeGivesWay) {
  Sharer& polite = shares_.sharer(one_);
  Sharer& greedy = shares_.sharer(two_);
  shares_.came(polite, 1, 0);
  shares_.came(greedy, 1, 0);
  shares_.charge(greedy, 1, 40);
  EXPECT_FALSE(shares_.gives_way(greedy, 1, shares_.expected(1, 10)));
  shares_.charge(greedy, 1, 40);
  EXPECT_TRUE(shares_.gives_way(greedy, 1, shares_.expected(1, 10)));
  EXPECT_FALSE(shares_.gives_way(polite, 1, shares_.expected(1, 10)));
  EXPECT_TRUE(shares_.gives_way(polite, 2, shares_.expected(2, 10)))
      << "to a higher class, everybody";
  shares_.came(greedy, 1, 3600 * base::kSecond);
  EXPECT_FALSE(shares_.gives_way(greedy, 1, shares_.expected(1, 3600 * base::kSecond)))
      << "the polite one has not been seen for an hour";
}

TEST_F(SharesTest, ClientsThatLeftAreForgottenAndNeverMistakenForOthers) {
  shares_.charge(shares_.sharer(one_), 1, 500);
  const ClientState* const address = one_.get();
  one_.reset();
  // The memory of the record's owner is not given to anybody else while the record is there.
  for (int i = 0; i < 100; ++i) {
    const auto other = std::make_shared<ClientState>();
    EXPECT_EQ(shares_.sharer(other).accounts[1].used_ns, 0) << (other.get() == address);
  }
}

}  // namespace
}  // namespace nacelle::sidecar
