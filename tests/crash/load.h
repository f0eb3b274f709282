// A client process that calls until it is told to stop, or killed, and writes all of it in books.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "shm/link.h"
#include "tests/crash/ledger.h"

namespace nacelle::crash {

// What tests tell their clients, in memory that both have.
struct Orders {
  std::atomic<std::uint32_t> stop = 0;
};
// Lives as long as the test's process.
Orders& shared_orders();

struct Load {
  std::string socket = {};
  std::string name = {};
  // With a Link, the way a call fails is seen; with a Client, it connects again and asks once more.
  bool by_link = false;
  std::uint32_t size_max = 2048;    // bytes of a ping
  std::uint32_t embed_percent = 0;  // of the calls; not with by_link
  base::Nanos think_max = 0;        // between two calls of a thread
  std::uint64_t seed = 0;
};

// One thread per book, all on one connection, until orders.stop. Returns 0, or 1 when something
// happened that no sidecar's death explains.
int run_load(const Load& load, std::span<Book* const> books, const Orders& orders);

// The texts of embed, by number, and the digests of their embeddings. Asks the sidecar; nobody may
// disturb it meanwhile.
inline constexpr std::uint32_t kTexts = 64;
std::string text(std::uint32_t number);
std::vector<std::uint64_t> embedding_digests(const std::string& socket);

// --- single calls, for clients that are written out in a test ---

base::Result<std::shared_ptr<shm::Link>> open_link(const std::string& socket,
                                                   std::string_view name);
// A ping of `size` bytes, from its entry in the book to its end there.
void ping(shm::Link& link, Book& book, std::uint32_t size);

// Whether this is how a call ends when its sidecar dies.
inline bool told_gone(base::Code code) {
  return code == base::Code::kSidecarGone || code == base::Code::kUnavailable;
}

}  // namespace nacelle::crash
