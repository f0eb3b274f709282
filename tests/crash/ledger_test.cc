// The ledger finds what it is there to find: each fault is planted, and seen for what it is.
#include "tests/crash/ledger.h"

#include <gtest/gtest.h>

#include <vector>

namespace nacelle::crash {
namespace {

std::vector<std::byte> payload_of(const Book& book, const Entry& entry) {
  std::vector<std::byte> payload(entry.detail);
  book.fill(entry, payload);
  return payload;
}

class LedgerTest : public ::testing::Test {
 protected:
  // A call that is answered rightly; what it got.
  static std::vector<std::byte> good_call(Book& book, std::uint32_t size = 40) {
    Entry& entry = book.submit(Kind::kPing, size);
    std::vector<std::byte> payload = payload_of(book, entry);
    book.answered(entry, payload);
    return payload;
  }
  Ledger ledger_{2, 7};
  Book& mine_ = ledger_.open(0);
  Book& other_ = ledger_.open(1);
};

TEST_F(LedgerTest, RightAnswersOfAnySizeAreNoFaults) {
  for (const std::uint32_t size : {0U, 1U, 15U, 16U, 64U, 65U, 65'536U}) good_call(mine_, size);
  ledger_.close(0, false);
  EXPECT_EQ(ledger_.total().answered, 7U);
  EXPECT_EQ(ledger_.total().faults(), 0U) << ledger_.total();
}

TEST_F(LedgerTest, AReplyOfAnotherClientIsForeign) {
  Entry& entry = mine_.submit(Kind::kPing, 40);
  mine_.answered(entry, good_call(other_));
  ledger_.close(0, false);
  EXPECT_EQ(ledger_.total().foreign, 1U);
}

TEST_F(LedgerTest, AnEarlierReplyOnceMoreIsStale) {
  const std::vector<std::byte> first = good_call(mine_);
  Entry& entry = mine_.submit(Kind::kPing, 40);
  mine_.answered(entry, first);
  ledger_.close(0, false);
  EXPECT_EQ(ledger_.total().stale, 1U);
}

TEST_F(LedgerTest, AByteChangedOrMissingIsWrong) {
  for (const std::size_t at : {16UL, 39UL}) {
    Entry& entry = mine_.submit(Kind::kPing, 40);
    std::vector<std::byte> reply = payload_of(mine_, entry);
    reply[at] ^= std::byte{1};
    mine_.answered(entry, reply);
  }
  Entry& entry = mine_.submit(Kind::kPing, 40);
  std::vector<std::byte> reply = payload_of(mine_, entry);
  reply.pop_back();
  mine_.answered(entry, reply);
  ledger_.close(0, false);
  EXPECT_EQ(ledger_.total().wrong, 3U);
}

TEST_F(LedgerTest, AnEmbeddingOfAnotherTextIsWrong) {
  const std::byte rows[2] = {std::byte{1}, std::byte{2}};
  const std::span all(rows);
  ledger_.expect_embeddings({digest_of(all.first(1)), digest_of(all.last(1))});
  mine_.answered(mine_.submit(Kind::kEmbed, 0), all.first(1));
  mine_.answered(mine_.submit(Kind::kEmbed, 1), all.first(1));
  ledger_.close(0, false);
  EXPECT_EQ(ledger_.total().answered, 2U);
  EXPECT_EQ(ledger_.total().wrong, 1U);
}

TEST_F(LedgerTest, AKilledThreadLeavesOneCallOpenAndALivingOneNone) {
  good_call(mine_);
  mine_.submit(Kind::kPing, 40);
  EXPECT_TRUE(mine_.waiting());
  ledger_.close(0, true);
  EXPECT_EQ(ledger_.total().unseen, 1U);
  EXPECT_EQ(ledger_.total().faults(), 0U);
  other_.submit(Kind::kPing, 40);
  ledger_.close(1, false);
  EXPECT_EQ(ledger_.total().broken, 1U) << "it returned without an end of its call";
}

TEST_F(LedgerTest, LossesAreCountedByTheirCode) {
  mine_.lost(mine_.submit(Kind::kPing, 40), base::Code::kSidecarGone);
  ledger_.close(0, false);
  EXPECT_EQ(ledger_.total().lost, 1U);
  EXPECT_EQ(ledger_.total().codes.at(base::Code::kSidecarGone), 1U);
}

TEST_F(LedgerTest, ARingThatIsReusedKeepsItsOrder) {
  for (std::uint64_t call = 0; call < 3 * Book::kEntries; ++call) {
    good_call(mine_);
    if (call % 100 == 0) ledger_.audit(0);
  }
  ledger_.close(0, false);
  EXPECT_EQ(ledger_.total().submitted, 3 * Book::kEntries);
  EXPECT_EQ(ledger_.total().faults(), 0U) << ledger_.total();
}

}  // namespace
}  // namespace nacelle::crash
