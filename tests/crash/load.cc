#include "tests/crash/load.h"

#include <algorithm>
#include <cstring>
#include <ctime>
#include <memory>
#include <mutex>
#include <random>
#include <thread>

#include "shm/client.h"
#include "sidecar/base/bytes.h"
#include "sidecar/base/check.h"
#include "tests/crash/process.h"

namespace nacelle::crash {
namespace {

constexpr base::Nanos kCallWithin = 60 * base::kSecond;

// The threads' common Link: when it is dead, the first to notice makes the next.
class Links {
 public:
  explicit Links(const Load& load) : load_(load) {}
  // Null: a refusal that no sidecar's death explains, or the order to stop.
  std::shared_ptr<shm::Link> live(const Orders& orders) {
    const std::lock_guard lock(mutex_);
    while (!link_ || link_->dead()) {
      auto made = open_link(load_.socket, load_.name);
      if (made) {
        link_ = *std::move(made);
      } else if (!told_gone(made.error().code) || orders.stop.load() != 0) {
        return nullptr;
      } else {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    }
    return link_;
  }

 private:
  const Load& load_;
  std::mutex mutex_;
  std::shared_ptr<shm::Link> link_;
};

void embed(Client& client, Book& book, std::uint32_t number) {
  const std::string words = text(number);
  const std::string_view view = words;
  Entry& entry = book.submit(Kind::kEmbed, number);
  const auto rows = client.embed("tiny", {&view, 1});
  if (rows) {
    book.answered(entry, std::as_bytes(std::span(rows->values)));
  } else {
    book.lost(entry, rows.error().code);
  }
}

void ping(Client& client, Book& book, std::uint32_t size) {
  std::vector<std::byte> data(size);
  Entry& entry = book.submit(Kind::kPing, size);
  book.fill(entry, data);
  const base::Status status = client.ping(data);
  if (status) {
    book.answered(entry, data);
  } else {
    book.lost(entry, status.error().code);
  }
}

}  // namespace

Orders& shared_orders() {
  static Orders& orders = shared<Orders>();
  return orders;
}

base::Result<std::shared_ptr<shm::Link>> open_link(const std::string& socket,
                                                   std::string_view name) {
  shm::Hello hello;
  std::memcpy(hello.name, name.data(), std::min(name.size(), sizeof hello.name - 1));
  return shm::Link::open(socket, hello, base::now_ns() + kCallWithin);
}

void ping(shm::Link& link, Book& book, std::uint32_t size) {
  Entry& entry = book.submit(Kind::kPing, size);
  const auto ticket = link.submit({.op = shm::Op::kPing}, size, base::now_ns() + kCallWithin,
                                  [&](std::span<std::byte> out) { book.fill(entry, out); });
  if (!ticket) return book.lost(entry, ticket.error().code);
  const auto answer = link.wait(*ticket);
  if (!answer) return book.lost(entry, answer.error().code);
  if (answer->fields.code == base::Code::kOk) {
    book.answered(entry, answer->payload);
  } else {
    book.lost(entry, answer->fields.code);
  }
  link.finish(*ticket);
}

int run_load(const Load& load, std::span<Book* const> books, const Orders& orders) {
  Links links(load);
  std::unique_ptr<Client> client;
  if (!load.by_link) {
    auto connected = Client::connect({.socket = load.socket,
                                      .name = load.name,
                                      .connect_timeout = std::chrono::milliseconds(30'000)});
    if (!connected) return 1;
    client = *std::move(connected);
  }
  std::atomic<int> failed{0};
  std::vector<std::thread> threads;
  for (Book* book : books) {
    threads.emplace_back([&, book] {
      std::minstd_rand random(static_cast<unsigned>(load.seed + book->id * 7919));
      while (orders.stop.load(std::memory_order_relaxed) == 0) {
        const auto size = static_cast<std::uint32_t>(random()) % (load.size_max + 1);
        if (load.by_link) {
          const auto link = links.live(orders);
          if (!link) break;
          ping(*link, *book, size);
        } else if (random() % 100 < load.embed_percent) {
          embed(*client, *book, static_cast<std::uint32_t>(random()) % kTexts);
        } else {
          ping(*client, *book, size);
        }
        if (load.think_max > 0) {
          const timespec pause{0, static_cast<long>(random()) % load.think_max};
          ::nanosleep(&pause, nullptr);
        }
      }
      // Without a reason to give up, a thread stops only when it is told to.
      if (orders.stop.load() == 0) failed = 1;
    });
  }
  for (std::thread& thread : threads) thread.join();
  return failed;
}

// Two words of letters, so that the small vocabulary tells all of them apart.
std::string text(std::uint32_t number) {
  return {'t', static_cast<char>('b' + number % 8), ' ', static_cast<char>('b' + number / 8)};
}

std::vector<std::uint64_t> embedding_digests(const std::string& socket) {
  auto client = Client::connect({.socket = socket, .name = "oracle"});
  CHECK(client.has_value());
  std::vector<std::uint64_t> digests;
  for (std::uint32_t number = 0; number < kTexts; ++number) {
    const std::string words = text(number);
    const std::string_view view = words;
    const auto rows = (*client)->embed("tiny", {&view, 1});
    CHECK(rows.has_value());
    digests.push_back(digest_of(std::as_bytes(std::span(rows->values))));
  }
  std::vector<std::uint64_t> distinct = digests;
  std::sort(distinct.begin(), distinct.end());
  CHECK(std::unique(distinct.begin(), distinct.end()) == distinct.end());
  return digests;
}

}  // namespace nacelle::crash
